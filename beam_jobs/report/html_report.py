"""The page of the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beam_jobs.evaluation.base_reference import BASE_DRAWS, NORMAL
from beam_jobs.evaluation.base_space import RESOLUTION
from beam_jobs.report.charts import coverage_chart, histogram_chart, nll_chart
from beam_jobs.report.markup import Element, element, to_html
from beam_jobs.report.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from beam_jobs.evaluate_summary import EvaluateSummary
    from beam_jobs.evaluation.results import EvaluationResult

_NONE = "-"


def make_report(summary: EvaluateSummary, result: EvaluationResult) -> str:
    """The report as HTML, which loads nothing."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"Evaluation of {summary.model}"),
        element("style", STYLE),
    )
    sections = [_heading(summary), _figures(summary)]
    if result.overall.rows:
        sections += [*_log_prob(result), *_calibration(result), *_groups(summary, result)]
    sections += _rejected(summary)
    return to_html(element("html", head, element("body", *sections), lang="en"))


def _heading(summary: EvaluateSummary) -> Element:
    given = summary.raw_condition_columns
    condition = f" given {', '.join(given)}" if given else ""
    files = summary.input_files
    more = f" and {len(files) - 3:,} more" if len(files) > 3 else ""
    return element(
        "header",
        element("h1", f"Evaluation of {summary.model}"),
        element("p", f"Version {summary.model_version}: {', '.join(summary.event_columns)}{condition}.", class_="soft"),
        element("p", f"Rows of {', '.join(files[:3])}{more}.", class_="soft"),
    )


def _figures(summary: EvaluateSummary) -> Element:
    overall = summary.overall
    error = f" ± {overall.nll_standard_error:.4f}" if overall.nll_standard_error is not None else ""
    nll = _NONE if overall.mean_nll is None else f"{overall.mean_nll:.4f}{error}"
    figures = {
        "mean NLL ± standard error, nats": nll,
        "rows evaluated": f"{summary.rows_scored:,}",
        "rows rejected": f"{summary.rows_rejected:,}",
        "rows of density zero, not in the NLL": f"{overall.rows_with_zero_density:,}",
    }
    return element(
        "div", *(element("div", element("b", value), name, class_="figure") for name, value in figures.items()),
        class_="figures",
    )  # fmt: skip


def _log_prob(result: EvaluationResult) -> list[Element]:
    overall = result.overall
    low, high = overall.log_prob_range
    quantiles = {"smallest": low, **{f"{100 * float(k):g} %": v for k, v in overall.log_prob_quantiles.items()}}
    rows = [(name, _number(value)) for name, value in {**quantiles, "largest": high}.items()]
    chart = None
    if result.log_prob_histogram.edges:
        chart = histogram_chart(result.log_prob_histogram, title="Histogram of log_prob", label="log_prob, nats")
    figure = _figure(chart, "Without the lowest and the highest 0.1 % of the rows.")
    return [
        element("h2", "log_prob"),
        element("div", figure, _table(("quantile", "nats"), rows), class_="grid"),
    ]


def _calibration(result: EvaluationResult) -> list[Element]:
    overall = result.overall
    coverage = [
        (f"{100 * each.expected:.2f} %", _percent(each.observed), _percent(each.standard_error))
        for each in overall.coverage
    ]
    dimensions = [
        element(
            "figure",
            histogram_chart(histogram, title=f"z of {dimension.column}", label="z"),
            element(
                "figcaption",
                element("b", dimension.column),
                f": KS {_number(dimension.ks)}, mean {_number(dimension.mean)}, "
                f"standard deviation {_number(dimension.standard_deviation)}",
            ),
        )
        for dimension, histogram in zip(overall.dimensions, result.z_histograms, strict=True)
    ]
    chance = f"{overall.ks_by_chance:.4f}" if overall.ks_by_chance is not None else _NONE
    return [
        element("h2", "Calibration in base space"),
        element("p", _reference_text(result)),
        element(
            "div",
            _figure(coverage_chart(result.coverage_curve), "Share of rows in central regions of base space."),
            _table(("expected", "observed", "± standard error"), coverage),
            class_="grid",
        ),
        element(
            "p",
            f"Each event column's dimension of base space: rows as bars, the reference as a line. KS is the largest "
            f"difference of the cumulative shares, to {RESOLUTION:.3g}; with so many rows, a perfect model stays below "
            f"{chance} in 95 of 100 cases.",
        ),
        element("div", *dimensions, class_="grid"),
    ]


def _reference_text(result: EvaluationResult) -> str:
    looked = f"{result.reference_draws:,} draws of the model, brought back to base space"
    if result.reference == NORMAL:
        return f"Compared with the standard normal distribution, with which {looked}, agree."
    if result.reference == BASE_DRAWS:
        return f"Compared with {looked}: the base is not the standard normal distribution."
    return "Compared with the standard normal distribution, assumed: the model cannot be drawn from."


def _groups(summary: EvaluateSummary, result: EvaluationResult) -> list[Element]:
    if not result.groups:
        return []
    rows = [
        (
            group.group or "",
            f"{group.rows:,}",
            f"{group.rows_rejected:,}",
            _number(group.mean_nll),
            _number(group.nll_standard_error),
            _number(max((each.ks for each in group.dimensions if each.ks is not None), default=None)),
            *(_percent(each.observed) for each in group.coverage),
        )
        for group in result.groups
    ]
    covered = [f"in {100 * each.expected:.0f} %" for each in result.overall.coverage]
    header = (str(summary.options["group_column"]), "rows", "rejected", "mean NLL", "± s.e.", "largest KS", *covered)
    heading = element("h2", f"By {summary.options['group_column']}")
    if all(group.mean_nll is None for group in result.groups):
        return [heading, _table(header, rows)]
    figure = element("figure", nll_chart(result.groups), element("figcaption", "Mean NLL ± two standard errors."))
    return [heading, figure, _table(header, rows)]


def _rejected(summary: EvaluateSummary) -> list[Element]:
    parts: list[Element] = []
    if summary.rejected_by_kind:
        rows = [(kind, f"{count:,}") for kind, count in summary.rejected_by_kind.items()]
        parts += [element("h2", "Rejected rows"), _table(("reason", "rows"), rows)]
    if summary.groups_rejected_whole:
        rows = [(group, f"{count:,}") for group, count in summary.groups_rejected_whole.items()]
        parts += [element("h2", "Groups of which every row was rejected"), _table(("group", "rows"), rows)]
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
        header = ("file", "from row", "rows lost", "reason")
        parts += [element("h2", "Unreadable files"), _table(header, lost)]
    return parts


def _figure(chart: Element | None, caption: str) -> Element | None:
    return None if chart is None else element("figure", chart, element("figcaption", caption))


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Element:
    head = element("thead", element("tr", *(element("th", name) for name in header)))
    body = element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows))
    return element("div", element("table", head, body), class_="scroll")


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return _NONE if value is None else f"{100 * value:.2f} %"
