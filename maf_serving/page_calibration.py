"""What every page shows of how good a model is: its NLL, and its calibration by level and as a curve."""

from __future__ import annotations

from collections.abc import Sequence

from maf_serving.calibration import Fit, joint_verdict
from maf_serving.page import Element, figure, table, tile
from maf_serving.page_numbers import SPACE, fixed, level, percent, plural, with_error
from maf_serving.page_plots import WIDTH, Axis, Point, area, bottom_axis, left_axis, line, polyline, svg, text

SHOWN_LEVEL = 0.9
ANSWERS = {"good": "Yes", "fair": "Nearly", "bad": "No"}


def nll_tile(name: str, nll: float | None, error: float | None, rows: int) -> Element:
    """A mean NLL, how sure it is, and of how many rows it is the mean."""
    mean, _, noise = with_error(nll, error).partition(f"{SPACE}±{SPACE}")
    sure = f"±{SPACE}{noise} nats" if noise else "nats"
    return tile(mean, name, f"{sure} per row in raw units, on {plural(rows, 'row')}; less is better")


def calibration_tiles(fit: Fit, region: str) -> list[Element]:
    """Coverage of one level, and whether all of them hold."""
    expected, observed = min(fit.levels, key=lambda each: abs(each[0] - SHOWN_LEVEL))
    alone = f"{fit.columns_within} of {plural(len(fit.columns), 'column')} calibrated, each for itself"
    return [
        tile(
            percent(observed),
            f"of rows in the {level(round(expected, 3))} region",
            f"the {region}, all event columns together; ±{SPACE}{percent(fit.level_noise(expected))} is noise",
            kind="" if fit.is_within(expected, observed) else fit.joint,
        ),
        tile(
            ANSWERS[fit.kind],
            "calibrated",
            f"{fit.levels_within} of {len(fit.levels)} levels within noise on {plural(fit.rows, 'row')}; {alone}",
            kind=fit.kind,
        ),
    ]


def coverage_figures(fit: Fit, curve: Sequence[Point], region: str) -> list[Element]:
    """The curve of the coverage, and its levels as a table.

    Args:
      fit: what was found.
      curve: pairs of the expected and the observed share of the rows in growing regions.
      region: what the regions are called.
    """
    rows = [
        (
            level(round(expected, 4)),
            percent(observed),
            f"±{SPACE}{percent(fit.level_noise(expected))}",
            "within noise" if fit.is_within(expected, observed) else "too many" if observed > expected else "too few",
        )
        for expected, observed in fit.levels
    ]
    levels = table("Shares of the rows by level", ("should hold", "holds", "noise", ""), rows)
    return [
        figure(
            "All event columns together", f"The {region}: {joint_verdict(fit)}.", _coverage_chart(fit, curve, region)
        ),
        figure("Levels", f"What the {region} should hold, and holds of {plural(fit.rows, 'row')}.", levels),
    ]


def distance_note(fit: Fit) -> str:
    """What KS is, and what it is for a perfect model."""
    return (
        "KS is the largest difference of the cumulative shares from what they should be; with "
        f"{plural(fit.rows, 'row')} a perfect model stays below {fixed(fit.noise, 3)}, in all columns and jointly, in "
        "95 of 100 cases."
    )


def _coverage_chart(fit: Fit, curve: Sequence[Point], region: str, *, height: float = 240) -> Element:
    """Observed against expected shares: a calibrated model follows the diagonal, within the band."""
    x = Axis(low=0, high=100, start=44, end=WIDTH - 14)
    y = Axis(low=0, high=100, start=height - 42, end=20)
    whole = [(0.0, 0.0), *curve, (1.0, 1.0)]
    above = [(x.place(100 * e), y.place(100 * min(e + fit.noise, 1))) for e, _ in whole]
    below = [(x.place(100 * e), y.place(100 * max(e - fit.noise, 0))) for e, _ in whole]
    held = ", ".join(f"at {level(round(e, 4))} {percent(o)}" for e, o in fit.levels)
    return svg(
        f"Observed coverage of the {region} against its probability: {held}",
        WIDTH,
        height,
        *left_axis(y, x.start, x.end, count=5),
        area([*above, *reversed(below)], "band"),
        line(x.place(0), y.place(0), x.place(100), y.place(100), "guide"),
        polyline([(x.place(100 * e), y.place(100 * o)) for e, o in whole], "curve model"),
        text(f"%{SPACE}of rows in the {region}", x.start, 11, anchor="start"),
        *bottom_axis(x, y.start, f"%{SPACE}that the {region} should hold", count=5),
    )
