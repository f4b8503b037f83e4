"""Rows that do not count alike: means of them with their errors, and samples of them.

A row of weight k counts as k equal rows would in every mean. It tells less than they would: so the errors here are
those of the rows that there are, and `effective_rows` says as much as how many rows of equal weight they tell.

Of many rows a sample is taken by priority [1]: of n rows those with the smallest u / w, where u is uniform on (0, 1)
and w the weight. Let t be what the next one would have had. A row of the sample then counts max(w, 1 / t): heavy rows
are all in it and count what they did, light ones are in it in proportion to their weight and count alike, and sums over
the sample, or over any part of it, are right on average. Where weights are equal it is the uniform sample; where there
are no more than n rows it is all of them.

[1] Duffield, Lund, Thorup: "Priority sampling for estimation of arbitrary subset sums" (2007).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maf_serving.moments import Moments

if TYPE_CHECKING:
    from maf_serving.model_inputs import Array

Vector = np.ndarray[Any, np.dtype[np.float64]]


def effective_rows(weights: Array) -> float:
    """As how many rows of equal weight rows of weights `[N]` tell, by Kish.

    >>> effective_rows(np.array([2.0, 2.0, 2.0])), round(effective_rows(np.array([9.0, 1.0])), 2)
    (3.0, 1.22)
    """
    wide = np.asarray(weights, np.float64)
    return float(wide.sum() ** 2 / np.square(wide).sum()) if len(wide) else 0.0


def mean_and_error(values: Array, weights: Array | None) -> tuple[float, float]:
    """The mean of values `[N]`, one or more, by weights `[N]` if they have some, and its standard error.

    >>> mean_and_error(np.array([1.0, 3.0]), np.array([3.0, 1.0]))
    (1.5, 0.5303300858899106)
    """
    shares = np.full(len(values), 1.0) if weights is None else np.asarray(weights, np.float64)
    shares = shares / shares.sum()
    mean = float(shares @ values)
    return mean, float(np.sqrt(np.square(shares * (values - mean)).sum()))


class WeightedMoments(Moments):
    """Moments of K columns of rows with weights or without, and the standard errors of their means; can be merged.

    >>> moments = WeightedMoments(1)
    >>> moments.add(np.array([[1.0], [3.0]]), np.array([1.0, 1.0]))
    >>> float(moments.mean[0]), float(moments.standard_error()[0]), moments.effective_rows
    (2.0, 0.7071067811865476, 2.0)

    Attributes:
      squared: moments by the squares of the weights; of weighted rows alone.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.squared = Moments(size)

    def add(self, values: Array, weights: Array | None = None) -> None:
        """See `Moments.add`; all rows have weights, or none."""
        super().add(values, weights)
        if weights is not None:
            self.squared.add(values, np.square(np.asarray(weights, np.float64)))

    def merge(self, other: Moments) -> None:
        """See `Moments.merge`."""
        super().merge(other)
        if isinstance(other, WeightedMoments):
            self.squared.merge(other.squared)

    @property
    def is_weighted(self) -> bool:
        """Whether the rows had weights."""
        return self.squared.count > 0

    @property
    def effective_rows(self) -> float:
        """As how many rows of equal weight these tell."""
        return self.weight**2 / self.squared.weight if self.is_weighted else float(self.count)

    def standard_error(self) -> Array:
        """Of the means, `[K]`, of rows that are drawn with their weights; NaN of fewer than two rows."""
        if not self.is_weighted or self.count < 2:
            return super().standard_error()
        apart = self.squared.mean - self.mean
        squares = self.squared.weight * (np.square(self.squared.scale) + np.square(apart))
        error: Array = np.sqrt(squares) / self.weight
        return error


def priorities(words: np.ndarray[Any, np.dtype[np.uint64]], weights: Array) -> Vector:
    """Which rows come first into a sample, `[N]`, the smallest first; from random words `[N]` and weights above 0."""
    uniform = (words.astype(np.float64) + 0.5) / 2.0**64
    found: Vector = uniform / np.asarray(weights, np.float64)
    return found


def counted(weights: Array, next_priority: float) -> Vector:
    """What rows of a sample count, `[N]`, where the first row that is not in it has that priority."""
    found: Vector = np.maximum(np.asarray(weights, np.float64), 1 / next_priority)
    return found


def sample_rows(rows: int, most: int, weights: Array | None, rng: np.random.Generator) -> tuple[Array, Vector | None]:
    """Which of so many rows are in a sample, ascending `[M]`, and what each counts; `None` where all count alike."""
    if rows <= most:
        return np.arange(rows), None if weights is None else np.asarray(weights, np.float64)
    if weights is None:
        return np.sort(rng.choice(rows, most, replace=False)), None
    found = priorities(rng.integers(0, 2**64, rows, np.uint64), weights)
    order = np.argsort(found, kind="stable")
    chosen = np.sort(order[:most])
    return chosen, counted(weights[chosen], float(found[order[most]]))
