"""The statistics of a whole evaluation: of all rows, of each group, and of draws from the model's base.

All of them can be merged, whatever the order.

A value is counted under its sign, its exponent and the first bits of its mantissa, as in DDSketch [1] with buckets that
floating point has already. Integer counts add up to the same whatever the order and the split, so quantiles do not
depend on the runner.

[1] Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees" (2019).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt

from beam_jobs.errors import JobError
from beam_jobs.evaluation.base_space import BaseSpaceCounts
from beam_jobs.rows import NULL_GROUP, Grouping, count_groups
from maf_serving.arrow_columns import to_floats
from maf_serving.moments import Moments
from maf_serving.rejection import RejectedRows, reject
from maf_serving.weights import WeightedMoments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa

    from maf_serving.arrow_columns import Floats
    from maf_serving.validation import ScoreableRows

Vector = npt.NDArray[np.float64]
NOT_A_WEIGHT = "not a weight"
_MANTISSA_BITS = 52
_KEPT_BITS = 11
_SHIFT = _MANTISSA_BITS - _KEPT_BITS
# Half the width of a bucket, of the smallest number in it.
RELATIVE_ERROR = 2.0 ** -(_KEPT_BITS + 1)
# Smaller numbers are counted as zero, so that there are not buckets without end around it.
SMALLEST = 2.0**-30
Values = npt.NDArray[np.float64]
Counts = npt.NDArray[Any]  # int64, or float64 of weighted rows


class Statistics:
    """Sums of an evaluation, or of a part of one."""

    def __init__(self, dimensions: int, grouping: Grouping) -> None:
        self.overall = GroupStatistics(dimensions)
        self.groups: dict[str, GroupStatistics] = {}
        self.base_draws = BaseSpaceCounts(dimensions)
        self._dimensions = dimensions
        self._grouping = grouping

    def add(self, z: Floats, log_prob: Floats, groups: pa.StringArray | None, weights: Vector | None = None) -> None:
        """Takes in rows.

        Args:
          z: `[B, D]`.
          log_prob: `[B]`.
          groups: of which group each row is, or `None` if that was not asked for.
          weights: `[B]`, above 0, or `None` if all count alike.

        Raises:
          JobError: there are too many groups.
        """
        self.overall.add(z, log_prob, weights)
        if groups is None:
            return
        encoded = groups.fill_null(NULL_GROUP).dictionary_encode()
        index = encoded.indices.to_numpy(zero_copy_only=False)
        for number, name in enumerate(encoded.dictionary.to_pylist()):
            mine = index == number
            self._group(name).add(z[mine], log_prob[mine], None if weights is None else weights[mine])

    def merge(self, other: Statistics) -> None:
        """Takes in what another has seen. Raises `JobError` if there are too many groups."""
        self.overall.merge(other.overall)
        self.base_draws.merge(other.base_draws)
        for name, group in other.groups.items():
            self._group(name).merge(group)

    def _group(self, name: str) -> GroupStatistics:
        if name not in self.groups:
            check_room(self.groups, self._grouping)
            self.groups[name] = GroupStatistics(self._dimensions)
        return self.groups[name]


def check_room(groups: Mapping[str, object], grouping: Grouping) -> None:
    """Raises `JobError` if there may be no more groups."""
    if len(groups) >= grouping.max_groups:
        raise JobError(
            f"--group_column {grouping.column} has more than {grouping.max_groups} values; "
            "name a column with fewer, or raise --max_groups"
        )


class MergeAll(beam.CombineFn):  # type: ignore[misc]  # Beam is untyped here
    """Merges what bundles have seen: `Statistics`, or anything else that takes in another of its kind by `merge`."""

    def __init__(self, make: Callable[[], Any]) -> None:
        """`make` gives what has seen nothing."""
        super().__init__()
        self._make = make

    def create_accumulator(self) -> Any:
        """What has seen nothing."""
        return self._make()

    def add_input(self, mutable_accumulator: Any, element: Any) -> Any:
        """Takes in a bundle."""
        mutable_accumulator.merge(element)
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        """Merges those of several workers."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: Any) -> Any:
        """What has seen all."""
        return accumulator


