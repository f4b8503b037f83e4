"""What a job counts on its way, added up over bundles and workers."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

import apache_beam as beam

from maf_serving.errors import JobError
from maf_serving.strict_json import parse_dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable


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
            unreadable_files=self.unreadable_files + other.unreadable_files,
            files=self.files + other.files,
        )

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
