"""What a comparison says of two models: on the terminal, in words, and as a page of the parts that all pages have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beam_jobs.evaluation.report import GROUP_ROOM, group_chart, histogram_chart
from beam_jobs.evaluation.verdict import REGION, fit_of
from maf_serving.calibration import Finding, joint_verdict
from maf_serving.page import card, density_of, figure, grid, header, listed, make_page, note, section, table, tile
from maf_serving.page_numbers import SPACE, UNKNOWN, difference, fixed, level, nats, number, percent, plural
from maf_serving.page_plots import WIDTH, Axis, nll_tile, widen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from beam_jobs.evaluation.comparison import ComparisonResult, CrpsDifference, Difference, Latency, LostRows
    from beam_jobs.jobs.compare import CompareSummary
    from maf_serving.calibration import Kind
    from maf_serving.page import Element

_SLOWER = 1.25  # times as long: worth a word
_FEW_ROWS = 100
_COLUMNS_TOLD = 4  # on the terminal
_KINDS: Mapping[str, Kind] = {"better": "good", "no different": "note", "worse": "bad"}


def findings_of_pair(summary: CompareSummary, result: ComparisonResult) -> list[Finding]:
    """What the figures say, in words: likelihood, lost rows, CRPS, calibration, groups, latency."""
    overall = result.overall
    findings = [
        _likelihood(overall),
        _lost(overall, summary.rows_read),
        _forecasts(overall.crps, overall.crps_rows),
        _calibration(result) if result.model.overall.rows else None,
        _groups(result.groups, str(summary.options["group_column"])) if result.groups else None,
        *_slower(result.latency),
    ]
    if not summary.same_noise:
        findings.append(
            Finding(
                "note",
                "Not quite the same densities:",
                "the two were trained with other noise on columns of whole steps, which the NLL depends on.",
            )
        )
    return [finding for finding in findings if finding is not None]


def _likelihood(overall: Difference) -> Finding:
    if overall.nll_difference is None or overall.noise is None:
        return Finding("bad", "Nothing to compare:", f"{plural(overall.rows, 'row')} both models give a density.")
    few = f", which is few: only gross differences show on so few as {overall.rows}" if overall.rows < _FEW_ROWS else ""
    ground = (
        f"mean NLL {nats(overall.nll)} against {nats(overall.baseline_nll)} of the baseline, {gap_of(overall)} nats a "
        f"row on {plural(overall.rows, 'row')}{few}; up to {nats(overall.noise)} is noise."
    )
    if abs(overall.nll_difference) <= overall.noise:
        return Finding("note", "No different from the baseline:", ground)
    way = "worse" if overall.nll_difference > 0 else "better"
    return Finding(_KINDS[way], f"{way.capitalize()} than the baseline:", ground)


def _lost(overall: Difference, rows_read: int) -> Finding | None:
    refused, zero = overall.refused, overall.zero_density
    mine, theirs = refused.model + zero.model, refused.baseline + zero.baseline
    if not mine and not theirs:
        return None
    ground = (
        f"of {rows_read:,}, {refused.model:,} refused and {zero.model:,} of density zero that the baseline answers; "
        f"the other way round {theirs:,}."
    )
    kind: Kind = "bad" if overall.loses_rows else "note"
    return Finding(kind, f"{plural(mine, 'row')} lost{' more than by chance' if overall.loses_rows else ''}:", ground)


def _forecasts(columns: Sequence[CrpsDifference], rows: int) -> Finding | None:
    if not columns:
        return None
    ways = [each.verdict for each in columns]
    counts = ", ".join(f"{ways.count(way)} {way}" for way in ("better", "no different", "worse") if way in ways)
    kind: Kind = "bad" if "worse" in ways else "good" if "better" in ways else "note"
    return Finding(kind, "CRPS of the event columns:", f"{counts}, on {plural(rows, 'row')}.")


def _calibration(result: ComparisonResult) -> Finding:
    model, baseline = (fit_of(each.overall, each) for each in (result.model, result.baseline))
    order = ("good", "fair", "bad")
    kind: Kind = "note" if model.kind == baseline.kind else "good"
    if order.index(model.kind) > order.index(baseline.kind):
        kind = "bad"
    return Finding(
        kind,
        "Calibration:",
        f"{joint_verdict(model)}, {model.columns_within} of {plural(len(model.columns), 'column')} within noise; the "
        f"baseline {joint_verdict(baseline)}, {baseline.columns_within} of {len(baseline.columns)}.",
    )


def _groups(groups: Sequence[Difference], column: str) -> Finding:
    ways = [group.verdict for group in groups]
    counts = ", ".join(f"{ways.count(way)} {way}" for way in ("better", "no different", "worse") if way in ways)
    if "worse" not in ways:
        return Finding("good" if "better" in ways else "note", f"By {column}:", f"{counts}.")
    worst = max((group for group in groups if group.verdict == "worse"), key=lambda each: each.nll_difference or 0.0)
    return Finding(
        "bad",
        f"By {column}:",
        f"{counts}; worst is {worst.group}, {gap_of(worst)} nats on {plural(worst.rows, 'row')}.",
    )


def _slower(latency: Sequence[Latency]) -> list[Finding]:
    return [
        Finding("note", "Slower:", f"a {each.asked} takes {number(each.ratio, 3)} times as long.")
        for each in latency
        if each.ratio is not None and each.ratio > _SLOWER
    ]


def gap_of(of: Difference) -> str:
    """The difference of the NLL with its standard error."""
    return UNKNOWN if of.nll_difference is None else difference(of.nll_difference, of.standard_error)


def make_comparison_report(summary: CompareSummary, result: ComparisonResult, findings: Sequence[Finding]) -> str:
    """The report as HTML, which loads nothing and runs nothing."""
    overall = result.overall
    origin = (
        f"Version {summary.model_version}, {summary.model}, against version {summary.baseline_version}, "
        f"{summary.baseline}, on {plural(overall.rows, 'row')} of {listed(summary.input_files, 3)}."
    )
    tiles = [
        tile(
            gap_of(overall),
            "difference of the mean NLL",
            f"nats per row; below zero the model is better, and up to {nats(overall.noise)} is noise",
            kind=_KINDS[overall.verdict],
        ),
        nll_tile("mean NLL", overall.nll, result.model.overall.nll_standard_error, overall.rows),
        nll_tile("of the baseline", overall.baseline_nll, result.baseline.overall.nll_standard_error, overall.rows),
        tile(f"{overall.rows:,}", "rows compared", f"{summary.rows_rejected:,} rejected by one or both"),
    ]
    sections: list[Element | None] = [_difference_section(summary, result)] if overall.rows else []
    if result.model.overall.rows:
        sections += [_forecast_section(overall), _calibration_section(result), _latency_section(result.latency)]
    if result.groups:
        sections.append(_group_section(result.groups, str(summary.options["group_column"])))
    return make_page(
        f"Comparison of {summary.model} with {summary.baseline}",
        header(
            "Comparison",
            density_of(summary.event_columns, summary.raw_condition_columns),
            origin,
            findings=findings,
            tiles=tiles,
        ),
        [*sections, _lost_section(summary)],
        f"Written by maf-serving compare for {summary.model} and {summary.baseline}.",
    )


def _difference_section(summary: CompareSummary, result: ComparisonResult) -> Element:
    rows = [(level(float(name)), nats(value)) for name, value in summary.quantiles.items()]
    chart = None
    if result.histogram.edges:
        chart = figure(
            "Difference of the NLL, row by row",
            f"Without the lowest and the highest {level(0.01)}; left of zero the model finds the row likelier.",
            histogram_chart(
                result.histogram, label="Histogram of the difference", axis="nats, below zero is better", height=330
            ),
        )
    return section(
        "Which model finds the rows likelier",
        f"The model finds {percent(result.overall.share_ahead)} of the rows likelier than the baseline. Rows differ "
        "far more from each other than the two models of them do: so the difference is taken row by row, and its noise "
        "is that of the differences.",
        grid(chart, figure("Quantiles of the difference", table("Quantiles", ("of the rows", "nats"), rows))),
    )


def _forecast_section(overall: Difference) -> Element | None:
    if not overall.crps:
        return None
    rows = [
        (
            each.column,
            number(each.model),
            number(each.baseline),
            difference(each.difference, each.standard_error),
            each.verdict,
        )
        for each in overall.crps
    ]
    return section(
        "Forecasts of each event column",
        "CRPS is the mean distance of a forecast from the value that came, in the units of the column: less is better.",
        card(
            table("CRPS", ("column", "CRPS", "baseline", "difference", ""), rows),
            note(f"On the same {plural(overall.crps_rows, 'row')}, a random sample, with the same seeds."),
        ),
    )


def _calibration_section(result: ComparisonResult) -> Element:
    fits = [fit_of(each.overall, each) for each in (result.model, result.baseline)]
    rows = [
        (
            level(round(expected, 4)),
            percent(observed),
            percent(other),
            f"±{SPACE}{percent(fits[0].level_noise(expected))}",
        )
        for (expected, observed), (_, other) in zip(fits[0].levels, fits[1].levels, strict=True)
    ]
    theirs = {each.column: each.distance for each in fits[1].columns}
    columns = [
        (each.column, fixed(each.distance, 3), fixed(theirs[each.column], 3), fixed(fits[0].noise, 3))
        for each in fits[0].columns
    ]
    return section(
        "Calibration",
        f"The share of the rows in the {REGION} of each model, and the largest difference of cumulative shares of each "
        "event column in its base space (KS).",
        grid(
            figure("Regions", table("Regions", ("should hold", "holds", "baseline", "noise"), rows)),
            figure("Columns", table("Columns", ("column", "KS", "baseline", "noise"), columns)),
        ),
    )


def _latency_section(latency: Sequence[Latency]) -> Element:
    rows = [
        (
            f"a {each.asked}",
            *(f"{number(1000 * s, 3)}{SPACE}ms" if s else UNKNOWN for s in (each.model, each.baseline)),
            number(each.ratio, 3),
        )
        for each in latency
    ]
    return section(
        "Time",
        card(
            table("Time of a call", ("call", "model", "baseline", "ratio"), rows),
            note("Medians of calls in the worker of this job, the two in turns; of the same rows."),
        ),
    )


def _group_section(groups: Sequence[Difference], column: str) -> Element:
    rows = [
        (
            group.group or "",
            f"{group.rows:,}",
            gap_of(group),
            group.verdict,
            fixed(group.ks, 3),
            fixed(group.baseline_ks, 3),
            *(difference(each.difference, each.standard_error) for each in group.crps[:_COLUMNS_TOLD]),
        )
        for group in groups
    ]
    scored = max(groups, key=lambda each: len(each.crps)).crps[:_COLUMNS_TOLD]
    heads = (column, "rows", "difference, nats", "", "KS", "baseline", *(f"CRPS of {each.column}" for each in scored))
    marks = [
        (
            group.group or "",
            group.nll_difference,
            f"{group.group}: {gap_of(group)} nats",
            (group.nll_difference - (group.noise or 0.0), group.nll_difference + (group.noise or 0.0)),
        )
        for group in groups
        if group.nll_difference is not None
    ]
    chart = None
    if marks:
        ends = [0.0, *(end for mark in marks for end in mark[3])]
        low, high = widen(min(ends), max(ends))
        x = Axis(low=low, high=high, start=GROUP_ROOM, end=WIDTH - 14)
        chart = group_chart(marks, x, "bar-model", label=f"Difference by {column}", axis="difference, nats per row")
    return section(
        f"By {column}",
        "With so many groups looked at together, noise is wider: of a model that is no different, all of them are "
        "within it in most cases.",
        grid(figure("Difference of the NLL", "With its noise to either side.", chart)) if chart is not None else None,
        card(table(f"Groups by {column}", heads, [(*row, *[UNKNOWN] * (len(heads) - len(row))) for row in rows])),
    )


def _lost_section(summary: CompareSummary) -> Element | None:
    def row(name: str, lost: LostRows) -> tuple[str, ...]:
        return name, f"{lost.model:,}", f"{lost.baseline:,}", f"{lost.both:,}"

    overall = summary.overall
    rows = [row("refused", overall.refused), row("density zero", overall.zero_density)]
    return section(
        "Rows that are in no mean",
        "A row that one model alone does not answer, or to which it gives a density of zero, would make it look good: "
        "such rows are counted by whose they are. The reasons are in the rejected files beside this page.",
        card(table("Lost rows", ("rows", "by the model alone", "by the baseline alone", "by both"), rows)),
    )