def read_weights(batch: ScoreableRows, column: str, group_column: str | None) -> tuple[Vector, RejectedRows | None]:
    """How much each row counts, float64 `[B]`, NaN where nothing says so; and such rows, with their reasons."""
    weights: Vector = to_floats(batch.columns.column(column)).astype(np.float64)
    wrong = ~(np.isfinite(weights) & (weights >= 0))
    weights[wrong] = np.nan
    if not wrong.any():
        return weights, None
    refused = batch.filter(wrong)
    reasons = [f"{column}: {NOT_A_WEIGHT}: {value}" for value in refused.columns.column(column).to_pylist()]
    rejected = reject(refused.file, refused.rows, reasons, {NOT_A_WEIGHT: len(reasons)})
    if group_column is not None:
        rejected = rejected.with_groups(count_groups(refused.columns.column(group_column)))
    return weights, rejected


def finite_points(z: Floats) -> Floats:
    """The points `[*, D]` without those that are not finite."""
    points: Floats = z[np.isfinite(z).all(axis=1)]
    return points


class GroupStatistics:
    """Statistics of rows that the model has answered.

    Attributes:
      rows: how many; `is_weighted`: whether they have weights.
      weight, squared_weight: sums of their weights, and of the squares of these; 1 each where they have none.
      log_prob: moments of the finite ones, in nats.
      sketch: for their quantiles.
      z: moments of the finite points in base space.
      base_space: where all of them lie.
    """

    def __init__(self, dimensions: int) -> None:
        self.rows = 0
        self.is_weighted = False
        self.weight = self.squared_weight = 0.0
        self.log_prob = WeightedMoments(1)
        self.sketch = ValueSketch()
        self.z = Moments(dimensions)
        self.base_space = BaseSpaceCounts(dimensions)

    def add(self, z: Floats, log_prob: Floats, weights: Vector | None = None) -> None:
        """Takes in rows: z `[B, D]`, log_prob `[B]`, minus infinity where the density is zero, and weights `[B]`."""
        self.rows += len(log_prob)
        self.is_weighted |= weights is not None
        self.weight += len(log_prob) if weights is None else float(weights.sum())
        self.squared_weight += len(log_prob) if weights is None else float(np.square(weights).sum())
        known, near = np.isfinite(log_prob), np.isfinite(z).all(axis=1)
        finite = log_prob[known]
        counting = None if weights is None else weights[known]
        self.log_prob.add(finite[:, np.newaxis], counting)
        self.sketch.add(finite, counting)
        self.z.add(z[near], None if weights is None else weights[near])
        self.base_space.add(z, weights)

    @property
    def effective_rows(self) -> float:
        """As how many rows of equal weight these tell (Kish)."""
        return self.weight**2 / self.squared_weight if self.rows else 0.0

    def merge(self, other: GroupStatistics) -> None:
        """Takes in what another has seen."""
        self.rows += other.rows
        self.is_weighted |= other.is_weighted
        self.weight += other.weight
        self.squared_weight += other.squared_weight
        self.log_prob.merge(other.log_prob)
        self.sketch.merge(other.sketch)
        self.z.merge(other.z)
        self.base_space.merge(other.base_space)


class ValueSketch:
    """Counts of finite numbers by bucket. Memory: a bucket for each 1/2048 by which values differ."""

    def __init__(self) -> None:
        self.count: float = 0
        self.minimum = np.inf
        self.maximum = -np.inf
        self._buckets: Counts = np.zeros(0, np.int64)
        self._counts: Counts = np.zeros(0, np.int64)

    def add(self, values: Floats, weights: Vector | None = None) -> None:
        """Takes in finite numbers `[B]`, each as often as its weight in `weights` `[B]`, above 0, says."""
        if not len(values):
            return
        wide = values.astype(np.float64)
        self.minimum, self.maximum = min(self.minimum, wide.min()), max(self.maximum, wide.max())
        wide[np.abs(wide) < SMALLEST] = 0.0
        buckets, places = np.unique(wide.view(np.int64) >> _SHIFT, return_inverse=True)
        self._add_counts(buckets, np.bincount(places.ravel(), weights))

    def merge(self, other: ValueSketch) -> None:
        """Takes in what another has seen."""
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self._add_counts(other._buckets, other._counts)

    def _add_counts(self, buckets: Counts, counts: Counts) -> None:
        merged, index = np.unique(np.concatenate([self._buckets, buckets]), return_inverse=True)
        added = np.concatenate([self._counts, counts])
        total = np.zeros(len(merged), added.dtype)
        np.add.at(total, index, added)
        self._buckets, self._counts = merged, total
        self.count += counts.sum().item()

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
