"""The one interface between the mathematics of a model and the signatures that serve it."""

from __future__ import annotations

from typing import Protocol

import tensorflow as tf


class Density(Protocol):
    """p(x | c) as an invertible map between x and base space z, in TensorFlow ops.

    `conditional_input` is `[B, C]`, or `None` for an unconditional model. Rows are finite, equal in number, and
    independent of each other. An unused output costs little.
    """

    def inverse(self, x: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` `[B, D]` to `z` `[B, D]` and `log_prob` `[B]` of x, nats."""
        ...

    def forward(self, z: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` `[B, D]` to `x` `[B, D]` and `log_prob` `[B]` of x, nats."""
        ...
