"""What a finished job says of itself: `_summary.json`, and the lines on the terminal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from beam_jobs.tally import UnreadableFile
from maf_serving.errors import JobError
from maf_serving.strict_json import parse_dataclass

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What `_summary.json` of every job holds.

    Attributes:
      rows_read: rows in the input files; always `rows_scored + rows_rejected`. A damaged file that does not say how
        many rows it has lost counts as one more than could be read.
      rows_scored: rows that the model answered.
      rows_rejected: rows in the rejected files.
      rejected_by_kind: what is in the rejected files, by kind of reason.
      unreadable_files: what could not be read, and how many rows are lost with it; `null` where nobody knows.
      unknown_categories: by input column of categories, how many of its values the model does not know: they are scored
        as its `<other>`.
      seconds: run time of the pipeline, loading of the model included.
      model: path of the version that was used.
      model_version: name of its directory.
      signature_name: the signature that was run.
      event_columns: from the model's contract.
      conditional_columns: from the model's contract: the entries of `conditional_input`.
      raw_condition_columns: the columns that those are made of; the same ones where all are plain numbers.
      dtype: from the model's contract.
      input_files: files read, in order.
      output_files: files written, beside the summary.
      options: the job's options as given.
    """

    rows_read: int
    rows_scored: int
    rows_rejected: int
    rejected_by_kind: Mapping[str, int]
    unreadable_files: tuple[UnreadableFile, ...]
    unknown_categories: Mapping[str, int]
    seconds: float
    model: str
    model_version: str
    signature_name: str
    event_columns: tuple[str, ...]
    conditional_columns: tuple[str, ...]
    raw_condition_columns: tuple[str, ...]
    dtype: str
    input_files: tuple[str, ...]
    output_files: tuple[str, ...]
    options: Mapping[str, Any]

    def to_json(self) -> str:
        """The text of `_summary.json`."""
        return json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Reads what `to_json` wrote. Raises `JobError` on anything else."""
        return parse_dataclass(cls, text, "summary", error=JobError)

    def to_text(self, output: str) -> str:
        """A few lines for the terminal."""
        rate = self.rows_read / self.seconds if self.seconds else 0.0
        lines = [
            f"rows read     {self.rows_read:>12,}  in {self.seconds:.1f} s ({rate:,.0f} rows/s, start-up included)",
            *self.result_lines(),
            *self._rejection_lines(),
            *self._unknown_lines(),
            f"model version {self.model_version} ({self.model})",
            f"written to    {output}: {_listing(self.output_files)}, _summary.json",
        ]
        return "\n".join(lines) + "\n"

    def result_lines(self) -> list[str]:
        """What the job is there for, in a line or a few."""
        return [f"rows scored   {self.rows_scored:>12,}"]

    def _rejection_lines(self) -> list[str]:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.rejected_by_kind.items())
        lines = [f"rows rejected {self.rows_rejected:>12,}{f'  ({kinds})' if kinds else ''}"]
        unknown = sum(each.rows_lost is None for each in self.unreadable_files)
        if unknown:
            lines.append(
                f"lost files    {unknown:>12,}  damaged, rows behind the damage unknown: one rejected for each"
            )
        return lines

    def _unknown_lines(self) -> list[str]:
        counts = {name: count for name, count in self.unknown_categories.items() if count}
        if not counts:
            return []
        columns = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        return [f"not known     {sum(counts.values()):>12,}  categories, scored as <other>: {columns}"]


def _listing(files: tuple[str, ...]) -> str:
    shards = [name for name in files if "-" in name]
    prefixes = dict.fromkeys((name.partition("-")[0], name.rpartition(".")[2]) for name in shards)
    counts = {prefix: sum(name.startswith(f"{prefix[0]}-") for name in shards) for prefix in prefixes}
    listed = [f"{prefix}-*.{extension} ({count})" for (prefix, extension), count in counts.items()]
    return ", ".join([*listed, *(name for name in files if name not in shards)])
