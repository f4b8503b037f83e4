"""From where to where plots go, on which scale, and histograms as densities on it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from maf_serving.page_plots import Axis, Scale

Array = np.ndarray[Any, Any]
TAIL = 0.004  # of the rows beyond each end of a plot
MARGIN = 0.06
SHARED_DOWN_TO = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Range:
    """Values from `low` to `high`, which differ, on a linear scale or, if positive, a logarithmic one.

    On a log scale the density drawn is that of the logarithm to base 10: what is equally wide is equally likely.
    """

    low: float
    high: float
    scale: Scale = "linear"

    def grid(self, count: int) -> Array:
        """`[count]` values at equal distances on the scale, both ends among them."""
        return (
            np.geomspace(self.low, self.high, count) if self.scale == "log" else np.linspace(self.low, self.high, count)
        )

    def stretch(self, values: Array) -> Array:
        """What makes a density of the values one of their place on the scale."""
        return values * math.log(10) if self.scale == "log" else np.ones_like(values)

    def axis(self, start: float, end: float) -> Axis:
        """Drawn from `start` to `end`."""
        return Axis(low=self.low, high=self.high, start=start, end=end, scale=self.scale)

    @property
    def width(self) -> float:
        """On the scale."""
        return math.log10(self.high / self.low) if self.scale == "log" else self.high - self.low


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """`density` `[n]` between `edges` `[n + 1]`, over the range's scale; values outside count in the whole."""

    range: Range
    edges: Array
    density: Array


def histogram(values: Array, shown: Range, *, bins: int) -> Bars:
    """Of `values` `[N]`, in bins of equal width on the scale."""
    edges = shown.grid(bins + 1)
    counts, _ = np.histogram(values, edges)
    return Bars(range=shown, edges=edges, density=counts / (max(len(values), 1) * shown.width / bins))


def bin_count(rows: int) -> int:
    """As many bins as so many rows bear."""
    return int(np.clip(np.sqrt(rows) * 1.2, 8, 40))


def plot_range(values: Array, scale: Scale = "linear") -> Range:
    """From where to where a plot of `values` `[N]` goes: without the outermost, with some room.

    On a log scale, what is not positive is not shown; if nothing is, the scale is linear.
    """
    positive = values[values > 0] if scale == "log" else values
    if not len(positive):
        return plot_range(values)
    even = np.log10(positive) if scale == "log" else positive
    low, high = (float(each) for each in np.quantile(even, [TAIL, 1 - TAIL]))
    margin = MARGIN * (high - low) or 0.05 * max(abs(low), 1.0)
    if scale == "log":
        return Range(10.0 ** (low - margin), 10.0 ** (high + margin), "log")
    return Range(low - margin, high + margin)


def shared_ranges(ranges: list[Range]) -> list[Range]:
    """One range for all plots if none of them becomes too small to see in it, else each its own."""
    if len({each.scale for each in ranges}) > 1:
        return ranges
    whole = Range(min(each.low for each in ranges), max(each.high for each in ranges), ranges[0].scale)
    return [whole] * len(ranges) if min(each.width for each in ranges) >= SHARED_DOWN_TO * whole.width else ranges
