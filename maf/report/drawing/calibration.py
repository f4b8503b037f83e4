"""Whether the model's probabilities are what happens: ranks, regions, and a table of both."""

from __future__ import annotations

from maf.report.calibration import DRAWS, LEVELS, Calibration, ColumnCalibration
from maf.report.drawing.axis import Axis
from maf.report.drawing.heading import verdict
from maf.report.drawing.markup import Element, element, figure, table
from maf.report.drawing.svg import WIDTH, area, bottom_axis, left_axis, line, polyline, svg, text
from maf.report.report import Report

MAX_CHARTS = 12


def calibration_section(report: Report) -> Element:
    """Coverage, ranks of each column, a table of both."""
    calibration = report.calibration
    ranks = [
        figure(column.column, verdict(column, calibration), rank_chart(column, calibration))
        for column in calibration.columns[:MAX_CHARTS]
    ]
    more = len(calibration.columns) - len(ranks)
    coverage = figure(
        "Regions of highest density",
        _coverage_caption(calibration),
        coverage_chart(calibration),
    )
    return element(
        "section",
        element("h2", "Whether its probabilities hold"),
        element(
            "p",
            f"Each of {calibration.rows:,} test rows is ranked among {DRAWS} draws of the model at the row's own "
            "condition. If the model is right, the ranks are uniform: bars of the same height, and a coverage on the "
            "diagonal. Bars high at both ends: predicted too narrow; high in the middle: too wide. A perfect model "
            "stays within the shaded band in 95 of 100 cases.",
            class_="soft",
        ),
        element("div", coverage, *ranks, class_="grid"),
        element("p", f"{more} more event columns are in the table.", class_="soft") if more > 0 else None,
        element(
            "div",
            _coverage_table(report),
            element("p", _coverage_note(calibration), class_="note"),
            class_="card after",
        ),
    )


def _coverage_table(report: Report) -> Element:
    calibration = report.calibration
    header = ("% of rows in", *(f"{100 * level:g} %" for level in LEVELS), "KS")
    joint = ("densest region", *(f"{100 * share:.1f}" for share in calibration.covered), f"{calibration.distance:.3f}")
    rows = [
        (column.column, *(f"{100 * share:.1f}" for share in column.covered), f"{column.distance:.3f}")
        for column in calibration.columns
    ]
    return table("Shares of rows in regions and intervals", header, [joint, *rows])


def _coverage_caption(calibration: Calibration) -> str:
    sound = calibration.distance <= calibration.distance_by_chance
    found = "calibrated, as far as can be told" if sound else f"up to {100 * calibration.distance:.1f} points off"
    return f"All event columns together: {found}."


def _coverage_note(calibration: Calibration) -> str:
    return (
        "The densest region is the one of highest density, all event columns together; a column's are central "
        "intervals. KS is the largest difference of the cumulative shares from what they should be; with "
        f"{calibration.rows:,} rows a perfect one stays below {calibration.distance_by_chance:.3f} in 95 of 100 cases."
    )


def rank_chart(column: ColumnCalibration, calibration: Calibration, *, height: float = 240) -> Element:
    """Shares of the rows by probability, flat if right; the band is what chance does."""
    count = len(column.shares)
    band = calibration.share_by_chance
    top = max([*column.shares, 1 / count + band]) * 1.12
    x = Axis(low=0, high=1, start=12, end=WIDTH - 12)
    y = Axis(low=0, high=top, start=height - 42, end=6)
    upper, lower = y.place(1 / count + band), y.place(max(1 / count - band, 0))
    bars = [
        element(
            "rect",
            element("title", f"{index / count:.2f} to {(index + 1) / count:.2f}: {100 * share:.1f} % of the rows"),
            x=x.place(index / count) + 1,
            y=y.place(share),
            width=(x.end - x.start) / count - 2,
            height=y.start - y.place(share),
            class_="data",
        )
        for index, share in enumerate(column.shares)
    ]
    label = f"{column.column}: shares of the rows by probability; largest cumulative difference {column.distance:.3f}"
    return svg(
        label,
        WIDTH,
        height,
        *bars,
        element("rect", x=x.start, y=upper, width=x.end - x.start, height=lower - upper, class_="band"),
        line(x.start, y.place(1 / count), x.end, y.place(1 / count), "line-model"),
        *bottom_axis(x, y.start, "probability of smaller values, by the model"),
    )


def coverage_chart(calibration: Calibration, *, height: float = 240) -> Element:
    """Observed against expected: a calibrated model follows the diagonal, within the band."""
    x = Axis(low=0, high=100, start=44, end=WIDTH - 14)
    y = Axis(low=0, high=100, start=height - 42, end=20)
    room = 100 * calibration.distance_by_chance
    expected = [100 * (index + 1) / (DRAWS + 1) for index in range(DRAWS + 1)]
    above = [(x.place(e), y.place(min(e + room, 100))) for e in (0, *expected)]
    below = [(x.place(e), y.place(max(e - room, 0))) for e in (0, *expected)]
    curve = [(0.0, 0.0), *((e, 100 * share) for e, share in zip(expected, calibration.coverage, strict=True))]
    return svg(
        "Observed coverage of the regions of highest density against their probability: "
        f"at 50 % {100 * calibration.covered[0]:.1f} %, at 90 % {100 * calibration.covered[2]:.1f} %",
        WIDTH,
        height,
        *left_axis(y, x.start, x.end),
        area([*above, *reversed(below)], "band"),
        line(x.place(0), y.place(0), x.place(100), y.place(100), "guide"),
        polyline([(x.place(e), y.place(o)) for e, o in curve], "curve model"),
        text("% of rows in the region", x.start, 11, anchor="start"),
        *bottom_axis(x, y.start, "% that the region should hold"),
    )
