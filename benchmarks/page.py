"""The generated part of a page: between two markers, with prose of people around it."""

from __future__ import annotations

from pathlib import Path

BEGIN = "<!-- made by `make bench`; what stands between these two lines is replaced -->"
END = "<!-- end of what `make bench` made -->"


class PageError(Exception):
    """The page has no place for the results; the message says what it lacks."""


def check_page(path: Path) -> None:
    """Raises `PageError` unless `path` has the markers, once each and in order."""
    _split(path)


def write_results(path: Path, results: str) -> None:
    """Replaces what stands between the markers of `path`, and nothing else."""
    before, after = _split(path)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(f"{before}{BEGIN}\n\n{results.strip()}\n\n{END}{after}", encoding="utf-8")
    partial.replace(path)


def _split(path: Path) -> tuple[str, str]:
    """What stands before and after the generated part."""
    if not path.is_file():
        raise PageError(f"page {path} is no file; expected one with the line {BEGIN}")
    text = path.read_text(encoding="utf-8")
    for marker in (BEGIN, END):
        if text.count(marker) != 1:
            raise PageError(f"page {path} has {text.count(marker)} times the line {marker}; expected it once")
    before, _, rest = text.partition(BEGIN)
    between, marker, after = rest.partition(END)
    if not marker:
        raise PageError(f"page {path} has its two markers in the wrong order; expected first {BEGIN}")
    del between
    return before, after
