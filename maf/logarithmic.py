"""Event columns that are positive and better described by their logarithm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from maf.linear_start import LEAST_ERROR
from maf.ridge import fit_ridge

Array = np.ndarray[Any, Any]
CLEARLY = 0.1  # nats a row that the log scale has to gain


class Logarithmic(tfb.Bijector):  # type: ignore[misc]  # TFP is untyped
    """`x_j = exp(y_j)` for some of the columns, the identity for the others.

    A density without limit at zero, as a gamma's of shape below 1, or one that spans magnitudes, as a log-normal's,
    asks for slopes and bins that a spline does not have. Of the logarithm it is an ordinary one.

    Of a row whose x is at zero or below, where there is no density, y and `log_prob` are NaN. They are not -inf: TFP
    takes a log-determinant from the other direction where it knows y, and from there it would be any number.
    """

    def __init__(self, columns: Sequence[int], event_size: int, *, name: str = "logarithmic") -> None:
        parameters = dict(locals())
        self._logarithmic = np.isin(np.arange(event_size), list(columns))
        super().__init__(forward_min_event_ndims=0, parameters=parameters, name=name)

    def _forward(self, y: tf.Tensor) -> tf.Tensor:
        return tf.where(self._logarithmic, tf.exp(self._masked(y)), y)

    def _inverse(self, x: tf.Tensor) -> tf.Tensor:
        return tf.where(self._logarithmic, self._log(x), x)

    def _forward_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
        return self._masked(y)

    def _inverse_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return -self._masked(self._log(x))

    def _log(self, x: tf.Tensor) -> tf.Tensor:
        """NaN where x is not positive. The logarithm itself is taken of positive numbers alone, for its gradient."""
        positive = x >= least_positive(x.dtype)
        nan = tf.constant(np.nan, x.dtype)
        return tf.where(positive, tf.math.log(tf.where(positive, x, tf.ones_like(x))), nan)

    def _masked(self, values: tf.Tensor) -> tf.Tensor:
        """Zeros in place of columns that the map leaves alone: their overflow would spoil the gradient of `where`."""
        return tf.where(self._logarithmic, values, tf.zeros_like(values))


def least_positive(dtype: Any) -> float:
    """The least number of `dtype` that hardware does not take for zero."""
    return float(np.finfo(tf.as_dtype(dtype).as_numpy_dtype).tiny)


def find_logarithmic(columns: Array, regressors: Array) -> tuple[int, ...]:
    """Which of the event columns `[N, D]` are better described by their logarithm.

    Both scales are judged by what training starts at: the likelihood, in raw units, of a normal whose mean is a ridge
    regression on the condition. A condition that explains why a column is skewed, or why it spans magnitudes, counts
    for the scale on which it explains it. Columns with a value at or below zero are none.

    Args:
      columns: float64.
      regressors: `[N, C]`, standardised condition of the same rows, C may be 0.
    """
    return tuple(
        index
        for index, column in enumerate(columns.T)
        if (column > 0).all() and _normal_cost(column, regressors) - _log_cost(column, regressors) > CLEARLY
    )


def _log_cost(column: Array, regressors: Array) -> float:
    logs = np.log(column)
    return _normal_cost(logs, regressors) + float(logs.mean())


def _normal_cost(column: Array, regressors: Array) -> float:
    """NLL of a normal around the regression, but for what all columns have in common."""
    deviation = float(column.std())
    if deviation == 0:
        return -np.inf
    standard = (column - column.mean()) / deviation
    error = fit_ridge(regressors, standard[:, np.newaxis]).error[0] if regressors.shape[1] else 1.0
    return float(np.log(deviation) + np.log(max(error, LEAST_ERROR)))
