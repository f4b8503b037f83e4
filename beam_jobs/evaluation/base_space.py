"""Where rows lie in base space: counts by dimension, and by distance from the origin.

The contract does not say what the base is. So the job draws from the model on some of the rows, brings the draws back
to base space, and looks: the standard normal distribution is the reference if it agrees with them, they themselves if
not.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from maf_serving.calibration import LEVELS, critical_distance

if TYPE_CHECKING:
    from maf_serving.arrow_columns import Floats


Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64] | npt.NDArray[np.float64]  # of weighted rows
# Of the normal distribution, so much lies between two edges at most: the KS distance is exact to that.
RESOLUTION = 1 / 1024
HISTOGRAM_EDGES: Values = np.linspace(-5, 5, 41)
_RELATIVE_ERROR = 1e-15
_MOST_TERMS = 10_000
_TINY = 1e-300
NORMAL = "standard normal"
BASE_DRAWS = "draws of the base"
NORMAL_ASSUMED = "standard normal, assumed"
# How often a standard normal base is taken for another by chance.
_FALSE_ALARMS = 1e-4


@functools.cache
def z_edges() -> Values:
    """Edges, ascending, between which values of one dimension are counted: normal quantiles, and the histogram's."""
    normal = NormalDist()
    quantiles = [normal.inv_cdf(k * RESOLUTION) for k in range(1, round(1 / RESOLUTION))]
    edges: Values = np.unique([*quantiles, *HISTOGRAM_EDGES])
    return edges


@functools.cache
def normal_cdf() -> Values:
    """Of the standard normal distribution, at `z_edges`."""
    normal = NormalDist()
    return np.array([normal.cdf(edge) for edge in z_edges()])


@functools.cache
def radius_edges(dimensions: int) -> Values:
    """Squared radii, ascending: those of `LEVELS` for a standard normal base, and about 200 around them."""
    exact = [chi_square_quantile(level, dimensions) for level in LEVELS]
    around = [rough_quantile(k / 200, dimensions) for k in range(1, 200)]
    edges: Values = np.unique([*exact, *(edge for edge in around if edge > 0)])
    return edges


@functools.cache
def radius_cdf(dimensions: int) -> Values:
    """Of the chi-square distribution, at `radius_edges`."""
    return np.array([chi_square_cdf(edge, dimensions) for edge in radius_edges(dimensions)])


class BaseSpaceCounts:
    """Counts of points in base space. Memory: about 1,300 counts for each dimension."""

    def __init__(self, dimensions: int) -> None:
        self.rows: float = 0
        self._dimensions = dimensions
        self._by_dimension: Any = np.zeros((dimensions, len(z_edges()) + 1), np.int64)
        self._by_radius: Any = np.zeros(len(radius_edges(dimensions)) + 1, np.int64)

    def add(self, z: Floats, weights: Values | None = None) -> None:
        """Takes in points `[B, D]`, with weights `[B]` if they have some; what is NaN counts as infinitely far out."""
        z = np.where(np.isnan(z), np.inf, z).astype(np.float64)
        self.rows += len(z) if weights is None else float(weights.sum())
        by_dimension = [
            np.bincount(np.searchsorted(z_edges(), z[:, dimension]), weights, self._by_dimension.shape[1])
            for dimension in range(self._dimensions)
        ]
        self._by_dimension = self._by_dimension + np.stack(by_dimension)
        with np.errstate(over="ignore"):
            radii = np.square(z).sum(axis=1)
        cells = np.searchsorted(radius_edges(self._dimensions), radii)
        self._by_radius = self._by_radius + np.bincount(cells, weights, len(self._by_radius))

    def merge(self, other: BaseSpaceCounts) -> None:
        """Takes in what another has seen."""
        self.rows += other.rows
        self._by_dimension = self._by_dimension + other._by_dimension
        self._by_radius = self._by_radius + other._by_radius

    def z_cdf(self) -> Values:
        """The share of points up to each of `z_edges`, `[D, edges]`."""
        shares: Values = np.cumsum(self._by_dimension[:, :-1], axis=1) / (self.rows or 1)
        return shares

    def radius_cdf(self) -> Values:
        """The share of points up to each of `radius_edges`."""
        shares: Values = np.cumsum(self._by_radius[:-1]) / (self.rows or 1)
        return shares

    def z_histogram(self) -> Counts:
        """Counts `[D, bins + 2]` between `HISTOGRAM_EDGES`; first and last what lies outside."""
        starts = np.concatenate([[0], np.searchsorted(z_edges(), HISTOGRAM_EDGES) + 1])
        counts: Counts = np.add.reduceat(self._by_dimension, starts, axis=1)
        return counts


