"""The summary of the sampling job."""

from __future__ import annotations

import dataclasses

from beam_jobs.summary import Summary


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SampleSummary(Summary):
    """Contents of `_summary.json`; see `Summary` for the rest.

    Attributes:
      draws_written: draws in the result files; with `draws_rejected`, `rows_scored` times the draws for each row.
      draws_rejected: draws that were not finite; their reasons, beside those of the rejected rows, name them.
    """

    draws_written: int
    draws_rejected: int

    def result_lines(self) -> list[str]:
        """See `Summary.result_lines`."""
        rejected = f", {self.draws_rejected:,} rejected" if self.draws_rejected else ""
        return [
            f"rows drawn on {self.rows_scored:>12,}",
            f"draws written {self.draws_written:>12,}{rejected}",
        ]
