"""Scales of event columns that a normal base cannot stand for: the logarithm of positive ones, and heavy tails."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

Array = np.ndarray[Any, Any]


def least_positive(dtype: Any) -> float:
    """The least number of `dtype` that hardware does not take for zero."""
    return float(np.finfo(tf.as_dtype(dtype).as_numpy_dtype).tiny)


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


class HeavyTails(tfb.Bijector):  # type: ignore[misc]  # TFP is untyped
    """`x_j = sinh(z_j)` for some of the columns, the identity for the others.

    A spline layer is the identity beyond its range and the base is normal: a row at 1,000 deviations, as a Cauchy
    column has them, would cost 500,000 nats and all of the gradient. On an asinh scale it is at 8. Near the middle the
    map is the identity up to third order.
    """

    def __init__(self, columns: Sequence[int], event_size: int, *, name: str = "heavy_tails") -> None:
        parameters = dict(locals())
        self._heavy = np.isin(np.arange(event_size), list(columns))
        super().__init__(forward_min_event_ndims=0, parameters=parameters, name=name)

    def _forward(self, z: tf.Tensor) -> tf.Tensor:
        return tf.where(self._heavy, tf.sinh(self._masked(z)), z)

    def _inverse(self, x: tf.Tensor) -> tf.Tensor:
        return tf.where(self._heavy, tf.asinh(self._masked(x)), x)

    def _forward_log_det_jacobian(self, z: tf.Tensor) -> tf.Tensor:
        size = tf.abs(self._masked(z))
        log_cosh = size + tf.math.log1p(tf.exp(-2 * size)) - tf.cast(np.log(2.0), z.dtype)
        return tf.where(self._heavy, log_cosh, tf.zeros_like(z))

    def _inverse_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        # log sqrt(1 + x^2) with nothing squared that could overflow
        return -self._forward_log_det_jacobian(tf.asinh(self._masked(x)))

    def _masked(self, values: tf.Tensor) -> tf.Tensor:
        """Zeros in place of columns that the map leaves alone: their overflow would spoil the gradient of `where`."""
        return tf.where(self._heavy, values, tf.zeros_like(values))
