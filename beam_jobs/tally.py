"""What a job counts on its way, added up over bundles and workers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import apache_beam as beam

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts of a part of the job. Each field is counted where it happens, so that the sums can be checked.

    Attributes:
      rows_read: rows that came out of the input files.
      rows_scored: rows written to scored files.
      rows_rejected: rows written to rejected files.
      rejected_by_kind: the rejected rows by kind of reason.
      finite_log_probs: rows scored whose log_prob is finite.
      log_prob_sum: sum of those, in nats.
      files: paths of the files written, not published yet.
    """

    rows_read: int = 0
    rows_scored: int = 0
    rows_rejected: int = 0
    rejected_by_kind: Mapping[str, int] = dataclasses.field(default_factory=dict)
    finite_log_probs: int = 0
    log_prob_sum: float = 0.0
    files: tuple[str, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            rows_read=self.rows_read + other.rows_read,
            rows_scored=self.rows_scored + other.rows_scored,
            rows_rejected=self.rows_rejected + other.rows_rejected,
            rejected_by_kind=dict(Counter(self.rejected_by_kind) + Counter(other.rejected_by_kind)),
            finite_log_probs=self.finite_log_probs + other.finite_log_probs,
            log_prob_sum=self.log_prob_sum + other.log_prob_sum,
            files=self.files + other.files,
        )


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
