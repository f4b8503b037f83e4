"""The log-likelihood of rows under a flow, at half of TFP's cost; of tensors, and of rows as they are kept."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from maf.condition_encoder import condition_encoders
from maf.layers import SplineConditioner
from maf.routing import make_bijector_kwargs
from maf_serving.weights import mean_and_error

if TYPE_CHECKING:
    from maf.rows import RowEncoder

Array = np.ndarray[Any, Any]
EVALUATION_ROWS = 16_384


def log_prob(distribution: Any, x: tf.Tensor, conditional_input: tf.Tensor | None = None) -> tf.Tensor:
    """`distribution.log_prob` with the routing done, and every network evaluated once.

        >>> flow = build_flow(FlowConfig(event_size=2, condition_size=1, num_layers=2))
        >>> kwargs = make_bijector_kwargs(flow.bijector, {"conditional_input": c})
        >>> np.allclose(log_prob(flow, x, c), flow.log_prob(x, bijector_kwargs=kwargs), atol=1e-5)
        True

    TFP asks an autoregressive layer for its inverse and then for its log-determinant, and each evaluates the layer's
    network. Here a layer's inner bijector is made once and asked for both, and a spline of ours answers both at once;
    every other bijector is asked as TFP does. An encoder that layers share encodes once.

    Args:
      distribution: a `tfd.TransformedDistribution`.
      x: `[B, D]`, raw units.
      conditional_input: `[B, C]`, raw units, or `None` for an unconditional flow.

    Returns:
      `[B]`, nats.
    """
    kwargs = {} if conditional_input is None else {"conditional_input": conditional_input}
    bijector = distribution.bijector
    with contextlib.ExitStack() as stack:
        for encoder in condition_encoders(distribution):
            stack.enter_context(encoder.encoding_once())
        z, log_det = _inverse(bijector, x, make_bijector_kwargs(bijector, kwargs))
    return distribution.distribution.log_prob(z) + log_det


def _inverse(bijector: Any, x: tf.Tensor, kwargs: dict[str, Any]) -> tuple[tf.Tensor, tf.Tensor]:
    """`inverse(x)` and its log-determinant over the event `[D]`."""
    if type(bijector).__name__ in {"Chain", "_Chain"}:
        total = tf.zeros(tf.shape(x)[:-1], x.dtype)
        for part in bijector.bijectors:
            x, log_det = _inverse(part, x, kwargs.get(part.name, {}))
            total += log_det
        return x, total
    if isinstance(bijector, tfb.MaskedAutoregressiveFlow) and isinstance(bijector._bijector_fn, SplineConditioner):
        z, log_derivative = bijector._bijector_fn.inverse(x, **kwargs)
        return z, tf.reduce_sum(log_derivative, axis=-1)
    if isinstance(bijector, tfb.MaskedAutoregressiveFlow):
        bijector, kwargs = bijector._bijector_fn(x, **kwargs), {}
    return bijector.inverse(x, **kwargs), bijector.inverse_log_det_jacobian(x, event_ndims=1, **kwargs)


class RowsLikelihood:
    """`log_prob` on rows whose event and conditional columns lie side by side."""

    def __init__(self, distribution: Any, event_size: int, condition: RowEncoder | None) -> None:
        self._distribution = distribution
        self._condition = condition
        self._event_size = event_size
        self._dtype = distribution.distribution.dtype
        self._rows_dtype = np.float64 if condition is not None and condition.has_times else self._dtype.as_numpy_dtype
        self._traced: Any = None

    def tensor(self, rows: Array) -> tf.Tensor:
        """`rows` in the model's dtype; with points in time in float64."""
        return tf.constant(np.asarray(rows, self._rows_dtype))

    def log_prob(self, rows: tf.Tensor) -> tf.Tensor:
        """`[N]` of `rows` `[N, D + K]`, nats."""
        x, c = tf.cast(rows[:, : self._event_size], self._dtype), rows[:, self._event_size :]
        if self._condition is not None:
            c = tf.cast(self._condition.encode(c), self._dtype)
        return log_prob(self._distribution, x, c if rows.shape[1] > self._event_size else None)

    def evaluate(self, rows: Array) -> Array:
        """`log_prob` of all `rows`, `[N]` float64."""
        if self._traced is None:
            shape = tf.TensorSpec([None, rows.shape[1]], self._rows_dtype)
            self._traced = tf.function(self.log_prob, input_signature=[shape], autograph=False)
        parts = [
            self._traced(self.tensor(rows[i : i + EVALUATION_ROWS])).numpy()
            for i in range(0, len(rows), EVALUATION_ROWS)
        ]
        return np.concatenate(parts).astype(np.float64)

    def mean_nll(self, rows: Array, weights: Array | None = None) -> tuple[float, float]:
        """Mean NLL of `rows` `[N, D + K]` and its standard error, in nats, by `weights` `[N]` if they have some.

        A weight says how much a row counts, not that it was seen so often: few heavy rows make the mean uncertain.
        """
        return mean_and_error(-self.evaluate(rows), weights)

    def nll(self, rows: Array, weights: Array | None = None) -> float:
        """Mean over `rows`, by `weights` `[N]` if they have some, nats."""
        return float(-np.average(self.evaluate(rows), weights=weights))
