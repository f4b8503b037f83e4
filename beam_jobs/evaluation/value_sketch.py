"""Quantiles of a stream of numbers, to a relative error, exactly mergeable.

A value is counted under its sign, its exponent and the first bits of its mantissa, as in DDSketch [1] with buckets that
floating point has already. Integer counts add up to the same whatever the order and the split, so quantiles do not
depend on the runner.

[1] Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees" (2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maf_serving.arrow_columns import Floats

_MANTISSA_BITS = 52
_KEPT_BITS = 11
_SHIFT = _MANTISSA_BITS - _KEPT_BITS
# Half the width of a bucket, of the smallest number in it.
RELATIVE_ERROR = 2.0 ** -(_KEPT_BITS + 1)
# Smaller numbers are counted as zero, so that there are not buckets without end around it.
SMALLEST = 2.0**-30

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


class ValueSketch:
    """Counts of finite numbers by bucket. Memory: a bucket for each 1/2048 by which values differ."""

    def __init__(self) -> None:
        self.count = 0
        self.minimum = np.inf
        self.maximum = -np.inf
        self._buckets: Counts = np.zeros(0, np.int64)
        self._counts: Counts = np.zeros(0, np.int64)

    def add(self, values: Floats) -> None:
        """Takes in finite numbers `[B]`."""
        if not len(values):
            return
        wide = values.astype(np.float64)
        self.minimum, self.maximum = min(self.minimum, wide.min()), max(self.maximum, wide.max())
        wide[np.abs(wide) < SMALLEST] = 0.0
        buckets, counts = np.unique(wide.view(np.int64) >> _SHIFT, return_counts=True)
        self._add_counts(buckets, counts)

    def merge(self, other: ValueSketch) -> None:
        """Takes in what another has seen."""
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self._add_counts(other._buckets, other._counts)

    def _add_counts(self, buckets: Counts, counts: Counts) -> None:
        merged, index = np.unique(np.concatenate([self._buckets, buckets]), return_inverse=True)
        total = np.zeros(len(merged), np.int64)
        np.add.at(total, index, np.concatenate([self._counts, counts]))
        self._buckets, self._counts = merged, total
        self.count += int(counts.sum())

    def quantiles(self, levels: Sequence[float]) -> list[float]:
        """The number below which that share of the values lies, for each level; NaN if there is no value."""
        if not self.count:
            return [float("nan")] * len(levels)
        values, counts = self.histogram()
        index = np.searchsorted(np.cumsum(counts), np.asarray(levels) * self.count)
        found = values[np.minimum(index, len(values) - 1)]
        return [float(value) for value in np.clip(found, self.minimum, self.maximum)]

    def histogram(self) -> tuple[Values, Counts]:
        """A number in the middle of each bucket, ascending, and how many values are in it."""
        middles = ((self._buckets << _SHIFT) + (1 << (_SHIFT - 1))).view(np.float64)
        middles[np.abs(middles) < SMALLEST] = 0.0
        order = np.argsort(middles)
        return middles[order], self._counts[order]