def chi_square_cdf(value: float, dimensions: int) -> float:
    """P(|z|^2 <= value), by the incomplete gamma function: series or continued fraction (DLMF 8.11.4, 8.9.2)."""
    if value <= 0:
        return 0.0
    a, x = dimensions / 2, value / 2
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    return scale * _series(a, x) if x < a + 1 else 1 - scale * _continued_fraction(a, x)


def chi_square_quantile(level: float, dimensions: int) -> float:
    """The squared radius of the ball around the origin that holds that share, by bisection; 0 < level < 1."""
    low, high = 0.0, max(4 * rough_quantile(level, dimensions), 1.0)
    while chi_square_cdf(high, dimensions) < level:
        high *= 2
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if chi_square_cdf(middle, dimensions) < level else (low, middle)
    return (low + high) / 2


def rough_quantile(level: float, dimensions: int) -> float:
    """The same to a percent or so, at once: Wilson and Hilferty (1931)."""
    spread = 2 / (9 * dimensions)
    root = 1 - spread + NormalDist().inv_cdf(level) * math.sqrt(spread)
    return float(dimensions * max(root, 0.0) ** 3)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    for n in range(1, _MOST_TERMS):
        term *= x / (a + n)
        total += term
        if term < total * _RELATIVE_ERROR:
            break
    return total


def _continued_fraction(a: float, x: float) -> float:
    """Lentz's method."""
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    result = d
    for n in range(1, _MOST_TERMS):
        numerator = -n * (n - a)
        b += 2
        d = 1 / (numerator * d + b or _TINY)
        c = b + numerator / c or _TINY
        result *= c * d
        if abs(c * d - 1) < _RELATIVE_ERROR:
            break
    return result


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BaseReference:
    """The distribution to compare with.

    Attributes:
      kind: `NORMAL`, where draws of the base agree with it; `BASE_DRAWS`, where they do not; `NORMAL_ASSUMED`, where
        the model cannot be drawn from.
      draws: how many draws of the base were looked at.
      ks_of_draws: their largest KS distance from the standard normal distribution, over dimensions and radius, or
        `None` without draws.
      z_cdf: at `z_edges`, `[D, edges]`.
      radius_cdf: at `radius_edges`.
    """

    kind: str
    draws: int
    ks_of_draws: float | None
    z_cdf: Values
    radius_cdf: Values

    def independent_rows(self, rows: float) -> float:
        """As how many rows beside an exact distribution they count: draws have noise of their own."""
        return rows * self.draws / (rows + self.draws) if self.kind == BASE_DRAWS else rows


def find_reference(draws: BaseSpaceCounts, dimensions: int) -> BaseReference:
    """The reference that draws of the model's base speak for."""
    normal_z = np.tile(normal_cdf(), (dimensions, 1))
    normal_radius = radius_cdf(dimensions)
    if not draws.rows:
        return BaseReference(kind=NORMAL_ASSUMED, draws=0, ks_of_draws=None, z_cdf=normal_z, radius_cdf=normal_radius)
    distance = max(
        float(np.abs(draws.z_cdf() - normal_z).max()), float(np.abs(draws.radius_cdf() - normal_radius).max())
    )
    normal = distance <= critical_distance(draws.rows, _FALSE_ALARMS / (dimensions + 1))
    return BaseReference(
        kind=NORMAL if normal else BASE_DRAWS,
        draws=int(draws.rows),
        ks_of_draws=distance,
        z_cdf=normal_z if normal else draws.z_cdf(),
        radius_cdf=normal_radius if normal else draws.radius_cdf(),
    )
