"""What a finished job says of itself: `summary.json`, and the lines on the terminal."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from beam_jobs.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beam_jobs.tally import Tally


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Contents of `summary.json`.

    Attributes:
      rows_read: rows in the input files; always `rows_scored + rows_rejected`.
      rows_scored: rows in the scored files.
      rows_rejected: rows in the rejected files.
      rejected_by_kind: the rejected rows by kind of reason.
      mean_log_prob: in nats, over the scored rows whose log_prob is finite; `None` if there is none.
      rows_with_zero_density: scored rows whose log_prob is minus infinity.
      seconds: run time of the pipeline, loading of the model included.
      model: path of the version that scored.
      model_version: name of its directory.
      signature_name: the signature that was run.
      event_columns: from the model's contract.
      conditional_columns: from the model's contract.
      dtype: from the model's contract.
      input_files: files read, in order.
      output_files: files written, beside the summary.
      options: the job's options as given.
    """

    rows_read: int
    rows_scored: int
    rows_rejected: int
    rejected_by_kind: Mapping[str, int]
    mean_log_prob: float | None
    rows_with_zero_density: int
    seconds: float
    model: str
    model_version: str
    signature_name: str
    event_columns: tuple[str, ...]
    conditional_columns: tuple[str, ...]
    dtype: str
    input_files: tuple[str, ...]
    output_files: tuple[str, ...]
    options: Mapping[str, Any]

    def to_json(self) -> str:
        """The text of `summary.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"

    def to_text(self, output: str) -> str:
        """A few lines for the terminal."""
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.rejected_by_kind.items())
        mean = "" if self.mean_log_prob is None else f", mean log_prob {self.mean_log_prob:.4f} nats"
        rate = self.rows_read / self.seconds if self.seconds else 0.0
        return (
            f"rows read     {self.rows_read:>12,}  in {self.seconds:.1f} s ({rate:,.0f} rows/s, start-up included)\n"
            f"rows scored   {self.rows_scored:>12,}{mean}\n"
            f"rows rejected {self.rows_rejected:>12,}{f'  ({kinds})' if kinds else ''}\n"
            f"model version {self.model_version} ({self.model})\n"
            f"written to    {output}: {_listing(self.output_files)}, summary.json\n"
        )


def check_tally(tally: Tally, *, known_rows: int | None) -> None:
    """Raises `JobError` unless every row read was written exactly once.

    Args:
      tally: the job's counts, each taken where rows are read or written.
      known_rows: rows in the input by its own account, or `None` if it gives none.
    """
    if tally.rows_read != tally.rows_scored + tally.rows_rejected:
        raise JobError(
            f"{tally.rows_read} rows were read, but {tally.rows_scored} scored and {tally.rows_rejected} rejected"
        )
    if known_rows is not None and tally.rows_read != known_rows:
        raise JobError(f"{tally.rows_read} rows were read of {known_rows} in the input files")


def _listing(files: tuple[str, ...]) -> str:
    prefixes = dict.fromkeys(name.partition("-")[0] for name in files)
    counts = {prefix: sum(name.startswith(f"{prefix}-") for name in files) for prefix in prefixes}
    return ", ".join(f"{prefix}-*.parquet ({count})" for prefix, count in counts.items())
