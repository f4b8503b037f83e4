"""p(x | c) around some conditions, beside the test rows there; event columns against each other; ranges of plots.

The rows of a neighbourhood have conditions that differ a little, so the model's density is averaged over those of some
of its rows: then it should agree with the rows, however wide the neighbourhood is.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from maf_serving.page_plots import Axis, Scale

if TYPE_CHECKING:
    from maf.report.model import ReportModel
    from maf.report.neighbourhoods import Neighbourhood
    from maf.report.rows import ReportRows

Array = np.ndarray[Any, Any]
TAIL = 0.004  # of the rows beyond each end of a plot
MARGIN = 0.06
SHARED_DOWN_TO = 0.2
CURVE_POINTS, CURVE_CONDITIONS = 160, 128
CLOUD_POINTS, CLOUD_CONDITIONS = 72, 16
MAX_DOTS = 260
MAX_MARGINALS = 3
DRAWS_OF_MARGINALS = 20_000
MAX_PAIRED_COLUMNS = 4
MAX_PAIRED_ROWS = 4_000


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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Density of one event column, on the scale of the rows' histogram: it, and the model's curve through `points`.

    Where the model is known by draws alone, `points` are the edges of a histogram of these, one more than densities.
    """

    column: int
    rows: Bars
    points: Array
    density: Array


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Density `[P, P]` of two event columns on a grid over `ranges`, first axis x1 from below; some rows as `dots`.

    It is the density on the scales of the ranges.
    """

    ranges: tuple[Range, Range]
    density: Array
    dots: Array


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is drawn of one neighbourhood: a cloud for two event columns, else the curves of up to three."""

    neighbourhood: Neighbourhood
    curves: tuple[Curve, ...] = ()
    cloud: Cloud | None = None


def make_pictures(
    model: ReportModel, rows: ReportRows, neighbourhoods: tuple[Neighbourhood, ...], *, seed: int
) -> tuple[Picture, ...]:
    """A picture of each neighbourhood."""
    rng = np.random.default_rng(seed)
    if model.event_size == 2:
        ranges = (_range(rows, 0), _range(rows, 1))
        return tuple(
            Picture(neighbourhood=each, cloud=_cloud(model, rows, each, ranges, rng)) for each in neighbourhoods
        )
    if model.event_size == 1:
        return _exact_curves(model, rows, neighbourhoods, rng)
    return _drawn_curves(model, rows, neighbourhoods, rng)


def _cloud(
    model: ReportModel,
    rows: ReportRows,
    neighbourhood: Neighbourhood,
    ranges: tuple[Range, Range],
    rng: np.random.Generator,
) -> Cloud:
    axes = [each.grid(CLOUD_POINTS) for each in ranges]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=1)
    conditions = _conditions(rows, neighbourhood, CLOUD_CONDITIONS, rng)
    stretch = ranges[0].stretch(grid[:, 0]) * ranges[1].stretch(grid[:, 1])
    density = (_mean_density(model, grid, conditions) * stretch).reshape(CLOUD_POINTS, CLOUD_POINTS)
    dots = rows.x[_some(neighbourhood.rows, MAX_DOTS, rng)]
    return Cloud(ranges=ranges, density=density, dots=dots)


def _exact_curves(
    model: ReportModel, rows: ReportRows, neighbourhoods: tuple[Neighbourhood, ...], rng: np.random.Generator
) -> tuple[Picture, ...]:
    ranges = shared_ranges([_range(rows, 0, each.rows) for each in neighbourhoods])
    pictures = []
    for neighbourhood, shown in zip(neighbourhoods, ranges, strict=True):
        points = shown.grid(CURVE_POINTS)
        conditions = _conditions(rows, neighbourhood, CURVE_CONDITIONS, rng)
        curve = Curve(
            column=0,
            rows=histogram(rows.x[neighbourhood.rows, 0], shown, bins=bin_count(len(neighbourhood.rows))),
            points=points,
            density=_mean_density(model, points[:, None], conditions) * shown.stretch(points),
        )
        pictures.append(Picture(neighbourhood=neighbourhood, curves=(curve,)))
    return tuple(pictures)


def _drawn_curves(
    model: ReportModel, rows: ReportRows, neighbourhoods: tuple[Neighbourhood, ...], rng: np.random.Generator
) -> tuple[Picture, ...]:
    """Of more columns than two, the marginal densities are known by draws alone."""
    draws_each = max(2_000, DRAWS_OF_MARGINALS // model.event_size)
    pictures = []
    for neighbourhood in neighbourhoods:
        conditions = rows.c[rng.choice(neighbourhood.rows, draws_each)]
        draws = model.sample(conditions, seed=int(rng.integers(2**31)))
        curves = []
        for column in range(min(MAX_MARGINALS, model.event_size)):
            data = rows.x[neighbourhood.rows, column]
            shown, bins = _range(rows, column, neighbourhood.rows), bin_count(len(data))
            found, drawn = (histogram(each, shown, bins=bins) for each in (data, draws[:, column]))
            curves.append(Curve(column=column, rows=found, points=drawn.edges, density=drawn.density))
        pictures.append(Picture(neighbourhood=neighbourhood, curves=tuple(curves)))
    return tuple(pictures)


def _range(rows: ReportRows, column: int, some: Array | None = None) -> Range:
    """What to show of an event column, of all rows or `some`, on the scale that the model has it on."""
    scale: Scale = "log" if column in rows.logarithmic else "linear"
    return plot_range(rows.x[:, column] if some is None else rows.x[some, column], scale)


def _mean_density(model: ReportModel, grid: Array, conditions: Array) -> Array:
    """Mean over conditions `[M, C]` of p(x | c), for x of the grid `[G, D]`."""
    x = np.tile(grid, (len(conditions), 1))
    c = np.repeat(conditions, len(grid), axis=0)
    density = np.nan_to_num(np.exp(model.log_prob(x, c)), nan=0.0, posinf=0.0)
    mean: Array = density.reshape(len(conditions), len(grid)).mean(axis=0)
    return mean


def _conditions(rows: ReportRows, neighbourhood: Neighbourhood, most: int, rng: np.random.Generator) -> Array:
    if not rows.c.shape[1]:
        return np.zeros((1, 0))
    return rows.c[_some(neighbourhood.rows, most, rng)]


def _some(indices: Array, most: int, rng: np.random.Generator) -> Array:
    return indices if len(indices) <= most else rng.choice(indices, most, replace=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """`rows` and `draws` `[N, K]` of the first K event columns, shown over `ranges`."""

    ranges: tuple[Range, ...]
    rows: Array
    draws: Array


def make_pairs(model: ReportModel, rows: ReportRows, *, seed: int) -> Pairs | None:
    """`None` if there is one event column alone."""
    if model.event_size == 1:
        return None
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(rows.x), min(MAX_PAIRED_ROWS, len(rows.x)), replace=False)
    x = rows.x[chosen, :MAX_PAIRED_COLUMNS]
    draws = model.sample(rows.c[chosen], seed=seed)[:, :MAX_PAIRED_COLUMNS]
    return Pairs(ranges=tuple(_range(rows, index) for index in range(x.shape[1])), rows=x, draws=draws)
