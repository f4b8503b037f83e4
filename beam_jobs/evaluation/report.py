"""The page of an evaluation, of the parts that all pages of the toolkit have (`maf_serving/page.py`)."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING

from beam_jobs.evaluation.base_space import BASE_DRAWS, NORMAL
from beam_jobs.evaluation.verdict import REGION, fit_of, judge
from maf_serving.calibration import column_verdict
from maf_serving.page import (
    Element,
    after,
    card,
    density_of,
    element,
    figure,
    grid,
    header,
    key,
    listed,
    make_page,
    note,
    section,
    short,
    table,
    tile,
)
from maf_serving.page_numbers import UNKNOWN, fixed, level, nats, number, percent, plural, with_error
from maf_serving.page_plots import (
    WIDTH,
    Axis,
    bars,
    bottom_axis,
    calibration_tiles,
    coverage_figures,
    distance_note,
    line,
    nll_tile,
    polyline,
    svg,
    text,
    widen,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_jobs.evaluation.results import EvaluateSummary, EvaluationResult, GroupResult, Histogram
    from export.contract import TrainingSummary
    from maf_serving.calibration import Finding

_WEIGHTS = "as many of equal weight tell as much as all evaluated"
MAX_CHARTS = 12
MAX_SCORED = 4  # event columns in the table of groups
ROW_HEIGHT = 24.0
MAX_LETTERS = 18
GROUP_ROOM = 124.0  # for their names beside a plot


def make_report(summary: EvaluateSummary, result: EvaluationResult, training: TrainingSummary | None = None) -> str:
    """The report as HTML, which loads nothing and runs nothing.

    Args:
      summary: of the job.
      result: what it has measured.
      training: how the model was trained, from its contract.
    """
    sections = []
    if result.overall.rows:
        sections += [_likelihood_section(result), _calibration_section(result), _forecast_section(summary, result)]
        sections.append(_group_section(summary, result))
    findings = judge(summary, result, training)
    sections += [_rejected_section(summary), _closing_section(summary, result, findings)]
    return make_page(
        f"Evaluation of {summary.model}",
        _heading(summary, result, findings),
        sections,
        f"Written by maf-serving evaluate for {summary.model}.",
    )


def _heading(summary: EvaluateSummary, result: EvaluationResult, findings: Sequence[Finding]) -> Element:
    overall = result.overall
    origin = (
        f"Version {summary.model_version} of the model, {summary.model}, on {plural(overall.rows, 'row')} of "
        f"{listed(summary.input_files, 3)}."
    )
    rows_with_nll = overall.rows - overall.rows_with_zero_density
    tiles = [nll_tile("mean NLL", overall.mean_nll, overall.nll_standard_error, rows_with_nll)]
    tiles.append(_rows_tile(summary))
    tiles += calibration_tiles(fit_of(overall, result), REGION) if overall.rows else []
    return header(
        "Evaluation report",
        density_of(summary.event_columns, summary.raw_condition_columns),
        origin,
        findings=findings,
        tiles=tiles,
    )


def _rows_tile(summary: EvaluateSummary) -> Element:
    zero = summary.overall.rows_with_zero_density
    without = f"; {zero:,} of density zero, not in the NLL" if zero else ""
    return tile(f"{summary.rows_scored:,}", "rows evaluated", f"{summary.rows_rejected:,} rejected{without}")


def _likelihood_section(result: EvaluationResult) -> Element:
    overall = result.overall
    low, high = overall.log_prob_range
    levels = {level(float(name)): value for name, value in overall.log_prob_quantiles.items()}
    rows = [(name, nats(value)) for name, value in {"smallest": low, **levels, "largest": high}.items()]
    histogram = result.log_prob_histogram
    chart = None
    if histogram.edges:
        shown = f"Of {plural(overall.rows - overall.rows_with_zero_density, 'row')}"
        chart = figure(
            "Histogram of log_prob",
            f"{shown}, without the lowest and the highest {level(0.001)}.",
            histogram_chart(histogram, label="Histogram of log_prob", axis="log_prob, nats", height=330),
        )
    return section(
        "How likely the rows are",
        "log_prob is the logarithm of the probability density that the model puts where a row turned out to be, in "
        "nats and raw units of the event columns; its mean with the sign turned is the NLL.",
        grid(chart, figure("Quantiles of log_prob", table("Quantiles of log_prob", ("of the rows", "nats"), rows))),
    )


def _calibration_section(result: EvaluationResult) -> Element:
    fit = fit_of(result.overall, result)
    overall = result.overall
    dimensions = [
        figure(
            each.column,
            f"Base space: {column_verdict(judged, fit)}. KS {fixed(each.ks, 3)}, mean {fixed(each.mean, 3)}, "
            f"standard deviation {fixed(each.standard_deviation, 3)}.",
            histogram_chart(histogram, label=f"Histogram of {each.column} in base space", axis="z"),
        )
        for each, judged, histogram in zip(overall.dimensions, fit.columns, result.z_histograms, strict=True)
    ]
    more = len(dimensions) - MAX_CHARTS
    rows = [
        (
            each.column,
            *(fixed(value, 3) for value in (each.ks, each.mean, each.standard_deviation)),
            column_verdict(judged, fit),
        )
        for each, judged in zip(overall.dimensions, fit.columns, strict=True)
    ]
    columns = table("Event columns in base space", ("column", "KS", "mean of z", "deviation of z", ""), rows)
    return section(
        "Calibration",
        "The rows are brought to base space. If the model is right, they lie there as its base does, in each event "
        f"column and in regions around the centre. {_reference_text(result)} A perfect model stays within the shaded "
        "band in 95 of 100 cases.",
        key(("data", "the rows"), ("model", "what they should be")),
        grid(*coverage_figures(fit, result.coverage_curve, REGION)),
        after(grid(*dimensions[:MAX_CHARTS])),
        f"{plural(more, 'more event column')} in the table." if more > 0 else None,
        card(columns, note(distance_note(fit))),
    )


def _reference_text(result: EvaluationResult) -> str:
    looked = f"{result.reference_draws:,} draws of the model, brought back to base space"
    if result.reference == NORMAL:
        return f"The base is the standard normal distribution, with which {looked}, agree."
    if result.reference == BASE_DRAWS:
        return f"They are compared with {looked}: the base is not the standard normal distribution."
    return "The base is assumed to be the standard normal distribution: the model cannot be drawn from."


def _forecast_section(summary: EvaluateSummary, result: EvaluationResult) -> Element | None:
    """CRPS and intervals of each event column."""
    title = "Forecasts of each event column"
    overall = result.overall
    if not overall.columns:
        failed = f"none of {plural(overall.crps_rows_failed, 'sampled row')} got a finite forecast"
        return section(title, f"There is no CRPS here: {summary.crps_missing or failed}.")
    levels = [each.level for each in overall.columns[0].intervals]
    heads = ["column", "CRPS", "without conditions"]
    heads += [head for each in levels for head in (f"in the {level(each)} interval", "its mean width")]
    rows = [
        (
            each.column,
            with_error(each.mean_crps, each.crps_standard_error),
            number(each.crps_without_conditions),
            *(
                cell
                for interval in each.intervals
                for cell in (_share(interval.coverage, interval.standard_error), number(interval.mean_width))
            ),
        )
        for each in overall.columns
    ]
    sampled = "all rows" if overall.crps_rows == overall.rows else f"a random sample of {overall.rows:,}"
    if overall.crps_effective_rows is not None:
        sampled += f", by weight: {overall.crps_effective_rows:,.0f} of equal weight tell as much"
    failed = (
        f" {plural(overall.crps_rows_failed, 'more row')} got no finite forecast." if overall.crps_rows_failed else ""
    )
    rounded = listed(summary.rounded_columns)
    return section(
        title,
        "CRPS is the mean distance of a forecast from the value that came, in the units of the column: less is better, "
        "and of a forecast that is a single number it is the absolute error. Beside it, what the values score for the "
        "distribution of all of them, which knows no conditions. A central interval should hold its share of the "
        "values; of two models whose intervals do, the one with the narrower ones says more.",
        card(
            table("Forecasts of each event column", heads, rows),
            note(
                f"On {plural(overall.crps_rows, 'row')}, {sampled}; by {summary.crps_method}.{failed}"
                + (f" Intervals of {rounded} end at rounded values, and hold more than their level." if rounded else "")
            ),
        ),
    )


def _share(share: float, error: float | None) -> str:
    return percent(share) if not error else f"{percent(share)} ± {fixed(100 * error, 1)}"


def _closing_section(summary: EvaluateSummary, result: EvaluationResult, findings: Sequence[Finding]) -> Element:
    """The verdict once more, and how many rows each figure rests on."""
    overall = result.overall
    zero = overall.rows_with_zero_density
    rows = [("rows read", f"{summary.rows_read:,}", f"{summary.rows_rejected:,} of them rejected")]
    if overall.rows:
        rows += [
            ("mean NLL", f"{overall.rows - zero:,}", f"{zero:,} of density zero left out" if zero else "all evaluated"),
            ("calibration and KS", f"{overall.rows:,}", f"all evaluated, against the {result.reference}"),
            ("the reference", f"{result.reference_draws:,}", "draws of the model, brought back to base space"),
        ]
        if overall.effective_rows is not None:
            rows.append(("weights", f"{overall.effective_rows:,.0f}", _WEIGHTS))
        crps = summary.crps_missing or f"by {summary.crps_method}"
        if overall.crps_effective_rows is not None:
            crps += f"; {overall.crps_effective_rows:,.0f} of equal weight tell as much"
        rows.append(("CRPS and intervals", f"{overall.crps_rows:,}", crps))
    if result.groups:
        counts = [group.rows for group in result.groups]
        named = f"{plural(len(counts), 'value')} of {summary.options['group_column']}"
        rows.append(("groups", f"{min(counts):,} to {max(counts):,}", named))
    return section(
        "Verdict",
        " ".join(f"{each.claim} {each.ground}" for each in findings[:2]),
        card(table("What each figure rests on", ("figure", "rows", ""), rows)),
    )


def _group_section(summary: EvaluateSummary, result: EvaluationResult) -> Element | None:
    if not result.groups:
        return None
    column = str(summary.options["group_column"])
    rows = [
        (
            group.group or "",
            f"{group.rows:,}",
            f"{group.rows_rejected:,}",
            with_error(group.mean_nll, group.nll_standard_error),
            fixed(max((each.ks for each in group.dimensions if each.ks is not None), default=None), 3),
            *(percent(each.observed) for each in group.coverage),
            *_group_scores(group, result),
        )
        for group in result.groups
    ]
    covered = [f"in {level(round(each.expected, 4))}" for each in result.overall.coverage]
    scored = [f"CRPS of {each.column}" for each in result.overall.columns[:MAX_SCORED]]
    heads = (column, "rows", "rejected", "mean NLL, nats", "largest KS", *covered)
    heads += (*scored, "on rows") if scored else ()
    known = [group for group in result.groups if group.rows and group.mean_nll is not None]
    charts = [
        figure("Mean NLL", "With two standard errors to either side.", _nll_chart(known)),
        figure("Largest KS of a column", "The stroke is the noise of so many rows.", _distance_chart(known, result)),
    ]
    return section(
        f"By {column}",
        "The NLL of groups differs where their spread does, which is no fault; each group's shares should be those of "
        "its region all the same, but for noise.",
        grid(*charts) if known else None,
        card(table(f"Groups by {column}", heads, rows)),
    )


def _group_scores(group: GroupResult, result: EvaluationResult) -> list[str]:
    """CRPS of the first columns, and on how many rows; none where no row of any group has it."""
    shown = len(result.overall.columns[:MAX_SCORED])
    if not shown:
        return []
    scores = [with_error(each.mean_crps, each.crps_standard_error) for each in group.columns[:MAX_SCORED]]
    return [*(scores or [UNKNOWN] * shown), f"{group.crps_rows:,}"]


def _rejected_section(summary: EvaluateSummary) -> Element | None:
    parts = []
    if summary.rejected_by_kind:
        rows = [(kind, f"{count:,}") for kind, count in summary.rejected_by_kind.items()]
        parts.append(card(table("Rejected rows by reason", ("reason", "rows"), rows)))
    if summary.groups_rejected_whole:
        rows = [(group, f"{count:,}") for group, count in summary.groups_rejected_whole.items()]
        parts.append(card(table("Groups of which every row was rejected", ("group wholly rejected", "rows"), rows)))
    if summary.unreadable_files:
        lost = [
            (
                each.file,
                f"{each.first_row:,}",
                "unknown" if each.rows_lost is None else f"{each.rows_lost:,}",
                each.reason,
            )
            for each in summary.unreadable_files
        ]
        parts.append(card(table("Unreadable files", ("unreadable file", "from row", "rows lost", "reason"), lost)))
    if not parts:
        return None
    return section("Rejected rows", "They are in the rejected files beside this page, and in no figure above.", *parts)


def histogram_chart(histogram: Histogram, *, label: str, axis: str, height: float = 220) -> Element:
    """The rows as bars, and the reference as a line if there is one."""
    edges, shares, reference = histogram.edges, histogram.shares, histogram.reference
    x = Axis(low=edges[0], high=edges[-1], start=12, end=WIDTH - 12)
    y = Axis(low=0, high=1.08 * max([*shares, *reference]) or 1.0, start=height - 42, end=6)
    centres = [(left + right) / 2 for left, right in itertools.pairwise(edges)]
    curve = [(x.place(c), y.place(share)) for c, share in zip(centres, reference, strict=False)]
    return svg(
        f"{label}: the rows as bars" + (", the reference as a line" if curve else ""),
        WIDTH,
        height,
        *bars(edges, shares, x, y),
        *([polyline(curve, "curve model")] if curve else []),
        *bottom_axis(x, y.start, axis),
    )


def _nll_chart(groups: list[GroupResult]) -> Element:
    """Mean NLL of each group, with two standard errors to either side."""
    means = [(group.group or "", group.mean_nll or 0.0, group.nll_standard_error or 0.0) for group in groups]
    ends = [mean + side * 2 * error for _, mean, error in means for side in (-1, 1)]
    low, high = widen(min(ends), max(ends))
    marks = []
    for name, mean, error in means:
        told = f"{name}: {with_error(mean, error)} nats"
        marks.append((name, mean, told, (mean - 2 * error, mean + 2 * error)))
    label = f"Mean NLL of {plural(len(means), 'group')}, with two standard errors to either side"
    x = Axis(low=low, high=high, start=GROUP_ROOM, end=WIDTH - 14)
    return group_chart(marks, x, "bar-model", label=label, axis="mean NLL, nats per row")


def _distance_chart(groups: list[GroupResult], result: EvaluationResult) -> Element:
    """The largest KS of each group, and up to where it is noise."""
    marks, ends = [], [0.0]
    for group in groups:
        fit = dataclasses.replace(fit_of(group, result), looked_at=len(groups))
        worst = fit.worst_column
        told = f"{group.group}: {fixed(worst.distance, 3)} of {worst.column}, noise {fixed(fit.noise, 3)}"
        marks.append((group.group or "", worst.distance, told, (0.0, fit.noise)))
        ends += [worst.distance, fit.noise]
    label = f"Largest KS of {plural(len(groups), 'group')}, and up to where it is noise"
    x = Axis(low=0.0, high=1.05 * max(ends), start=GROUP_ROOM, end=WIDTH - 14)
    return group_chart(marks, x, "bar-noise", label=label, axis="KS")


def group_chart(
    marks: Sequence[tuple[str, float, str, tuple[float, float]]], x: Axis, stroke: str, *, label: str, axis: str
) -> Element:
    """A line for each group: its name, where its dot is, what whoever points at it is told, and a stroke."""
    rows: list[Element] = []
    for index, (name, value, told, (start, end)) in enumerate(marks):
        y = ROW_HEIGHT * (index + 0.6)
        rows += [
            line(x.start, y, x.end, y, "rule"),
            text(short(name, MAX_LETTERS), x.start - 8, y + 4, anchor="end", class_="name"),
            line(x.place(start), y, x.place(end), y, stroke),
            element("circle", element("title", told), cx=x.place(value), cy=y, r=4.5, class_="model-dot"),
        ]
    bottom = ROW_HEIGHT * len(marks) + 6
    return svg(label, WIDTH, bottom + 42, *rows, *bottom_axis(x, bottom, axis))
