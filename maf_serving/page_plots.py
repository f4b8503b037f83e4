"""Plots of a page as SVG: axes, linear and logarithmic, the parts that every plot has, and those that every page shows.

Colours come from the style sheet alone, so that they follow dark and light: `model` and `data` are the same everywhere.
Every page shows how good a model is by its NLL, and by its calibration, by level and as a curve.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import TYPE_CHECKING, Literal

from maf_serving.calibration import Fit, joint_verdict
from maf_serving.page import Element, element, figure, table, tile
from maf_serving.page_numbers import (
    SPACE,
    fixed,
    level,
    magnitude_labels,
    number,
    percent,
    plural,
    tick_labels,
    with_error,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 360.0  # of a card on a phone, where letters have their own size
LETTER = 6.6  # width of a digit of the labels, at most
Scale = Literal["linear", "log"]
Point = tuple[float, float]
_STEPS = (1, 2, 5)
_DECADES = 1.5  # a log axis over fewer has ticks within its decades, over very few those of a linear one
_FEW_DECADES = 0.7
SHOWN_LEVEL = 0.9
ANSWERS = {"good": "Yes", "fair": "Nearly", "bad": "No"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Values from `low` to `high`, which differ, drawn from `start` to `end`, which may lie the other way round.

    Raises:
      ValueError: if `low` of a log axis is not positive.

    >>> axis = Axis(low=1, high=10_000, start=0, end=100, scale="log")
    >>> axis.place(100), [words for _, words in axis.labels()]
    (50.0, ['1', '10', '100', '1,000', '10,000'])
    """

    low: float
    high: float
    start: float
    end: float
    scale: Scale = "linear"

    def __post_init__(self) -> None:
        if self.scale == "log" and not self.low > 0:
            raise ValueError(f"a log axis starts at {self.low}; expected a positive number")

    def place(self, value: float) -> float:
        """Where a value is drawn."""
        low, high, at = (self._even(each) for each in (self.low, self.high, value))
        return self.start + (at - low) / (high - low) * (self.end - self.start)

    def holds(self, value: float) -> bool:
        """Whether a value is on the axis."""
        return self.low <= value <= self.high

    def ticks(self, count: int = 4) -> list[float]:
        """About that many round values within the axis."""
        if self.scale == "linear" or self._decades < _FEW_DECADES:
            return _round_values(self.low, self.high, count)
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        if self._decades < _DECADES:
            found = [step * 10.0**power for power in range(first - 1, last + 1) for step in _STEPS]
            return [tick for tick in found if self.low * (1 - 1e-9) <= tick <= self.high * (1 + 1e-9)]
        every = max(1, math.ceil((last - first) / (count + 1)))
        return [10.0**power for power in range(first, last + 1) if power % every == 0]

    def small_ticks(self) -> list[float]:
        """Of a log axis over a few decades, what lies between the ticks: a reader sees that it is one."""
        if self.scale == "linear" or not _FEW_DECADES <= self._decades <= 5:
            return []
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)))
        return [tick for power in powers for step in range(2, 10) if self.holds(tick := step * 10.0**power)]

    def labels(self, count: int = 4) -> list[tuple[float, str]]:
        """Ticks and what to write at them."""
        ticks = self.ticks(count)
        even = self.scale == "linear" or self._decades < _FEW_DECADES
        return list(zip(ticks, tick_labels(ticks) if even else magnitude_labels(ticks), strict=True))

    @property
    def room(self) -> float:
        """How much its labels need beside a plot."""
        return 12 + LETTER * max((len(words) for _, words in self.labels()), default=0)

    @property
    def _decades(self) -> float:
        return math.log10(self.high / self.low)

    def _even(self, value: float) -> float:
        """On a scale with equal distances."""
        return math.log10(value) if self.scale == "log" else value


def _round_values(low: float, high: float, count: int) -> list[float]:
    """Multiples of the finest round step that makes one more than `count` of them at most."""
    power = math.floor(math.log10((high - low) / count)) - 1
    steps = (digit * 10.0**exponent for exponent in itertools.count(power) for digit in _STEPS)
    multiples = ((step, math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)) for step in steps)
    step, first, last = next(each for each in multiples if each[2] - each[1] <= count)
    return [index * step for index in range(first, last + 1)]


