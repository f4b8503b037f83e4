"""The run's model, asked in batches of rows with numpy arrays."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from maf.condition_encoder import condition_encoders
from maf.likelihood import log_prob
from maf.routing import make_bijector_kwargs
from maf.rows import RowEncoder

if TYPE_CHECKING:
    from maf_serving.columns import ConditionColumn

Array = np.ndarray[Any, Any]
BATCH_ROWS = 4_096


class ReportModel:
    """log p(x | c), and draws of x, of a trained `tfd.TransformedDistribution`; raw units, nats.

    Conditions are rows of raw columns, `[N, K]`.

    Attributes:
      event_size: D.
    """

    def __init__(self, distribution: Any, columns: Sequence[ConditionColumn] = ()) -> None:
        encoders = condition_encoders(distribution)
        self._condition = RowEncoder.of(columns, encoders[0].loc.numpy()) if encoders else None
        self.event_size = int(distribution.event_shape[0])
        self._distribution = distribution
        self._dtype = distribution.dtype
        self._log_prob = tf.function(self._density, autograph=False)
        self._sample = tf.function(self._draw, autograph=False)

    def log_prob(self, x: Array, c: Array) -> Array:
        """`[N]` float64, of x `[N, D]` given c `[N, K]`."""
        return self._in_batches(self._log_prob, x, c)

    def sample(self, c: Array, *, seed: int) -> Array:
        """One draw `[N, D]` float64 for each of the conditions `[N, K]`; K may be 0."""
        batches = itertools.count()
        return self._in_batches(lambda c: self._sample(c, tf.constant([seed, next(batches)], tf.int32)), c)

    def _in_batches(self, function: Callable[..., tf.Tensor], *arrays: Array) -> Array:
        """What `function` makes of all rows. Batches are of one size, the last is filled up: one graph does for all."""
        rows = len(arrays[0])
        parts = [
            function(*(self._batch(array, start) for array in arrays)).numpy()[: rows - start]
            for start in range(0, rows, BATCH_ROWS)
        ]
        return np.concatenate(parts).astype(np.float64)

    def _batch(self, array: Array, start: int) -> tf.Tensor:
        has_times = self._condition is not None and self._condition.has_times
        dtype = np.float64 if has_times else self._dtype.as_numpy_dtype
        batch = np.asarray(array[start : start + BATCH_ROWS], dtype)
        return tf.constant(np.pad(batch, ((0, BATCH_ROWS - len(batch)), (0, 0)), mode="edge"))

    def _density(self, x: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
        return log_prob(self._distribution, tf.cast(x, self._dtype), self._encoded(c) if c.shape[1] else None)

    def _draw(self, c: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        condition = {"conditional_input": self._encoded(c)} if c.shape[1] else {}
        kwargs = make_bijector_kwargs(self._distribution.bijector, condition) if condition else {}
        return self._distribution.sample(tf.shape(c)[0], seed=seed, bijector_kwargs=kwargs)

    def _encoded(self, c: tf.Tensor) -> tf.Tensor:
        return c if self._condition is None else tf.cast(self._condition.encode(c), self._dtype)
