"""What an evaluation says: numbers ready for `_summary.json` and the report."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping

from maf_serving.errors import JobError
from maf_serving.strict_json import parse_dataclass


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DimensionResult:
    """One dimension of base space, against the reference.

    Attributes:
      column: the event column.
      mean: of z.
      standard_deviation: of z, or `None` of fewer than two rows.
      ks: the Kolmogorov-Smirnov distance, exact to `base_space.RESOLUTION`.
    """

    column: str
    mean: float | None
    standard_deviation: float | None
    ks: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CoverageResult:
    """A ball around the origin of base space, which holds `level` of a standard normal base.

    `expected`: the share of the reference in it; `observed`: the share of the rows; `standard_error` of that.
    """

    level: float
    expected: float
    observed: float | None
    standard_error: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class GroupResult:
    """What is known of a group of rows, or of all.

    Attributes:
      group: its name; `None` for all rows.
      rows: rows that the model answered.
      rows_rejected: rows that were rejected; those that could not be read belong to no group.
      rows_with_zero_density: rows whose log_prob is minus infinity; the next four leave them out.
      mean_nll: mean negative log-likelihood, nats.
      nll_standard_error: of that mean.
      log_prob_quantiles: by level, to a relative error of 0.03 %.
      log_prob_range: the smallest and the largest.
      ks_by_chance: the KS distance that a perfect model stays below in 95 of 100 such samples.
      dimensions: of base space.
      coverage: of central regions of base space.
    """

    group: str | None
    rows: int
    rows_rejected: int
    rows_with_zero_density: int
    mean_nll: float | None
    nll_standard_error: float | None
    log_prob_quantiles: Mapping[str, float | None]
    log_prob_range: tuple[float | None, float | None]
    ks_by_chance: float | None
    dimensions: tuple[DimensionResult, ...]
    coverage: tuple[CoverageResult, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Shares of rows between edges, `len(edges) - 1` of them, and the same of a reference, or none."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    reference: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """All that is said.

    Attributes:
      reference: what base space is compared with, see `base_reference.py`.
      reference_draws: how many draws of the base that rests on.
      reference_draws_ks: their largest KS distance from the standard normal distribution.
      overall: all rows.
      groups: by name.
      groups_rejected_whole: rejected rows of the groups that have no other.
      log_prob_histogram: of all rows but the 0.1 % at either end.
      z_histograms: for each dimension, of all rows; shares outside the edges are left out.
      coverage_curve: pairs of the expected and the observed share of all rows in growing balls.
    """

    reference: str
    reference_draws: int
    reference_draws_ks: float | None
    overall: GroupResult
    groups: tuple[GroupResult, ...]
    log_prob_histogram: Histogram
    z_histograms: tuple[Histogram, ...]
    coverage_curve: tuple[tuple[float, float], ...]
    groups_rejected_whole: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def to_json(self) -> str:
        """Text that `from_json` reads back."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> EvaluationResult:
        """Reads what `to_json` wrote."""
        return parse_dataclass(cls, text, "result", error=JobError)
