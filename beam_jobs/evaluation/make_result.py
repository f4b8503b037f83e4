"""From the sums of an evaluation to what it says."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from beam_jobs.evaluation.base_reference import BaseReference, find_reference
from beam_jobs.evaluation.base_space import HISTOGRAM_EDGES, radius_edges, z_edges
from beam_jobs.evaluation.chi_square import chi_square_quantile
from beam_jobs.evaluation.results import CoverageResult, DimensionResult, EvaluationResult, GroupResult, Histogram
from maf_serving.calibration import LEVELS, critical_distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_jobs.evaluation.group_statistics import GroupStatistics
    from beam_jobs.evaluation.statistics import Statistics

QUANTILE_LEVELS = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
_LOG_PROB_BINS = 60
_SHOWN_SHARE = 0.998  # of the rows, in the histogram of log_prob


def make_result(statistics: Statistics, event_columns: Sequence[str]) -> EvaluationResult:
    """The numbers from the sums; rejected rows are not among them yet."""
    dimensions = len(event_columns)
    reference = find_reference(statistics.base_draws, dimensions)
    overall = statistics.overall
    observed = overall.base_space.radius_cdf()
    return EvaluationResult(
        reference=reference.kind,
        reference_draws=reference.draws,
        reference_draws_ks=reference.ks_of_draws,
        overall=_make_group(None, overall, reference, event_columns),
        groups=tuple(
            _make_group(name, group, reference, event_columns) for name, group in sorted(statistics.groups.items())
        ),
        log_prob_histogram=_log_prob_histogram(overall),
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
        mean_nll=_number(-group.log_prob.mean[0]) if group.log_prob.count else None,
        nll_standard_error=_number(group.log_prob.standard_error()[0]),
        log_prob_quantiles={f"{level:g}": _number(q) for level, q in zip(QUANTILE_LEVELS, quantiles, strict=True)},
        log_prob_range=(_number(extremes[0]), _number(extremes[1])),
        ks_by_chance=critical_distance(reference.independent_rows(rows), 0.05) if rows else None,
        dimensions=tuple(
            DimensionResult(
                column=column,
                mean=float(group.z.mean[index]) if group.z.count else None,
                standard_deviation=_number(deviations[index]),
                ks=float(distances[index]) if rows else None,
            )
            for index, column in enumerate(event_columns)
        ),
        coverage=_coverage(group, reference, len(event_columns)),
    )


def _coverage(group: GroupStatistics, reference: BaseReference, dimensions: int) -> tuple[CoverageResult, ...]:
    results = []
    for level in LEVELS:
        index = int(np.searchsorted(radius_edges(dimensions), chi_square_quantile(level, dimensions)))
        observed = float(group.base_space.radius_cdf()[index]) if group.rows else None
        error = None if observed is None else math.sqrt(observed * (1 - observed) / group.rows)
        expected = float(reference.radius_cdf[index])
        results.append(CoverageResult(level=level, expected=expected, observed=observed, standard_error=error))
    return tuple(results)


def _log_prob_histogram(group: GroupStatistics) -> Histogram:
    low, high = group.sketch.quantiles([(1 - _SHOWN_SHARE) / 2, (1 + _SHOWN_SHARE) / 2])
    if not low < high:
        return Histogram(edges=(), shares=())
    values, counts = group.sketch.histogram()
    shares, edges = np.histogram(values, bins=_LOG_PROB_BINS, range=(low, high), weights=counts / group.sketch.count)
    return Histogram(edges=tuple(map(float, edges)), shares=tuple(map(float, shares)))


def _z_histograms(group: GroupStatistics, reference: BaseReference) -> tuple[Histogram, ...]:
    if not group.rows:
        return ()
    at = np.searchsorted(z_edges(), HISTOGRAM_EDGES)
    expected = np.diff(reference.z_cdf[:, at], axis=1)
    observed = group.base_space.z_histogram()[:, 1:-1] / group.rows
    edges = tuple(map(float, HISTOGRAM_EDGES))
    return tuple(
        Histogram(edges=edges, shares=tuple(map(float, shares)), reference=tuple(map(float, other)))
        for shares, other in zip(observed, expected, strict=True)
    )


def _number(value: float) -> float | None:
    """JSON has no infinity and no NaN."""
    return float(value) if math.isfinite(value) else None
