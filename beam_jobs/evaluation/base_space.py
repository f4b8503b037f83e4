"""Where rows lie in base space: counts by dimension, and by distance from the origin."""

from __future__ import annotations

import functools
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from beam_jobs.evaluation.chi_square import chi_square_cdf, chi_square_quantile, rough_quantile
from maf_serving.calibration import LEVELS

if TYPE_CHECKING:
    from maf_serving.arrow_columns import Floats

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

# Of the normal distribution, so much lies between two edges at most: the KS distance is exact to that.
RESOLUTION = 1 / 1024
HISTOGRAM_EDGES: Values = np.linspace(-5, 5, 41)


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
        self.rows = 0
        self._dimensions = dimensions
        self._by_dimension: Counts = np.zeros((dimensions, len(z_edges()) + 1), np.int64)
        self._by_radius: Counts = np.zeros(len(radius_edges(dimensions)) + 1, np.int64)

    def add(self, z: Floats) -> None:
        """Takes in points `[B, D]`; what is NaN counts as infinitely far out."""
        z = np.where(np.isnan(z), np.inf, z).astype(np.float64)
        self.rows += len(z)
        for dimension in range(self._dimensions):
            cells = np.searchsorted(z_edges(), z[:, dimension])
            self._by_dimension[dimension] += np.bincount(cells, minlength=self._by_dimension.shape[1])
        with np.errstate(over="ignore"):
            radii = np.square(z).sum(axis=1)
        cells = np.searchsorted(radius_edges(self._dimensions), radii)
        self._by_radius += np.bincount(cells, minlength=len(self._by_radius))

    def merge(self, other: BaseSpaceCounts) -> None:
        """Takes in what another has seen."""
        self.rows += other.rows
        self._by_dimension += other._by_dimension
        self._by_radius += other._by_radius

    def z_cdf(self) -> Values:
        """The share of points up to each of `z_edges`, `[D, edges]`."""
        shares: Values = np.cumsum(self._by_dimension[:, :-1], axis=1) / max(self.rows, 1)
        return shares

    def radius_cdf(self) -> Values:
        """The share of points up to each of `radius_edges`."""
        shares: Values = np.cumsum(self._by_radius[:-1]) / max(self.rows, 1)
        return shares

    def z_histogram(self) -> Counts:
        """Counts `[D, bins + 2]` between `HISTOGRAM_EDGES`; first and last what lies outside."""
        starts = np.concatenate([[0], np.searchsorted(z_edges(), HISTOGRAM_EDGES) + 1])
        counts: Counts = np.add.reduceat(self._by_dimension, starts, axis=1)
        return counts
