"""Plots of a page as SVG: axes, linear and logarithmic, and the parts that every plot has.

Colours come from `page_style.py` alone, so that they follow dark and light: `model` and `data` are the same everywhere.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Literal

from maf_serving.page import Element, element
from maf_serving.page_numbers import magnitude_labels, number, percent, tick_labels

WIDTH = 360.0  # of a card on a phone, where letters have their own size
LETTER = 6.6  # width of a digit of the labels, at most
Scale = Literal["linear", "log"]
Point = tuple[float, float]
_STEPS = (1, 2, 5)
_DECADES = 1.5  # a log axis over fewer has ticks within its decades, over very few those of a linear one
_FEW_DECADES = 0.7


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
