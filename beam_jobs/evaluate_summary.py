"""The summary of the evaluation."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from beam_jobs.evaluation.results import GroupResult
from beam_jobs.summary import Summary


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSummary(Summary):
    """Contents of `_summary.json`; see `Summary` for the rest.

    Attributes:
      reference: what base space is compared with: see `evaluation/base_reference.py`.
      reference_draws: how many draws of the base that rests on.
      reference_draws_ks: their largest KS distance from the standard normal distribution.
      overall: all rows.
      groups: by name.
      groups_rejected_whole: the groups of which every row was rejected, and how many.
    """

    reference: str
    reference_draws: int
    reference_draws_ks: float | None
    overall: GroupResult
    groups: tuple[GroupResult, ...]
    groups_rejected_whole: Mapping[str, int]

    def result_lines(self) -> list[str]:
        """See `Summary.result_lines`."""
        overall = self.overall
        lines = [f"rows scored   {self.rows_scored:>12,}"]
        if overall.mean_nll is not None:
            error = "" if overall.nll_standard_error is None else f" ± {overall.nll_standard_error:.4f}"
            lines.append(f"mean NLL      {overall.mean_nll:>12.4f}{error} nats")
        if overall.rows_with_zero_density:
            lines.append(f"zero density  {overall.rows_with_zero_density:>12,}  rows, not in the mean NLL")
        distances = [each.ks for each in overall.dimensions if each.ks is not None]
        if distances:
            against = f"largest of {len(distances)} dimensions, against the {self.reference}"
            lines.append(f"KS distance   {max(distances):>12.4f}  {against}")
        covered = [
            f"{100 * each.observed:.1f} % in {100 * each.expected:.1f} %"
            for each in overall.coverage
            if each.observed is not None
        ]
        if covered:
            lines.append(f"coverage      {', '.join(covered)}")
        return lines
