"""Draws from a flow's base distribution, row by row from seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from export.errors import ModelError
from export.row_random import row_normals, row_uniforms
from export.tfp_kind import is_kind

BaseSampler = Callable[[tf.Tensor], tf.Tensor]
"""Maps `seed` int64 `[B]` to `z` `[B, D]`; each row depends on its own seed alone."""


def make_base_sampler(base: Any) -> BaseSampler:
    """The sampler of a base distribution: a normal, or a mixture of normals with diagonal covariance.

    Args:
      base: `tfd.MultivariateNormalDiag` (or `TriL`, ...), `tfd.Independent(tfd.Normal)`, `tfd.Sample(tfd.Normal)`, or
        `tfd.MixtureSameFamily` of one of them with diagonal covariance. Event shape `[D]`, no batch shape.

    Raises:
      ModelError: for any other distribution, naming it.
    """
    if is_kind(base, "MixtureSameFamily") and _is_diagonal_normal(base.components_distribution):
        return MixtureSampler(base)
    if is_kind(base, "MultivariateNormalLinearOperator") or _is_diagonal_normal(base):
        return NormalSampler(base)
    raise ModelError(
        f"base distribution {base.name!r} is a {type(base).__name__}, which cannot be drawn from by row seeds; "
        "expected a MultivariateNormal*, Independent(Normal), Sample(Normal) or MixtureSameFamily of diagonal normals"
    )


@dataclasses.dataclass(frozen=True, slots=True)
class NormalSampler:
    """`z = loc + scale eps`."""

    base: Any

    def __call__(self, seed: tf.Tensor) -> tf.Tensor:
        """`seed` int64 `[B]` to `z` `[B, D]`."""
        eps = row_normals(seed, self.base.event_shape[0], self.base.dtype)
        if not is_kind(self.base, "MultivariateNormalLinearOperator"):
            return self.base.mean() + self.base.stddev() * eps
        z = self.base.scale.matvec(eps)
        return z if self.base.loc is None else z + self.base.loc


@dataclasses.dataclass(frozen=True, slots=True)
class MixtureSampler:
    """`z = loc_k + scale_k eps`, where one more random number of the row picks the component k."""

    base: Any

    def __call__(self, seed: tf.Tensor) -> tf.Tensor:
        """`seed` int64 `[B]` to `z` `[B, D]`."""
        components = self.base.components_distribution
        eps = row_normals(seed, self.base.event_shape[0], self.base.dtype)
        limits = tf.cumsum(self.base.mixture_distribution.probs_parameter())[:-1]  # the last share takes what is left
        uniform = row_uniforms(seed, self.base.dtype)
        component = tf.reduce_sum(tf.cast(uniform[:, tf.newaxis] >= limits, tf.int32), axis=-1)
        return tf.gather(components.mean(), component) + tf.gather(components.stddev(), component) * eps


def _is_diagonal_normal(distribution: Any) -> bool:
    if is_kind(distribution, "Independent") or is_kind(distribution, "Sample"):
        return is_kind(distribution.distribution, "Normal")
    return is_kind(distribution, "MultivariateNormalDiag")
