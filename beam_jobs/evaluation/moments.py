"""Count, mean and spread that can be merged: Chan, Golub, LeVeque, "Updating formulae" (1979)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from maf_serving.arrow_columns import Floats

Vector = npt.NDArray[np.float64]


class Moments:
    """Of K columns of values, all finite."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.mean: Vector = np.zeros(size)
        self._squares: Vector = np.zeros(size)  # sums of squared distances from the mean

    def add(self, values: Floats) -> None:
        """Takes in rows `[B, K]`."""
        if not len(values):
            return
        other = Moments(values.shape[1])
        wide = values.astype(np.float64)
        other.count = len(wide)
        other.mean = wide.mean(axis=0)
        other._squares = np.square(wide - other.mean).sum(axis=0)
        self.merge(other)

    def merge(self, other: Moments) -> None:
        """Takes in what another has seen."""
        count = self.count + other.count
        if not other.count:
            return
        delta = other.mean - self.mean
        self.mean = self.mean + delta * (other.count / count)
        self._squares = self._squares + other._squares + delta**2 * (self.count * other.count / count)
        self.count = count

    def standard_deviation(self) -> Vector:
        """`[K]`; NaN of fewer than two rows."""
        if self.count < 2:
            return np.full_like(self.mean, np.nan)
        deviation: Vector = np.sqrt(self._squares / (self.count - 1))
        return deviation

    def standard_error(self) -> Vector:
        """Of the means, `[K]`; NaN of fewer than two rows."""
        error: Vector = self.standard_deviation() / math.sqrt(max(self.count, 1))
        return error
