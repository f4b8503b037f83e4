"""What the model has learnt, to look at."""

from __future__ import annotations

import numpy as np

from maf.report.drawing.condition_wording import value_of, values_of
from maf.report.drawing.markup import Element, element, figure
from maf.report.drawing.pairs_chart import pairs_chart
from maf.report.drawing.picture_charts import cloud_chart, curve_chart
from maf.report.pictures import Picture
from maf.report.report import Report

MAX_CONDITIONS = 3
MAX_LETTERS = 14  # of a name beside a small plot


def picture_section(report: Report) -> Element:
    """Pictures of neighbourhoods, then pairs of event columns."""
    dotted = report.pictures[0].cloud is not None
    key = [element("span", "the model", class_="model")]
    key.append(element("span", "test rows", class_="dot" if dotted else ""))
    pictures = [_picture(report, picture, index) for index, picture in enumerate(report.pictures)]
    halves = "grid halves" if len(pictures) in {2, 4} else "grid"
    return element(
        "section",
        element("h2", "What it has learnt"),
        element("p", _explanation(report), class_="soft"),
        element("div", *key, class_="key"),
        element("div", *pictures, class_=halves),
        *_pairs(report),
    )


def _explanation(report: Report) -> str:
    if not report.conditional_columns:
        return "The model's density of the event columns, and the test rows."
    many = len(report.conditional_columns) > 1
    how = "conditions of test rows, from those where a linear fit predicts least to those where it predicts most"
    return (
        f"The model's density for {how if many else 'some values of the condition'}, and the test rows whose "
        f"condition{'s are' if many else ' is'} nearest. The density is averaged over the conditions of these rows, "
        "so that the two should agree."
    )


def _picture(report: Report, picture: Picture, index: int) -> Element:
    columns = report.config.data.event
    title, detail = _captions(report, picture)
    charts = [curve_chart(curve, columns[curve.column]) for curve in picture.curves]
    if picture.cloud is not None:
        charts.append(cloud_chart(picture.cloud, columns, name=f"cloud-{index}"))
    return figure(title, detail, *charts)


def _captions(report: Report, picture: Picture) -> tuple[str, str]:
    names, condition = report.conditional_columns, picture.neighbourhood.condition
    rows = f"{len(picture.neighbourhood.rows):,} rows"
    if not names:
        return "All rows", rows
    shown = np.argsort(-np.array(report.influence), kind="stable")[:MAX_CONDITIONS]
    around = report.rows.c[picture.neighbourhood.rows]
    columns = report.config.data.columns
    title = ", ".join(f"{names[i]} = {value_of(columns[i], condition[i])}" for i in shown)
    ranges = [values_of(columns[i], around[:, i], condition[i]) for i in shown]
    hidden = len(names) - len(shown)
    more = f"; {hidden} more condition{'s' if hidden > 1 else ''}" if hidden else ""
    return title, f"{rows}, {', '.join(ranges)}{more}"


def _pairs(report: Report) -> list[Element]:
    if report.pairs is None:
        return []
    columns = report.config.data.event
    shown = len(report.pairs.ranges)
    first = f" The first {shown} of {len(columns)} event columns." if shown < len(columns) else ""
    names, told = columns[:shown], ""
    if any(len(name) > MAX_LETTERS for name in names):
        names = tuple(f"x[{i}]" for i in range(shown))
        told = " " + ", ".join(f"{name} is {column}" for name, column in zip(names, columns, strict=False)) + "."
    chart = figure(
        "Event columns against each other",
        f"Test rows below the diagonal and in the histograms; above it and as lines, one draw of the model for each "
        f"row, at the row's own condition. The two halves should mirror each other.{first}{told}",
        pairs_chart(report.pairs, names),
        wide="pairs",
    )
    return [element("div", chart, class_="after")]
