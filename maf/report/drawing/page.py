"""The page of a report, its contract and the commands to go on with."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from maf.report.drawing.pictures import picture_section
from maf.report.drawing.quality import calibration_section, quality_section
from maf.report.drawing.wording import categories_of, heading
from maf_serving import page
from maf_serving.columns import OTHER, ConditionColumn
from maf_serving.flags import format_names
from maf_serving.page import Element, card, element, facts, listed, note, section, table
from maf_serving.page_numbers import number, percent

if TYPE_CHECKING:
    from maf.report.report import Report
    from maf_serving.training_profile import ColumnProfile

REST_PORT = 8501
MOST_FREQUENT = 3  # categories in the table of columns


def draw_page(report: Report) -> str:
    """The report as HTML, which loads nothing and runs nothing."""
    sections = (quality_section, picture_section, calibration_section, model_section, serving_section)
    return page.make_page(
        f"Report of {report.options.run.name}",
        heading(report),
        [draw(report) for draw in sections],
        f"Written by maf-serving report for {report.options.run}, seed {report.options.seed}.",
    )


def model_section(report: Report) -> Element:
    """Columns and sizes."""
    return section(
        "Contract",
        "What goes in and comes out, in this order and in raw units: the model standardises by itself. Moments and "
        "ranges are of the training rows.",
        card(_columns(report)),
        *_categories(report),
        _profile(report),
        card(_facts(report)),
    )


def _columns(report: Report) -> Element:
    moments, event = report.rows.training, report.data.event
    rows = [_number(report, name, f"x[{i}]", i) for i, name in enumerate(event)]
    place = 0
    for column in report.data.columns:
        size, first = len(column.encoded_names), len(event) + place
        where = f"conditional_input[{place}]" if size == 1 else f"conditional_input[{place}:{place + size}]"
        null_share = float(moments.mean[first + size - 1]) if column.nullable else 0.0
        if column.kind == "number":
            rows.append(_number(report, _name(column, null_share), where, first, null_share))
        else:
            rows.append((_name(column, null_share), where, "", "", "", ""))
        place += size
    return table("Columns", ("column", "is", "mean", "deviation", "smallest", "largest"), rows)


def _number(report: Report, name: str, where: str, index: int, null_share: float = 0.0) -> tuple[str, ...]:
    """A row of the table; nulls are at the mean, so that they take from the deviation alone."""
    moments = report.rows.training
    deviation = moments.deviation[index] / (1 - null_share) ** 0.5
    numbers = (moments.mean[index], deviation, moments.minimum[index], moments.maximum[index])
    return name, where, *map(number, numbers)


def _name(column: ConditionColumn, null_share: float) -> str:
    return f"{column.measured_name} (null in {percent(null_share)})" if column.nullable else column.measured_name


def _categories(report: Report) -> list[Element]:
    """The values of each category and how frequent they are."""
    moments, first = report.rows.training, len(report.data.event)
    values = {}
    for column in report.data.columns:
        if column.is_category:
            shares = moments.mean[first : first + len(column.vocabulary) + 1]
            values[f"{column.name}: {len(column.vocabulary):,} {column.kind} categories"] = categories_of(
                column, shares
            )
        first += len(column.encoded_names)
    return [card(facts(values))] if values else []


def _profile(report: Report) -> Element:
    """What the model carries with it of the training rows: all that later rows are compared with."""
    title = "What the model remembers of training, to tell rows that it knows nothing of"
    if report.profile is None:
        return card(note(f"{title}: nothing, since the run was trained before there was such a thing; train it again."))
    header = ("column", "kind", "rows", "null", "smallest", "median", "largest", "most frequent")
    columns = (*report.profile.event, *report.profile.condition)
    return card(table(title, header, map(_remembered, columns)))


def _remembered(column: ColumnProfile) -> tuple[str, ...]:
    quantiles = column.quantiles
    numbers = (
        ("", "", "")
        if quantiles is None
        else tuple(map(number, (quantiles.minimum, quantiles.at(0.5), quantiles.maximum)))
    )
    shares = list(zip(column.categories, column.shares, strict=True))[:MOST_FREQUENT]
    frequent = ", ".join(f"{value} {percent(share)}" for value, share in shares)
    return column.name, column.kind, f"{column.rows:,}", f"{column.nulls:,}", *numbers, frequent


def _facts(report: Report) -> Element:
    flow, summary = report.flow, report.summary
    dropped = f", {summary.dropped_rows:,} dropped" if summary.dropped_rows else ""
    spline = f", {flow.num_bins} bins" if flow.transform == "spline" else ""
    condition = f"{_entries(report)}: {listed(report.conditional_columns)}" if flow.condition_size else "none"
    hidden = flow.hidden_units if flow.event_size > 1 else ()  # one column has nothing to depend on
    values = {
        "event size D": f"{len(report.data.event)}: {listed(report.data.event)}",
        "condition size C": condition,
        "dtype": flow.dtype,
        "layers": f"{flow.num_layers} {flow.transform}{spline}",
        "hidden units": f"{_widths(hidden)} for x, {_widths(flow.condition_units)} for the condition",
        "base": flow.base,
        "parameters": f"{report.parameters:,}",
        "rows": f"{summary.training_rows:,} training, {summary.validation_rows:,} validation, "
        f"{summary.test_rows:,} test{dropped}",
        "seed": str(report.seed),
    }
    if flow.heavy_tailed:
        values["on an asinh scale"] = listed(tuple(report.data.event[i] for i in flow.heavy_tailed))
    if flow.logarithmic:
        values["on a log scale"] = listed(tuple(report.data.event[i] for i in flow.logarithmic))
    for bounds, values_are in ((report.data.lower_bound, "at least"), (report.data.upper_bound, "at most")):
        if bounds:
            values[f"values are {values_are}"] = listed(bounds)
    if report.data.weight is not None:
        worth = report.rows.effective_rows or len(report.rows.x)
        values["weights"] = f"{report.data.weight}; {worth:,.0f} test rows of equal weight tell as much as these"
    if report.data.dequantize:
        values["uniform noise on"] = listed(report.data.dequantize)
    return facts(values)


def _entries(report: Report) -> str:
    """How long `conditional_input` is, and of how many raw columns it is made where it is longer."""
    size, columns = report.flow.condition_size, len(report.conditional_columns)
    return str(size) if size == columns else f"{size} entries for {columns} column{'s' if columns > 1 else ''}"


def _widths(units: tuple[int, ...] | None) -> str:
    return " x ".join(str(each) for each in units or ()) or "none"


def serving_section(report: Report) -> Element:
    """Export, serve, ask, score."""
    steps = [
        element("li", element("h3", title), element("pre", element("code", command)), class_="card")
        for title, command in commands(report).items()
    ]
    return section("How to serve it", "A click selects a whole command.", element("ol", *steps, class_="steps"))


def commands(report: Report) -> dict[str, str]:
    """What each command does, and the command."""
    run = report.options.run
    name = run.resolve().name
    base = shlex.quote(f"models/{name}")
    tables = shlex.quote(format_names(report.options.test or report.data.data))
    body = json.dumps({"instances": [_instance(report)]})
    return {
        "Export the next version, checked against the model": f"maf-serving export --run {shlex.quote(str(run))} "
        f"--model {base}",
        "Serve it over gRPC and REST": f"maf-serving serve --model {base} --model_name {shlex.quote(name)}",
        "Ask for the log-density of a row": f"curl http://localhost:{REST_PORT}/v1/models/{name}:predict "
        f"-d {shlex.quote(body)}",
        **_encoding_command(report, name),
        "Score a table of any size": f"maf-serving score --model {base} --input {tables} --output out/scores",
    }


def _instance(report: Report) -> dict[str, list[float]]:
    instance = {"x": _rounded(report.rows.x[0].tolist())}
    if report.rows.c.shape[1]:
        instance["conditional_input"] = _rounded(report.rows.encoded(report.rows.c[:1])[0].tolist())
    return instance


def _encoding_command(report: Report, name: str) -> dict[str, str]:
    """How to ask for the `conditional_input` of raw columns, if they are more than plain numbers."""
    if report.rows.condition is None:
        return {}
    columns, values = report.rows.condition.columns, report.rows.c[0].tolist()
    raw = [value if each.is_time else _rounded([value])[0] for each, value in zip(columns, values, strict=True)]
    numbers = [value + each.offset for each, value in zip(columns, raw, strict=True) if not each.is_category]
    categories = [(column, int(value)) for column, value in zip(columns, values, strict=True) if column.is_category]
    instance: dict[str, list[Any]] = {"numbers": numbers} if numbers else {}
    if categories:
        instance["categories"] = [str((*column.vocabulary, OTHER)[place]) for column, place in categories]
    if any(column.nullable for column, _ in categories):
        instance["null_categories"] = [place < 0 for _, place in categories]
    body = json.dumps({"signature_name": "encode_condition", "instances": [instance]}, ensure_ascii=False)
    return {
        "Ask for the conditional_input of raw columns": f"curl http://localhost:{REST_PORT}/v1/models/{name}:predict "
        f"-d {shlex.quote(body)}"
    }


def _rounded(values: list[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
