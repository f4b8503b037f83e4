"""A verification report for people to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.verification import VerificationReport

_HEADER = ("signature", "output", "loader", "rows", "max rel. error", "p99", "of tolerance")


def format_report(report: VerificationReport) -> str:
    """A table: a line per output compared with the model (a seed's draw: between loaders), one for all batches."""
    rows = [
        (c.signature, c.output, c.loader, str(c.rows), *_numbers(c.max_relative_error, c.p99_relative_error, c.worst))
        for c in report.comparisons
        if c.against != "batch"
    ]
    batch = [c for c in report.comparisons if c.against == "batch"]
    if batch:
        figures = (max(getattr(c, name) for c in batch) for name in _FIGURES)
        rows.append(("in other batches", "all", "both", str(min(c.rows for c in batch)), *_numbers(*figures)))
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
    return "\n".join(_line(row, widths) for row in (_HEADER, *rows))


_FIGURES = ("max_relative_error", "p99_relative_error", "worst")


def _numbers(largest: float, p99: float, share: float) -> tuple[str, str, str]:
    return f"{largest:.1e}", f"{p99:.1e}", f"{share:.3f}"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    """Text to the left, numbers to the right."""
    padded = [
        cell.ljust(width) if i < 3 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(padded).rstrip()
