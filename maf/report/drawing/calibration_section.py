"""Whether the model's probabilities are what happens."""

from __future__ import annotations

from maf.report.calibration import DRAWS, LEVELS, Calibration
from maf.report.drawing.calibration_charts import coverage_chart, rank_chart
from maf.report.drawing.heading import verdict
from maf.report.drawing.markup import Element, element, figure, table
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
        element("div", _table(report), element("p", _note(calibration), class_="note"), class_="card after"),
    )


def _table(report: Report) -> Element:
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


def _note(calibration: Calibration) -> str:
    return (
        "The densest region is the one of highest density, all event columns together; a column's are central "
        "intervals. KS is the largest difference of the cumulative shares from what they should be; with "
        f"{calibration.rows:,} rows a perfect one stays below {calibration.distance_by_chance:.3f} in 95 of 100 cases."
    )
