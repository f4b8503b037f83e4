"""The density in TFP's own ops: the value and the log-determinant of each bijector together, layer by layer.

TFP computes the two apart, and each evaluates the network of every autoregressive layer. It also cannot trace a
sampling loop over one event column for an unknown number of rows: the loop loses its static shape.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from maf.routing import is_kind, make_bijector_kwargs

Kwargs = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class TfpDensity:
    """A `tfd.TransformedDistribution` as TFP computes it.

    `inverse` costs one network per autoregressive layer, `forward` D + 1 of them, one after the other in a loop.
    """

    distribution: Any

    @property
    def few(self) -> None:
        """None: nobody knows what NaN does to TFP's ops."""
        return

    def inverse(self, x: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` `[B, D]` to `z` `[B, D]` and `log_prob` `[B]` of x, nats."""
        z, log_det = inverse(self.distribution.bijector, x, self._bijector_kwargs(conditional_input))
        return z, self.distribution.distribution.log_prob(z) + log_det

    def forward(self, z: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` `[B, D]` to `x` `[B, D]` and `log_prob` `[B]` of x, nats."""
        x, log_det = forward(self.distribution.bijector, z, self._bijector_kwargs(conditional_input))
        return x, self.distribution.distribution.log_prob(z) - log_det

    def _bijector_kwargs(self, conditional_input: tf.Tensor | None) -> dict[str, Any]:
        if conditional_input is None:
            return {}
        return make_bijector_kwargs(self.distribution.bijector, {"conditional_input": conditional_input})


def inverse(bijector: Any, x: tf.Tensor, kwargs: Kwargs) -> tuple[tf.Tensor, tf.Tensor]:
    """`z` `[B, D]` of `x` `[B, D]`, and the log-determinant `[B]` of dz/dx; `kwargs` as TFP's `inverse` takes them."""
    if is_kind(bijector, "Invert"):
        return forward(bijector.bijector, x, kwargs)
    if _is_chain_of_vectors(bijector):
        log_det = tf.zeros(tf.shape(x)[:1], x.dtype)
        for part in bijector.bijectors:
            x, part_log_det = inverse(part, x, kwargs.get(part.name, {}))
            log_det += part_log_det
        return x, log_det
    if _is_autoregressive(bijector):
        bijector, kwargs = bijector._bijector_fn(x, **kwargs), {}
    return bijector.inverse(x, **kwargs), bijector.inverse_log_det_jacobian(x, event_ndims=1, **kwargs)


def forward(bijector: Any, z: tf.Tensor, kwargs: Kwargs) -> tuple[tf.Tensor, tf.Tensor]:
    """`x` `[B, D]` of `z` `[B, D]`, and the log-determinant `[B]` of dx/dz; `kwargs` as TFP's `forward` takes them."""
    if is_kind(bijector, "Invert"):
        return inverse(bijector.bijector, z, kwargs)
    if _is_chain_of_vectors(bijector):
        log_det = tf.zeros(tf.shape(z)[:1], z.dtype)
        for part in reversed(bijector.bijectors):
            z, part_log_det = forward(part, z, kwargs.get(part.name, {}))
            log_det += part_log_det
        return z, log_det
    if _is_autoregressive(bijector):
        x = _autoregressive_forward(bijector, z, kwargs)
        return x, bijector._bijector_fn(x, **kwargs).forward_log_det_jacobian(z, event_ndims=1)
    return bijector.forward(z, **kwargs), bijector.forward_log_det_jacobian(z, event_ndims=1, **kwargs)


def _autoregressive_forward(bijector: Any, z: tf.Tensor, kwargs: Kwargs) -> tf.Tensor:
    """After i rounds the first i columns (in autoregressive order) are right."""

    def one_more_column(x: tf.Tensor) -> tuple[tf.Tensor]:
        return (tf.ensure_shape(bijector._bijector_fn(x, **kwargs).forward(z), z.shape),)

    (x,) = tf.while_loop(lambda _: True, one_more_column, (tf.zeros_like(z),), maximum_iterations=z.shape[-1])
    return x


def _is_chain_of_vectors(bijector: Any) -> bool:
    """Whether this is a chain whose parts all map rows of `[B, D]`."""
    return is_kind(bijector, "Chain") and all(
        max(part.forward_min_event_ndims, part.inverse_min_event_ndims) <= 1 for part in bijector.bijectors
    )


def _is_autoregressive(bijector: Any) -> bool:
    return is_kind(bijector, "MaskedAutoregressiveFlow") and bijector._event_ndims == 1
