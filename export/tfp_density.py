"""The density in TFP's own ops."""

from __future__ import annotations

import dataclasses
from typing import Any

import tensorflow as tf

from export.bijector_walk import forward, inverse
from maf.routing import make_bijector_kwargs


@dataclasses.dataclass(frozen=True, slots=True)
class TfpDensity:
    """A `tfd.TransformedDistribution` as TFP computes it.

    `inverse` costs one network per autoregressive layer, `forward` D + 1 of them, one after the other in a loop.
    """

    distribution: Any

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
