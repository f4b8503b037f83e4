"""What an evaluation says: from its sums to the numbers of `summary.json` and of the report."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from beam_jobs.evaluation.base_space import (
    HISTOGRAM_EDGES,
    BaseReference,
    chi_square_quantile,
    find_reference,
    radius_edges,
    z_edges,
)
from beam_jobs.evaluation.column_scores import ColumnResult, half_mean_distance
from beam_jobs.jobs.summary import Summary
from maf_serving.calibration import LEVELS, critical_distance
from maf_serving.errors import JobError
from maf_serving.page_numbers import SPACE, level, number, percent, plural, with_error
from maf_serving.strict_json import parse_dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_jobs.evaluation.column_scores import ColumnScores
    from beam_jobs.evaluation.row_sample import RowSample, SampleScores
    from beam_jobs.evaluation.statistics import GroupStatistics, Statistics, ValueSketch
    from maf_serving.model_inputs import Array

QUANTILE_LEVELS = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
_HISTOGRAM_BINS = 60
_SHOWN_SHARE = 0.998  # of the rows, in the histogram of log_prob
_COLUMNS_TOLD = 4  # on the terminal


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
      crps_rows: rows of the sample that `columns` are of.
      crps_rows_failed: rows of the sample that the model gave no finite forecast for.
      columns: the event columns as forecasts; empty if no row was scored so.
      effective_rows: as how many rows of equal weight they tell, where they have weights; `None` where they have none.
      crps_effective_rows: the same of `crps_rows`.
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
    crps_rows: int = 0
    crps_rows_failed: int = 0
    columns: tuple[ColumnResult, ...] = ()
    effective_rows: float | None = None
    crps_effective_rows: float | None = None


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
      reference: what base space is compared with, see `base_space.py`.
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


def make_result(
    statistics: Statistics,
    event_columns: Sequence[str],
    *,
    sample: RowSample | None = None,
    scores: SampleScores | None = None,
) -> EvaluationResult:
    """The numbers from the sums; rejected rows are not among them yet.

    Args:
      statistics: of all rows.
      event_columns: names of the D columns.
      sample: the rows of which there are scores; `None` for none.
      scores: theirs.
    """
    dimensions = len(event_columns)
    reference = find_reference(statistics.base_draws, dimensions)
    overall = statistics.overall
    observed = overall.base_space.radius_cdf()
    sampled = None if sample is None else sample.rows()
    alone = np.full(dimensions, np.nan)
    if sampled is not None:
        alone = half_mean_distance(sampled.inputs["x"], sampled.weights)
    by_group: dict[str | None, ColumnScores] = {}
    if scores is not None:
        by_group |= {None: scores.overall} | scores.groups

    def make(name: str | None, group: GroupStatistics) -> GroupResult:
        found = _make_group(name, group, reference, event_columns)
        return _with_scores(found, by_group.get(name), event_columns, alone if name is None else None)

    return EvaluationResult(
        reference=reference.kind,
        reference_draws=reference.draws,
        reference_draws_ks=reference.ks_of_draws,
        overall=make(None, overall),
        groups=tuple(make(name, group) for name, group in sorted(statistics.groups.items())),
        log_prob_histogram=histogram_of(overall.sketch, _SHOWN_SHARE),
        z_histograms=_z_histograms(overall, reference),
        coverage_curve=tuple((float(e), float(o)) for e, o in zip(reference.radius_cdf, observed, strict=True)),
    )


def _make_group(
    name: str | None, group: GroupStatistics, reference: BaseReference, event_columns: Sequence[str]
) -> GroupResult:
    rows = group.rows
    quantiles = group.sketch.quantiles(QUANTILE_LEVELS)
    distances = np.abs(group.base_space.z_cdf() - reference.z_cdf).max(axis=1)
    deviations = group.z.standard_deviation()
    extremes = (group.sketch.minimum, group.sketch.maximum)
    return GroupResult(
        group=name,
        rows=rows,
        rows_rejected=0,
        rows_with_zero_density=rows - group.log_prob.count,
        mean_nll=finite_number(-group.log_prob.mean[0]) if group.log_prob.count else None,
        nll_standard_error=finite_number(group.log_prob.standard_error()[0]),
        log_prob_quantiles={
            f"{level:g}": finite_number(q) for level, q in zip(QUANTILE_LEVELS, quantiles, strict=True)
        },
        log_prob_range=(finite_number(extremes[0]), finite_number(extremes[1])),
        ks_by_chance=critical_distance(reference.independent_rows(group.effective_rows), 0.05) if rows else None,
        effective_rows=group.effective_rows if group.is_weighted else None,
        dimensions=tuple(
            DimensionResult(
                column=column,
                mean=float(group.z.mean[index]) if group.z.count else None,
                standard_deviation=finite_number(deviations[index]),
                ks=float(distances[index]) if rows else None,
            )
            for index, column in enumerate(event_columns)
        ),
        coverage=_coverage(group, reference, len(event_columns)),
    )


def _with_scores(
    group: GroupResult, scores: ColumnScores | None, event_columns: Sequence[str], alone: Array | None
) -> GroupResult:
    if scores is None:
        return group
    columns = scores.results(event_columns, alone)
    return dataclasses.replace(
        group,
        crps_rows=scores.rows,
        crps_rows_failed=scores.failed,
        crps_effective_rows=scores.effective_rows,
        columns=columns,
    )


def _coverage(group: GroupStatistics, reference: BaseReference, dimensions: int) -> tuple[CoverageResult, ...]:
    results = []
    for share in LEVELS:
        index = int(np.searchsorted(radius_edges(dimensions), chi_square_quantile(share, dimensions)))
        observed = float(group.base_space.radius_cdf()[index]) if group.rows else None
        error = None if observed is None else math.sqrt(observed * max(1 - observed, 0.0) / group.effective_rows)
        expected = float(reference.radius_cdf[index])
        results.append(CoverageResult(level=share, expected=expected, observed=observed, standard_error=error))
    return tuple(results)


def histogram_of(sketch: ValueSketch, shown_share: float) -> Histogram:
    """Of the values but as many at either end; without bins if they are all the same, or there is none."""
    low, high = sketch.quantiles([(1 - shown_share) / 2, (1 + shown_share) / 2])
    if not low < high:
        return Histogram(edges=(), shares=())
    values, counts = sketch.histogram()
    shares, edges = np.histogram(values, bins=_HISTOGRAM_BINS, range=(low, high), weights=counts / sketch.count)
    return Histogram(edges=tuple(map(float, edges)), shares=tuple(map(float, shares)))


def _z_histograms(group: GroupStatistics, reference: BaseReference) -> tuple[Histogram, ...]:
    if not group.rows:
        return ()
    at = np.searchsorted(z_edges(), HISTOGRAM_EDGES)
    expected = np.diff(reference.z_cdf[:, at], axis=1)
    observed = group.base_space.z_histogram()[:, 1:-1] / group.weight
    edges = tuple(map(float, HISTOGRAM_EDGES))
    return tuple(
        Histogram(edges=edges, shares=tuple(map(float, shares)), reference=tuple(map(float, other)))
        for shares, other in zip(observed, expected, strict=True)
    )


def finite_number(value: float) -> float | None:
    """JSON has no infinity and no NaN."""
    return float(value) if math.isfinite(value) else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSummary(Summary):
    """Contents of `_summary.json`; see `Summary` for the rest.

    Attributes:
      reference: what base space is compared with: see `base_space.py`.
      reference_draws: how many draws of the base that rests on.
      reference_draws_ks: their largest KS distance from the standard normal distribution.
      overall: all rows.
      groups: by name.
      groups_rejected_whole: the groups of which every row was rejected, and how many.
      crps_method: what the event columns are scored by, such as `99 draws of each row`; `None` where they are not.
      crps_missing: why not; `None` where they are.
      rounded_columns: event columns whose forecasts are rounded as their values are: intervals hold more than their
        level.
      verdict: what the figures say, in words.
    """

    reference: str
    reference_draws: int
    reference_draws_ks: float | None
    overall: GroupResult
    groups: tuple[GroupResult, ...]
    groups_rejected_whole: Mapping[str, int]
    crps_method: str | None = None
    crps_missing: str | None = None
    rounded_columns: tuple[str, ...] = ()
    verdict: tuple[str, ...] = ()

    def result_lines(self) -> list[str]:
        """See `Summary.result_lines`."""
        overall = self.overall
        lines = [f"rows scored   {self.rows_scored:>12,}"]
        if overall.mean_nll is not None:
            error = "" if overall.nll_standard_error is None else f" ± {overall.nll_standard_error:.4f}"
            lines.append(f"mean NLL      {overall.mean_nll:>12.4f}{error} nats")
        if overall.effective_rows is not None:
            lines.append(f"weights       {overall.effective_rows:>12,.0f}  rows of equal weight tell as much")
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
        lines += self._column_lines()
        return lines + [f"{'verdict' if not index else '':<13} {each}" for index, each in enumerate(self.verdict)]

    def _column_lines(self) -> list[str]:
        overall = self.overall
        if self.crps_missing is not None:
            return [f"CRPS          none: {self.crps_missing}"]
        lines = [
            f"CRPS          {with_error(each.mean_crps, each.crps_standard_error)} of {each.column}; "
            + ", ".join(
                f"{percent(interval.coverage)} in its {level(interval.level)} interval of width "
                f"{number(interval.mean_width)}"
                for interval in each.intervals
            )
            for each in overall.columns[:_COLUMNS_TOLD]
        ]
        more = len(overall.columns) - len(lines)
        if lines:
            rest = f"; {plural(more, 'more column')} in the report" if more > 0 else ""
            worth = overall.crps_effective_rows
            alike = "" if worth is None else f" that tell as much as {worth:,.0f} of equal weight"
            lines.append(f"              on {overall.crps_rows:,} rows{alike}, by {self.crps_method}{rest}")
        return [line.replace(SPACE, " ") for line in lines]

    def next_step(self, output: str) -> str:
        """See `Summary.next_step`."""
        return f"open {output}/{self.output_files[0]} in a browser"
