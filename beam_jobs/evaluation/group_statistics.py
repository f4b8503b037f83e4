"""What is accumulated for a group of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beam_jobs.evaluation.base_space import BaseSpaceCounts
from beam_jobs.evaluation.moments import Moments
from beam_jobs.evaluation.value_sketch import ValueSketch

if TYPE_CHECKING:
    from maf_serving.arrow_columns import Floats


class GroupStatistics:
    """Statistics of rows that the model has answered.

    Attributes:
      rows: how many.
      log_prob: moments of the finite ones, in nats.
      sketch: for their quantiles.
      z: moments of the finite points in base space.
      base_space: where all of them lie.
    """

    def __init__(self, dimensions: int) -> None:
        self.rows = 0
        self.log_prob = Moments(1)
        self.sketch = ValueSketch()
        self.z = Moments(dimensions)
        self.base_space = BaseSpaceCounts(dimensions)

    def add(self, z: Floats, log_prob: Floats) -> None:
        """Takes in rows: z `[B, D]`, log_prob `[B]`, minus infinity where the density is zero."""
        self.rows += len(log_prob)
        finite = log_prob[np.isfinite(log_prob)]
        self.log_prob.add(finite[:, np.newaxis])
        self.sketch.add(finite)
        self.z.add(z[np.isfinite(z).all(axis=1)])
        self.base_space.add(z)

    def merge(self, other: GroupStatistics) -> None:
        """Takes in what another has seen."""
        self.rows += other.rows
        self.log_prob.merge(other.log_prob)
        self.sketch.merge(other.sketch)
        self.z.merge(other.z)
        self.base_space.merge(other.base_space)
