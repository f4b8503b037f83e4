"""What an evaluation says in words: calibration, then likelihood, then what is left out."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING

from beam_jobs.evaluation.base_space import BASE_DRAWS
from maf_serving.calibration import CONFIDENCE, SMALL, ColumnFit, Finding, Fit, findings_of, group_finding
from maf_serving.page_numbers import level, nats, percent, plural, with_error

if TYPE_CHECKING:
    from collections.abc import Collection

    from beam_jobs.evaluation.results import EvaluateSummary, EvaluationResult, GroupResult
    from export.contract import TrainingSummary

REGION = "central region"
SURE = 2.0  # standard errors
SMALL_GAP = 0.01  # nats
MANY_REJECTED = 0.01


def judge(summary: EvaluateSummary, result: EvaluationResult, training: TrainingSummary | None = None) -> list[Finding]:
    """What the figures say, in words: calibration, then likelihood, then what is left out."""
    if not result.overall.rows:
        return [Finding("bad", "Nothing to judge:", f"none of {plural(summary.rows_read, 'row')} could be evaluated.")]
    groups = [(group.group or "", fit_of(group, result)) for group in result.groups if group.rows]
    findings = [
        *findings_of(fit_of(result.overall, result), REGION),
        group_finding(groups, str(summary.options["group_column"])) if groups else None,
        _intervals(result.overall, summary.rounded_columns),
        _against_training(result.overall, training),
        _zero_density(result.overall),
        _rejected(summary),
        *_unknown(summary),
    ]
    return [finding for finding in findings if finding is not None]


def _interval_noise(share: float, rows: float, looked_at: int) -> float:
    """A perfect model's shares in so many intervals are within it of their level in 95 of 100 cases."""
    return NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (2 * looked_at)) * math.sqrt(share * (1 - share) / rows)


def _intervals(overall: GroupResult, rounded: Collection[str]) -> Finding | None:
    """Whether central intervals of the event columns hold what they should; more, where values are rounded."""
    looked_at = [(each.column, interval) for each in overall.columns for interval in each.intervals]
    if not looked_at:
        return None
    on = f"on {plural(overall.crps_rows, 'row')}"
    off = []
    worth = overall.crps_rows if overall.crps_effective_rows is None else overall.crps_effective_rows
    for column, interval in looked_at:
        excess = interval.coverage - interval.level
        noise = _interval_noise(interval.level, worth, len(looked_at))
        if abs(excess) > noise and not (excess > 0 and column in rounded):
            off.append((abs(excess), column, interval))
    if not off:
        count = f"{len(looked_at)} of {len(looked_at)}"
        return Finding("good", "Intervals hold what they say:", f"{count} central ones of the columns, {on}.")
    excess, column, worst = max(off, key=lambda each: each[0])
    way = "wide" if worst.coverage > worst.level else "narrow"
    return Finding(
        "fair" if excess <= SMALL else "bad",
        f"{len(looked_at) - len(off)} of {len(looked_at)} central intervals hold what they say:",
        f"worst is the {level(worst.level)} one of {column}, which is too {way}: {percent(worst.coverage)} of its "
        f"values are in it, {on}.",
    )


def _against_training(overall: GroupResult, training: TrainingSummary | None) -> Finding | None:
    """The mean NLL beside that of the rows which training held out, where both are of the same density."""
    error = overall.nll_standard_error
    if training is None or training.test_nll is None or training.dequantization or not training.test_rows:
        return None
    if overall.mean_nll is None or error is None:
        return None
    weighted = training.profile is not None and training.profile.event[0].effective_rows is not None
    if weighted != (overall.effective_rows is not None):
        how = "those count by their weights, and these alike" if weighted else "those count alike, and these by weight"
        return Finding("note", "Not compared with the test rows of its training:", f"{how}.")
    gap = overall.mean_nll - training.test_nll
    rows = overall.rows - overall.rows_with_zero_density
    noise = error * math.sqrt(1 + rows / training.test_rows)  # of both means, if the rows are alike
    there = f"there {nats(training.test_nll)} on {plural(training.test_rows, 'row')}"
    if abs(gap) <= SURE * noise:
        here = f"mean NLL {with_error(overall.mean_nll, error)} nats, {there}."
        return Finding("good", "As likely as the test rows of its training:", here)
    by = f"by {with_error(abs(gap), noise)} nats per row, {there}"
    if gap < 0:
        return Finding("note", "More likely than the test rows of its training", f"{by}.")
    return Finding(
        "fair" if gap <= SMALL_GAP else "bad",
        "Less likely than the test rows of its training",
        f"{by}: these rows are not like those.",
    )


def _zero_density(overall: GroupResult) -> Finding | None:
    rows = overall.rows_with_zero_density
    if not rows:
        return None
    return Finding("bad", f"{plural(rows, 'row')} of density zero:", "to the model impossible; no NLL counts them.")


def _rejected(summary: EvaluateSummary) -> Finding:
    if not summary.rows_rejected:
        return Finding("good", "Every row counts:", f"{summary.rows_read:,} read, none rejected.")
    share = summary.rows_rejected / summary.rows_read
    claim = f"{plural(summary.rows_rejected, 'row')} rejected:"
    ground = f"{percent(share)} of {summary.rows_read:,} read are in no figure of the model."
    return Finding("bad" if share > MANY_REJECTED else "fair", claim, ground)


def _unknown(summary: EvaluateSummary) -> list[Finding]:
    return [
        Finding("fair", f"{plural(count, 'unknown value')} of {column}:", "scored as a category of their own.")
        for column, count in summary.unknown_categories.items()
        if count
    ]


def fit_of(group: GroupResult, result: EvaluationResult) -> Fit:
    """What was found of all rows, or of a group, as what is judged."""
    normal = result.reference != BASE_DRAWS
    levels = tuple((each.expected, each.observed or 0.0) for each in group.coverage)
    curve = result.coverage_curve if group.group is None else ()
    return Fit(
        rows=group.rows if group.effective_rows is None else max(1, round(group.effective_rows)),
        levels=levels,
        distance=max(abs(observed - expected) for expected, observed in (*levels, *curve)),
        columns=tuple(
            ColumnFit(
                column=each.column,
                distance=each.ks or 0.0,
                mean=_mean_rank(each.mean, each.standard_deviation) if normal else None,
                spread=each.standard_deviation if normal else None,
            )
            for each in group.dimensions
        ),
        reference_rows=None if normal else result.reference_draws,
    )


def _mean_rank(mean: float | None, deviation: float | None) -> float | None:
    """The mean probability of smaller values of a normal z with these moments."""
    return None if mean is None else NormalDist().cdf(mean / math.sqrt(1 + (deviation or 0.0) ** 2))
