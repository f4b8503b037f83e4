"""Moments of columns over batches of rows, in one pass.

Batches are merged by the formulae of Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing
Sample Variances" (1979): no cancellation for columns whose mean is large beside their deviation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from maf_serving.model_inputs import Array


class Moments:
    """Mean, variance and range of K columns of finite values.

        >>> moments = Moments(1)
        >>> for batch in ([[1.0], [2.0]], [[6.0]]):
        ...     moments.add(np.array(batch))
        >>> moments.count, float(moments.mean[0]), float(moments.maximum[0])
        (3, 3.0, 6.0)

    Attributes:
      count: rows so far.
      weight: the sum of their weights, of which each is 1 where none are given.
      mean, minimum, maximum: `[K]`.
    """

    def __init__(self, size: int) -> None:
        self.count = 0
        self.weight = 0.0
        self.mean: Array = np.zeros(size)
        self.minimum: Array = np.full(size, np.inf)
        self.maximum: Array = np.full(size, -np.inf)
        self._spread = self._spread_of(np.zeros((1, size)))

    def add(self, values: Array, weights: Array | None = None) -> None:
        """Takes in rows `[B, K]`, each as often as its weight in `weights` `[B]`, above 0, says."""
        if not len(values):
            return
        wide = values.astype(np.float64)
        mean = np.average(wide, axis=0, weights=weights)
        roots = 1.0 if weights is None else np.sqrt(weights)[:, np.newaxis]
        weight = float(len(wide) if weights is None else weights.sum())
        self._merge(len(wide), weight, mean, self._spread_of((wide - mean) * roots))
        self.minimum = np.minimum(self.minimum, wide.min(axis=0))
        self.maximum = np.maximum(self.maximum, wide.max(axis=0))

    def merge(self, other: Moments) -> None:
        """Takes in what another of the same class has seen."""
        if other.count:
            self._merge(other.count, other.weight, other.mean, other._spread)
            self.minimum = np.minimum(self.minimum, other.minimum)
            self.maximum = np.maximum(self.maximum, other.maximum)

    @property
    def constant(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which columns have one value alone, `[K]`."""
        same: np.ndarray[Any, np.dtype[np.bool_]] = self.minimum == self.maximum
        return same

    @property
    def scale(self) -> Array:
        """Standard deviations of these rows, `[K]`; 0 of a constant column and of no rows."""
        return np.sqrt(np.where(self.constant, 0, self._squares()) / (self.weight or 1))

    def standard_deviation(self) -> Array:
        """That of what the rows are drawn from, `[K]`; NaN of fewer than two rows."""
        if self.count < 2:
            return np.full_like(self.mean, np.nan)
        return np.sqrt(self._squares() * (self.count / self.weight) / (self.count - 1))

    def standard_error(self) -> Array:
        """Of the means, `[K]`; NaN of fewer than two rows."""
        error: Array = self.standard_deviation() / np.sqrt(max(self.count, 1))
        return error

    def _squares(self) -> Array:
        """Sums of squared distances from the mean, `[K]`."""
        return self._spread

    @staticmethod
    def _spread_of(centred: Array) -> Array:
        """What is summed of rows `[B, K]` whose mean is 0."""
        squares: Array = np.square(centred).sum(axis=0)
        return squares

    def _merge(self, rows: int, weight: float, mean: Array, spread: Array) -> None:
        total = self.weight + weight
        delta = mean - self.mean
        self._spread = self._spread + spread + self._spread_of(delta[np.newaxis]) * (self.weight * weight / total)
        self.mean = self.mean + delta * (weight / total)
        self.count, self.weight = self.count + rows, total


class Covariances(Moments):
    """The same, and how K columns vary together.

        >>> moments = Covariances(2)
        >>> moments.add(np.array([[1.0, 2.0], [3.0, 6.0]]))
        >>> moments.covariance.tolist()
        [[1.0, 2.0], [2.0, 4.0]]

    Attributes:
      noise: `[K]`, variance of noise that a model sees on top of the rows.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.noise: Array = np.zeros(size)

    @property
    def covariance(self) -> Array:
        """`[K, K]`, of these rows and the noise."""
        covariance: Array = self._spread / (self.weight or 1) + np.diag(self.noise)
        return covariance

    @property
    def deviation(self) -> Array:
        """Standard deviations `[K]`, the noise included."""
        deviation: Array = np.sqrt(np.diag(self.covariance))
        return deviation

    def _squares(self) -> Array:
        return np.diag(self._spread)

    @staticmethod
    def _spread_of(centred: Array) -> Array:
        products: Array = centred.T @ centred
        return products
