"""Whether the model's probabilities are what happens: ranks, regions, and a table of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maf.report.drawing.heading import REGION
from maf_serving.calibration import LEVELS, column_verdict
from maf_serving.page import Element, after, card, element, figure, grid, note, section, table
from maf_serving.page_numbers import SPACE, fixed, level, plural
from maf_serving.page_plots import WIDTH, Axis, bars, bottom_axis, coverage_figures, distance_note, line, svg

if TYPE_CHECKING:
    from maf.report.calibration import Calibration, ColumnCalibration
    from maf.report.report import Report

MAX_CHARTS = 12


def calibration_section(report: Report) -> Element:
    """Coverage, ranks of each column, a table of both."""
    calibration, fit = report.calibration, report.calibration.fit
    ranks = [
        figure(column.column, f"Ranks of the rows: {column_verdict(judged, fit)}.", rank_chart(column, calibration))
        for column, judged in zip(calibration.columns[:MAX_CHARTS], fit.columns, strict=False)
    ]
    more = len(calibration.columns) - len(ranks)
    draws = len(calibration.coverage) - 1
    curve = [((index + 1) / (draws + 1), share) for index, share in enumerate(calibration.coverage)]
    return section(
        "Calibration",
        f"Each of {calibration.rows:,} test rows is ranked among {draws} draws of the model at the row's own "
        "condition. If the model is right, the ranks are uniform: bars of the same height, and a coverage on the "
        "diagonal. Bars high at both ends: predicted too narrow; high in the middle: too wide. A perfect model stays "
        "within the shaded band in 95 of 100 cases.",
        grid(*coverage_figures(fit, curve, REGION)),
        after(grid(*ranks)),
        f"{plural(more, 'more event column')} in the table." if more > 0 else None,
        card(_table(calibration), note(_note(report))),
    )


def _table(calibration: Calibration) -> Element:
    header = (f"%{SPACE}of rows in", *map(level, LEVELS), "KS")
    joint = (REGION, *(fixed(100 * share, 1) for share in calibration.covered), fixed(calibration.distance, 3))
    rows = [
        (column.column, *(fixed(100 * share, 1) for share in column.covered), fixed(column.distance, 3))
        for column in calibration.columns
    ]
    return table("Shares of rows in regions and intervals", header, [joint, *rows])


def _note(report: Report) -> str:
    return (
        f"The {REGION} is the one of highest density, all event columns together; a column's are central intervals. "
        + distance_note(report.calibration.fit)
    )


def rank_chart(column: ColumnCalibration, calibration: Calibration, *, height: float = 240) -> Element:
    """Shares of the rows by probability, flat if right; the band is what chance does."""
    count = len(column.shares)
    band = calibration.share_by_chance
    top = max([*column.shares, 1 / count + band]) * 1.12
    x = Axis(low=0, high=1, start=12, end=WIDTH - 12)
    y = Axis(low=0, high=top, start=height - 42, end=6)
    upper, lower = y.place(1 / count + band), y.place(max(1 / count - band, 0))
    edges = [index / count for index in range(count + 1)]
    label = (
        f"{column.column}: shares of the rows by probability; largest cumulative difference {fixed(column.distance, 3)}"
    )
    return svg(
        label,
        WIDTH,
        height,
        *bars(edges, column.shares, x, y),
        element("rect", x=x.start, y=upper, width=x.end - x.start, height=lower - upper, class_="band"),
        line(x.start, y.place(1 / count), x.end, y.place(1 / count), "line-model"),
        *bottom_axis(x, y.start, "probability of smaller values, by the model", count=5),
    )
