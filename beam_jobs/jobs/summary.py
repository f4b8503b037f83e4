"""What a job counts on its way, and what it says of itself when it has finished.

    each bundle -> Tally -- AddTallies --> Tally of the job -> Summary -> _summary.json, and lines for the terminal
         |
         +-> count_rows(), count_rejected(): the progress bar, where workers are threads of this process

Each field of a `Tally` is counted where it happens, so that the sums can be checked against each other at the end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from tqdm import tqdm

from maf_serving.errors import JobError
from maf_serving.strict_json import parse_dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Self

FOUND_STATUS = 3
"""Exit status of a command that did its work and found what a script has to know: a worse model, or drift."""
_REFRESH_SECONDS = 0.2
# Beam pickles the steps of a pipeline, so they can share this with the launcher only through a module.
_lock = threading.Lock()
_rows_done = 0
_rows_rejected = 0


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
      out_of_range: by input column of the condition, how many rows have a value there that is nothing like what
        training saw, whether they are scored or rejected for it; `null` where the model knows no ranges.
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
    out_of_range: Mapping[str, int] | None
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

    @property
    def exit_status(self) -> int:
        """Of a command that has done its work: 0, or `FOUND_STATUS` where what it looked for is there."""
        return 0

    def losses(self) -> list[tuple[str, int, int]]:
        """What was rejected, and of how many: each is held against `--max_rejected`."""
        return [("rows", self.rows_rejected, self.rows_read)]

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
            *self._outside_lines(),
            f"model version {self.model_version} ({self.model})",
            f"written to    {output}: {_listing(self.output_files)}, _summary.json",
            *([f"loaded into   {table}"] if (table := self.options.get("output_table")) else []),
            f"next          {self.next_step(output)}",
        ]
        return "\n".join(lines) + "\n"

    def result_lines(self) -> list[str]:
        """What the job is there for, in a line or a few."""
        return [f"rows scored   {self.rows_scored:>12,}"]

    def next_step(self, output: str) -> str:
        """What to look at now: the first result file; or if rows were rejected, the first file that says why."""
        rejected = [name for name in self.output_files if name.startswith("_rejected")]
        if self.rows_rejected and rejected:
            return f"see {output}/{rejected[0]}: why rows were rejected"
        return f"see {output}/{self.output_files[0]}"

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

    def _outside_lines(self) -> list[str]:
        counts = {name: count for name, count in (self.out_of_range or {}).items() if count}
        if not counts:
            return []
        columns = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        what = "rejected" if self.options.get("on_out_of_range") == "reject" else "scored all the same"
        return [f"out of range  {sum(counts.values()):>12,}  values unlike all that training saw, {what}: {columns}"]


def _listing(files: tuple[str, ...]) -> str:
    shards = [name for name in files if "-" in name]
    prefixes = dict.fromkeys((name.partition("-")[0], name.rpartition(".")[2]) for name in shards)
    counts = {prefix: sum(name.startswith(f"{prefix[0]}-") for name in shards) for prefix in prefixes}
    listed = [f"{prefix}-*.{extension} ({count})" for (prefix, extension), count in counts.items()]
    return ", ".join([*listed, *(name for name in files if name not in shards)])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableFile:
    """A file, or a part of one, that could not be read.

    Attributes:
      file: its path.
      first_row: number of the first row that could not be read; those before it were.
      rows_lost: how many rows were not read, or `None` where the file does not say. Each is rejected; of a file that
        does not say, the first.
      reason: what was wrong with it.
    """

    file: str
    first_row: int
    rows_lost: int | None
    reason: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts of a part of the job. Each field is counted where it happens, so that the sums can be checked.

    Attributes:
      rows_read: rows that came out of the input files.
      rows_rejected: rows written to rejected files.
      rejected_by_kind: all that was written there, by kind of reason.
      rejected_by_group: the rejected rows whose group was asked for and is known, by group.
      rows_used: rows that a job drew for, or took into its statistics.
      rows_written: rows written to result files.
      draws_rejected: draws written to rejected files.
      finite_log_probs: how many log_probs of the result are finite.
      log_prob_sum: sum of those, in nats.
      unknown_categories: by column of the input, how many categories went to the model that it does not know.
      out_of_range: by column of the input, how many rows are out of the range that training saw.
      unreadable_files: what could not be read.
      files: paths of the files written, not published yet.
    """

    rows_read: int = 0
    rows_rejected: int = 0
    rejected_by_kind: Mapping[str, int] = dataclasses.field(default_factory=dict)
    rejected_by_group: Mapping[str, int] = dataclasses.field(default_factory=dict)
    rows_used: int = 0
    rows_written: int = 0
    draws_rejected: int = 0
    finite_log_probs: int = 0
    log_prob_sum: float = 0.0
    unknown_categories: Mapping[str, int] = dataclasses.field(default_factory=dict)
    out_of_range: Mapping[str, int] = dataclasses.field(default_factory=dict)
    unreadable_files: tuple[UnreadableFile, ...] = ()
    files: tuple[str, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            rows_read=self.rows_read + other.rows_read,
            rows_rejected=self.rows_rejected + other.rows_rejected,
            rejected_by_kind=dict(Counter(self.rejected_by_kind) + Counter(other.rejected_by_kind)),
            rejected_by_group=dict(Counter(self.rejected_by_group) + Counter(other.rejected_by_group)),
            rows_used=self.rows_used + other.rows_used,
            rows_written=self.rows_written + other.rows_written,
            draws_rejected=self.draws_rejected + other.draws_rejected,
            finite_log_probs=self.finite_log_probs + other.finite_log_probs,
            log_prob_sum=self.log_prob_sum + other.log_prob_sum,
            unknown_categories=dict(Counter(self.unknown_categories) + Counter(other.unknown_categories)),
            out_of_range=dict(Counter(self.out_of_range) + Counter(other.out_of_range)),
            unreadable_files=self.unreadable_files + other.unreadable_files,
            files=self.files + other.files,
        )

    def check_rows(self, counted: int, done: str) -> None:
        """Raises `JobError` unless every row that was read is rejected or counted; `done` is what is said of these."""
        if self.rows_read != counted + self.rows_rejected:
            raise JobError(f"{self.rows_read} rows were read, but {counted} {done} and {self.rows_rejected} rejected")

    def to_json(self) -> str:
        """Text that `from_json` reads back."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Tally:
        """Reads what `to_json` wrote."""
        return parse_dataclass(cls, text, "tally", error=JobError)


class AddTallies(beam.CombineFn):  # type: ignore[misc]  # Beam is untyped here
    """Sums `Tally` elements."""

    def create_accumulator(self) -> Tally:
        """The sum of nothing."""
        return Tally()

    def add_input(self, mutable_accumulator: Tally, element: Tally) -> Tally:
        """Adds one tally."""
        return mutable_accumulator + element

    def merge_accumulators(self, accumulators: Iterable[Tally]) -> Tally:
        """Adds sums of several workers."""
        return sum(accumulators, Tally())

    def extract_output(self, accumulator: Tally) -> Tally:
        """The sum itself."""
        return accumulator


def count_rows(rows: int) -> None:
    """Adds to the rows done in this process."""
    global _rows_done  # noqa: PLW0603  # see above
    with _lock:
        _rows_done += rows


def count_rejected(rows: int) -> None:
    """Adds to the rows, or draws, rejected in this process."""
    global _rows_rejected  # noqa: PLW0603  # see above
    with _lock:
        _rows_rejected += rows


@contextlib.contextmanager
def progress_bar(total_rows: int | None) -> Iterator[None]:
    """Shows rows done and rejected while the block runs, if stderr is a terminal.

    `total_rows` is `None` if nobody knows.
    """
    finished = threading.Event()
    start, start_rejected = _rows_done, _rows_rejected
    # `sys.stderr` may be redirected, or hear the main thread alone
    with tqdm(total=total_rows, unit=" rows", unit_scale=True, file=sys.__stderr__, disable=None, leave=False) as bar:

        def refresh() -> None:
            while not finished.wait(_REFRESH_SECONDS):
                bar.set_postfix_str(f"{_rows_rejected - start_rejected:,} rejected", refresh=False)
                bar.update(_rows_done - start - bar.n)

        thread = threading.Thread(target=refresh, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
