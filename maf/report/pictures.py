"""p(x | c) around some conditions, beside the test rows there; event columns against each other.

The rows of a neighbourhood have conditions that differ a little, so the model's density is averaged over those of some
of its rows: then it should agree with the rows, however wide the neighbourhood is.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from maf.report.model import Model
from maf.report.neighbourhoods import Neighbourhood
from maf.report.rows import ReportRows

Array = np.ndarray[Any, Any]
TAIL = 0.004  # of the rows beyond each end of a plot
MARGIN = 0.06
SHARED_DOWN_TO = 0.2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """`density` `[n]` between `edges` `[n + 1]`; values outside the edges count in the whole."""

    edges: Array
    density: Array


def histogram(values: Array, low: float, high: float, *, bins: int) -> Histogram:
    """Of `values` `[N]`."""
    counts, edges = np.histogram(values, bins, (low, high))
    return Histogram(edges=edges, density=counts / (max(len(values), 1) * (edges[1] - edges[0])))


def bin_count(rows: int) -> int:
    """As many bins as so many rows bear."""
    return int(np.clip(np.sqrt(rows) * 1.2, 8, 40))


def plot_range(values: Array) -> tuple[float, float]:
    """From where to where a plot of `values` `[N]` goes: without the outermost, with some room."""
    low, high = (float(each) for each in np.quantile(values, [TAIL, 1 - TAIL]))
    margin = MARGIN * (high - low) or 0.05 * max(abs(low), 1.0)
    return low - margin, high + margin


def shared_ranges(ranges: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """One range for all plots if none of them becomes too small to see in it, else each its own."""
    low, high = min(each[0] for each in ranges), max(each[1] for each in ranges)
    narrowest = min(each[1] - each[0] for each in ranges)
    return [(low, high)] * len(ranges) if narrowest >= SHARED_DOWN_TO * (high - low) else ranges


CURVE_POINTS, CURVE_CONDITIONS = 160, 128
CLOUD_POINTS, CLOUD_CONDITIONS = 72, 16
MAX_DOTS = 260
MAX_MARGINALS = 3
DRAWS_OF_MARGINALS = 20_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Density of one event column: the rows' histogram, and the model's curve through `points`.

    Where the model is known by draws alone, `points` are the edges of a histogram of these, one more than densities.
    """

    column: int
    rows: Histogram
    points: Array
    density: Array


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Density `[P, P]` of two event columns on a grid over `ranges`, first axis x1 from below; some rows as `dots`."""

    ranges: tuple[tuple[float, float], tuple[float, float]]
    density: Array
    dots: Array


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What is drawn of one neighbourhood: a cloud for two event columns, else the curves of up to three."""

    neighbourhood: Neighbourhood
    curves: tuple[Curve, ...] = ()
    cloud: Cloud | None = None


def make_pictures(
    model: Model, rows: ReportRows, neighbourhoods: tuple[Neighbourhood, ...], *, seed: int
) -> tuple[Picture, ...]:
    """A picture of each neighbourhood."""
    rng = np.random.default_rng(seed)
    if model.event_size == 2:
        ranges = (plot_range(rows.x[:, 0]), plot_range(rows.x[:, 1]))
        return tuple(
            Picture(neighbourhood=each, cloud=_cloud(model, rows, each, ranges, rng)) for each in neighbourhoods
        )
    if model.event_size == 1:
        return _exact_curves(model, rows, neighbourhoods, rng)
    return _drawn_curves(model, rows, neighbourhoods, rng)


def _cloud(
    model: Model,
    rows: ReportRows,
    neighbourhood: Neighbourhood,
    ranges: tuple[tuple[float, float], tuple[float, float]],
    rng: np.random.Generator,
) -> Cloud:
    axes = [np.linspace(*each, CLOUD_POINTS) for each in ranges]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=1)
    conditions = _conditions(rows, neighbourhood, CLOUD_CONDITIONS, rng)
    density = _mean_density(model, grid, conditions).reshape(CLOUD_POINTS, CLOUD_POINTS)
    dots = rows.x[_some(neighbourhood.rows, MAX_DOTS, rng)]
    return Cloud(ranges=ranges, density=density, dots=dots)


def _exact_curves(
    model: Model, rows: ReportRows, neighbourhoods: tuple[Neighbourhood, ...], rng: np.random.Generator
) -> tuple[Picture, ...]:
    ranges = shared_ranges([plot_range(rows.x[each.rows, 0]) for each in neighbourhoods])
    pictures = []
    for neighbourhood, (low, high) in zip(neighbourhoods, ranges, strict=True):
        points = np.linspace(low, high, CURVE_POINTS)
        conditions = _conditions(rows, neighbourhood, CURVE_CONDITIONS, rng)
        curve = Curve(
            column=0,
            rows=histogram(rows.x[neighbourhood.rows, 0], low, high, bins=bin_count(len(neighbourhood.rows))),
            points=points,
            density=_mean_density(model, points[:, None], conditions),
        )
        pictures.append(Picture(neighbourhood=neighbourhood, curves=(curve,)))
    return tuple(pictures)


def _drawn_curves(
    model: Model, rows: ReportRows, neighbourhoods: tuple[Neighbourhood, ...], rng: np.random.Generator
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
            low, high = plot_range(data)
            found, drawn = (histogram(each, low, high, bins=bin_count(len(data))) for each in (data, draws[:, column]))
            curves.append(Curve(column=column, rows=found, points=drawn.edges, density=drawn.density))
        pictures.append(Picture(neighbourhood=neighbourhood, curves=tuple(curves)))
    return tuple(pictures)


def _mean_density(model: Model, grid: Array, conditions: Array) -> Array:
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


MAX_PAIRED_COLUMNS = 4
MAX_PAIRED_ROWS = 4_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """`rows` and `draws` `[N, K]` of the first K event columns, shown over `ranges`."""

    ranges: tuple[tuple[float, float], ...]
    rows: Array
    draws: Array


def make_pairs(model: Model, rows: ReportRows, *, seed: int) -> Pairs | None:
    """`None` if there is one event column alone."""
    if model.event_size == 1:
        return None
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(rows.x), min(MAX_PAIRED_ROWS, len(rows.x)), replace=False)
    x = rows.x[chosen, :MAX_PAIRED_COLUMNS]
    draws = model.sample(rows.c[chosen], seed=seed)[:, :MAX_PAIRED_COLUMNS]
    return Pairs(ranges=tuple(plot_range(column) for column in x.T), rows=x, draws=draws)
