"""Verification of a version that is there already, and its report for people to read."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from export.contract import ConditionColumn, Contract, read_contract
from export.errors import OptionError, VerificationError
from export.signatures import check_signature_defs
from export.verification.comparison import LiveModel, LoadedVersion
from export.verification.inputs import Reference, draw_inputs
from export.verification.replay import fresh_process
from export.verification.verification import VerificationReport, verify
from maf.run_directory import read_run

_SHOWN = 5  # categories of a column in an error
_HEADER = ("signature", "output", "loader", "rows", "max rel. error", "p99", "of tolerance")


def verify_version(version_dir: Path, *, run: Path | None = None, seed: int = 0) -> VerificationReport:
    """Compares a version with the run it came from; without one, with itself.

    Without a run this shows that both loaders agree, that every signature keeps the contract, that rows do not depend
    on their batch nor draws on anything but their condition and seed, that NaN stays alone and draws have their own
    density: not that the version is the model.

    Args:
      version_dir: the version.
      run: run directory of `python -m maf`.
      seed: of the inputs.

    Raises:
      ContractError: if the version has no contract.
      RunError: if the run is none.
      OptionError: if the run has other columns than the version.
      VerificationError: as `verify` does, or if the version does not load.
    """
    contract = read_contract(version_dir)
    check_signature_defs(version_dir, contract)
    with fresh_process() as replay:
        replay.load(version_dir)
        model = _reference(version_dir, run, contract)
        inputs = draw_inputs(model, contract, seed=seed)
        return verify(model, version_dir, inputs, replay)


def _reference(version_dir: Path, run: Path | None, contract: Contract) -> Reference:
    if run is None:
        try:
            return LoadedVersion(version_dir)
        except (OSError, tf.errors.OpError) as error:
            raise VerificationError(f"{version_dir} does not load: {' '.join(str(error).split())}") from error
    loaded = read_run(run)
    columns = loaded.condition_columns
    if loaded.event_columns != contract.event_columns or columns != contract.raw_condition_columns:
        raise OptionError(
            f"run {str(run)!r} has columns {_columns(loaded.event_columns, columns)}; the version has "
            f"{_columns(contract.event_columns, contract.raw_condition_columns)}: name the run that it came from"
        )
    return LiveModel(loaded.distribution)


def _columns(event: tuple[str, ...], condition: tuple[ConditionColumn, ...]) -> str:
    return f"{', '.join(event)} given {', '.join(map(_column, condition)) or 'nothing'}"


def _column(column: ConditionColumn) -> str:
    more = ", ..." if len(column.vocabulary) > _SHOWN else ""
    kind = f"timestamp: {', '.join(column.parts)}" if column.is_time else ""
    kind = f"{column.kind}s {', '.join(map(str, column.vocabulary[:_SHOWN]))}{more}" if column.is_category else kind
    described = [each for each in (kind, "nullable" if column.nullable else "") if each]
    return f"{column.name} ({', '.join(described)})" if described else column.name


def format_report(report: VerificationReport) -> str:
    """A table: a line per output compared with the model (a seed's draw: between loaders), one for all of the rest."""
    rows = [
        (c.signature, c.output, c.loader, str(c.rows), *_numbers(c.max_relative_error, c.p99_relative_error, c.worst))
        for c in report.comparisons
        if c.against not in _TOGETHER
    ]
    for against, name in _TOGETHER.items():
        compared = [c for c in report.comparisons if c.against == against]
        if compared:
            figures = (max(getattr(c, figure) for c in compared) for figure in _FIGURES)
            rows.append((name, "all", "both", str(min(c.rows for c in compared)), *_numbers(*figures)))
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
    return "\n".join(_line(row, widths) for row in (_HEADER, *rows))


_TOGETHER = {"batch": "in other batches", "vectors": "by column"}
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