def widen(low: float, high: float, *, margin: float = 0.04) -> tuple[float, float]:
    """The ends with some room around them, also if they are one value."""
    room = margin * (high - low) or max(abs(low), 1.0) * 0.01
    return low - room, high + room


def svg(label: str, width: float, height: float, *children: Element) -> Element:
    """A plot; `label` is what a reader who cannot see it is told."""
    return element("svg", *children, viewBox=f"0 0 {width:.2f} {height:.2f}", role="img", aria_label=label)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def polyline(points: Iterable[Point], class_: str) -> Element:
    """A line through points."""
    return element("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=class_)


def area(points: Iterable[Point], class_: str) -> Element:
    """What points enclose."""
    return element("polygon", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points), class_=class_)


def text(words: str, x: float, y: float, *, anchor: str = "middle", class_: str = "") -> Element:
    """Words at a place."""
    return element("text", words, x=x, y=y, text_anchor=anchor, class_=class_)


def dots(points: Iterable[Point], class_: str) -> Element:
    """Many dots in one element: strokes of no length with round ends."""
    return element("path", d="".join(f"M{x:.1f} {y:.1f}h0" for x, y in points), class_=class_)


def steps(edges: Sequence[float], heights: Sequence[float], x: Axis, y: Axis) -> list[Point]:
    """The outline of a histogram."""
    points = [(x.place(edges[0]), y.place(0.0))]
    for left, right, height in zip(edges[:-1], edges[1:], heights, strict=True):
        points += [(x.place(left), y.place(height)), (x.place(right), y.place(height))]
    return [*points, (x.place(edges[-1]), y.place(0.0))]


def bars(edges: Sequence[float], shares: Sequence[float], x: Axis, y: Axis) -> list[Element]:
    """A histogram of which each bar says what it holds to whoever points at it."""
    return [
        element(
            "rect",
            element("title", f"{number(left)} to {number(right)}: {percent(share)} of the rows"),
            x=x.place(left) + 0.3,
            y=y.place(share),
            width=max(x.place(right) - x.place(left) - 0.6, 0.4),
            height=y.place(0) - y.place(share),
            class_="data",
        )
        for left, right, share in zip(edges[:-1], edges[1:], shares, strict=True)
    ]


def bottom_axis(x: Axis, y: float, label: str, *, count: int = 4) -> list[Element]:
    """Ticks below a plot, and the name of the axis."""
    parts = [line(x.start, y, x.end, y, "axis")]
    parts += [line(x.place(tick), y, x.place(tick), y + 2.5, "axis") for tick in x.small_ticks()]
    for tick, words in x.labels(count):
        half = LETTER * len(words) / 2
        middle = min(max(x.place(tick), half), WIDTH - half)  # within the plot
        parts += [line(x.place(tick), y, x.place(tick), y + 5, "axis"), text(words, middle, y + 17)]
    if not label:
        return parts
    scale = ", log scale" if x.scale == "log" else ""
    return [*parts, text(label + scale, (x.start + x.end) / 2, y + 33, class_="name")]


def left_axis(y: Axis, x: float, end: float, *, count: int = 4) -> list[Element]:
    """Values beside a plot, and lines across it."""
    parts = []
    for tick, words in y.labels(count):
        parts += [
            line(x, y.place(tick), end, y.place(tick), "rule"),
            text(words, x - 6, y.place(tick) + 4, anchor="end"),
        ]
    return parts


def nll_tile(name: str, nll: float | None, error: float | None, rows: int) -> Element:
    """A mean NLL, how sure it is, and of how many rows it is the mean."""
    mean, _, noise = with_error(nll, error).partition(f"{SPACE}±{SPACE}")
    sure = f"±{SPACE}{noise} nats" if noise else "nats"
    return tile(mean, name, f"{sure} per row in raw units, on {plural(rows, 'row')}; less is better")


def calibration_tiles(fit: Fit, region: str) -> list[Element]:
    """Coverage of one level, and whether all of them hold."""
    expected, observed = min(fit.levels, key=lambda each: abs(each[0] - SHOWN_LEVEL))
    alone = f"{fit.columns_within} of {plural(len(fit.columns), 'column')} calibrated, each for itself"
    alone += "" if fit.joint == "good" or not fit.columns_within else ", and not together"
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
