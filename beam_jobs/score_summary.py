"""The summary of the scoring job."""

from __future__ import annotations

import dataclasses

from beam_jobs.summary import Summary


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary(Summary):
    """Contents of `_summary.json`; see `Summary` for the rest.

    Attributes:
      mean_log_prob: in nats, over the scored rows whose log_prob is finite; `None` if there is none.
      rows_with_zero_density: scored rows whose log_prob is minus infinity.
    """

    mean_log_prob: float | None
    rows_with_zero_density: int

    def result_lines(self) -> list[str]:
        """See `Summary.result_lines`."""
        mean = "" if self.mean_log_prob is None else f", mean log_prob {self.mean_log_prob:.4f} nats"
        return [f"rows scored   {self.rows_scored:>12,}{mean}"]
