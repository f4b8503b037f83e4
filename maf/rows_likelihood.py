"""The log-likelihood of rows as they are kept, in batches."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from maf.likelihood import log_prob
from maf.raw_condition import RawCondition

Array = np.ndarray[Any, Any]
EVALUATION_ROWS = 16_384


class RowsLikelihood:
    """`log_prob` on rows whose event and conditional columns lie side by side."""

    def __init__(self, distribution: Any, event_size: int, condition: RawCondition | None) -> None:
        self._distribution = distribution
        self._condition = condition
        self._event_size = event_size
        self._dtype = distribution.distribution.dtype.as_numpy_dtype
        self._traced: Any = None

    def tensor(self, rows: Array) -> tf.Tensor:
        """`rows` in the model's dtype."""
        return tf.constant(np.asarray(rows, self._dtype))

    def log_prob(self, rows: tf.Tensor) -> tf.Tensor:
        """`[N]` of `rows` `[N, D + K]`, nats."""
        x, c = rows[:, : self._event_size], rows[:, self._event_size :]
        if self._condition is not None:
            c = self._condition.encode(c)
        return log_prob(self._distribution, x, c if rows.shape[1] > self._event_size else None)

    def evaluate(self, rows: Array) -> Array:
        """`log_prob` of all `rows`, `[N]` float64."""
        if self._traced is None:
            shape = tf.TensorSpec([None, rows.shape[1]], self._dtype)
            self._traced = tf.function(self.log_prob, input_signature=[shape])
        parts = [
            self._traced(self.tensor(rows[i : i + EVALUATION_ROWS])).numpy()
            for i in range(0, len(rows), EVALUATION_ROWS)
        ]
        return np.concatenate(parts).astype(np.float64)

    def nll(self, rows: Array) -> float:
        """Mean over `rows`, nats."""
        return float(-self.evaluate(rows).mean())
