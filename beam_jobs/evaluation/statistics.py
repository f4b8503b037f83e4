"""The statistics of a whole evaluation: of all rows, of each group, and of draws from the model's base."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np

from beam_jobs.errors import JobError
from beam_jobs.evaluation.base_space import BaseSpaceCounts
from beam_jobs.evaluation.group_statistics import GroupStatistics
from beam_jobs.groups import NULL_GROUP, Grouping

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from maf_serving.arrow_columns import Floats


class Statistics:
    """Sums of an evaluation, or of a part of one."""

    def __init__(self, dimensions: int, grouping: Grouping) -> None:
        self.overall = GroupStatistics(dimensions)
        self.groups: dict[str, GroupStatistics] = {}
        self.base_draws = BaseSpaceCounts(dimensions)
        self._dimensions = dimensions
        self._grouping = grouping

    def add(self, z: Floats, log_prob: Floats, groups: pa.StringArray | None) -> None:
        """Takes in rows: z `[B, D]`, log_prob `[B]`, and of which group each is, or `None` if that was not asked for.

        Raises:
          JobError: there are too many groups.
        """
        self.overall.add(z, log_prob)
        if groups is None:
            return
        encoded = groups.fill_null(NULL_GROUP).dictionary_encode()
        index = encoded.indices.to_numpy(zero_copy_only=False)
        for number, name in enumerate(encoded.dictionary.to_pylist()):
            mine = index == number
            self._group(name).add(z[mine], log_prob[mine])

    def merge(self, other: Statistics) -> None:
        """Takes in what another has seen. Raises `JobError` if there are too many groups."""
        self.overall.merge(other.overall)
        self.base_draws.merge(other.base_draws)
        for name, group in other.groups.items():
            self._group(name).merge(group)

    def _group(self, name: str) -> GroupStatistics:
        if name not in self.groups:
            if len(self.groups) >= self._grouping.max_groups:
                raise JobError(
                    f"--group_column {self._grouping.column} has more than {self._grouping.max_groups} values; "
                    "name a column with fewer, or raise --max_groups"
                )
            self.groups[name] = GroupStatistics(self._dimensions)
        return self.groups[name]


class MergeStatistics(beam.CombineFn):  # type: ignore[misc]  # Beam is untyped here
    """Merges `Statistics` of bundles."""

    def __init__(self, dimensions: int, grouping: Grouping) -> None:
        super().__init__()
        self._dimensions = dimensions
        self._grouping = grouping

    def create_accumulator(self) -> Statistics:
        """The statistics of nothing."""
        return Statistics(self._dimensions, self._grouping)

    def add_input(self, mutable_accumulator: Statistics, element: Statistics) -> Statistics:
        """Takes in a bundle."""
        mutable_accumulator.merge(element)
        return mutable_accumulator

    def merge_accumulators(self, accumulators: Iterable[Statistics]) -> Statistics:
        """Merges those of several workers."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            merged.merge(accumulator)
        return merged

    def extract_output(self, accumulator: Statistics) -> Statistics:
        """The statistics themselves."""
        return accumulator


def finite_points(z: Floats) -> Floats:
    """The points `[*, D]` without those that are not finite."""
    points: Floats = z[np.isfinite(z).all(axis=1)]
    return points
