"""Draws from a flow's base distribution: random numbers that depend on a row's own seed alone.

The counter of every draw is (index within the row, stream); the bits are those of Threefry 2x32 with 20 rounds, in
plain TensorFlow ops.

Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). The bits of one row depend on its
own key alone, whatever the batch; `tf.random.stateless_*` takes one seed for a whole batch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from export.errors import ModelError
from maf.routing import is_kind

BaseSampler = Callable[[tf.Tensor], tf.Tensor]
"""Maps `seed` int64 `[B]` to `z` `[B, D]`; each row depends on its own seed alone."""
NORMAL_STREAM = 0
UNIFORM_STREAM = 1
SHIFT_STREAM = 2
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


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


def row_normals(seed: tf.Tensor, size: int, dtype: tf.DType) -> tf.Tensor:
    """Standard normals `[B, size]` for `seed` int64 `[B]`.

    Inverse distribution function of 32 random bits (float32, out to 6.3 standard deviations) or 64 (float64, out to
    9.1): the top bit is the sign and the rest a probability in (0, 1/2], where floating point is fine-grained, so both
    tails are complete and no draw is infinite.
    """
    double = dtype == tf.float64
    high, low = _words(seed, size if double else (size + 1) // 2, NORMAL_STREAM)
    if double:
        return _normal(high, tf.cast(low, dtype) + 0.5, dtype)
    words = tf.concat([high, low], axis=-1)[:, :size]
    return _normal(words, tf.constant(2.0**31, dtype), dtype)


def row_uniforms(seed: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Uniforms `[B]` in (0, 1) for `seed` int64 `[B]`, on a grid of 2^-23 or 2^-52; independent of `row_normals`."""
    double = dtype == tf.float64
    high, low = _words(seed, 1, UNIFORM_STREAM)
    if double:
        low = tf.bitwise.right_shift(low, tf.constant(12, tf.uint32))
        return (tf.cast(high, dtype) * 2.0**20 + tf.cast(low, dtype) + 0.5)[:, 0] * 2.0**-52
    high = tf.bitwise.right_shift(high, tf.constant(9, tf.uint32))
    return (tf.cast(high, dtype) + 0.5)[:, 0] * 2.0**-23


def shift_uniforms(seed: tf.Tensor, size: int, dtype: tf.DType) -> tf.Tensor:
    """Uniforms `[B, size]` in (0, 1) for `seed` int64 `[B]`: odd multiples of 2^-24, independent of the two above."""
    high, _ = _words(seed, size, SHIFT_STREAM)
    high = tf.bitwise.right_shift(high, tf.constant(9, tf.uint32))
    return (tf.cast(high, dtype) + 0.5) * 2.0**-23


def _words(seed: tf.Tensor, size: int, stream: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Two random words `[B, size]` each."""
    key = split_seed(seed)
    counter = tf.range(size, dtype=tf.int64)
    return threefry2x32(
        (key[0][:, tf.newaxis], key[1][:, tf.newaxis]),
        (tf.cast(counter, tf.uint32)[tf.newaxis, :], tf.constant(stream, tf.uint32)),
    )


def _normal(high: tf.Tensor, low: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Standard normal from a sign bit and 63 more: 31 in `high`, the rest in `low`, a float in (0, 2^32)."""
    sign = tf.cast(tf.bitwise.right_shift(high, tf.constant(31, tf.uint32)), dtype)
    magnitude = tf.cast(tf.bitwise.bitwise_and(high, tf.constant(0x7FFFFFFF, tf.uint32)), dtype)
    return (1 - 2 * sign) * tf.math.ndtri(magnitude * 2.0**-32 + low * 2.0**-64)


def threefry2x32(key: tuple[tf.Tensor, tf.Tensor], counter: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """The two random words of `counter` under `key`.

    About 120 elementwise ops on the broadcast shape of key and counter.

    Args:
      key: two uint32 words, shapes that broadcast with the counter's.
      counter: two uint32 words.

    Returns:
      Two uint32 words.
    """
    keys = (*key, tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(*key), tf.constant(_PARITY, tf.uint32)))
    word0, word1 = counter[0] + keys[0], counter[1] + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            word0 += word1
            word1 = tf.bitwise.bitwise_xor(_rotate_left(word1, rotation), word0)
        word0 += keys[(group + 1) % 3]
        word1 += keys[(group + 2) % 3] + tf.constant(group + 1, tf.uint32)
    return word0, word1


def split_seed(seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The two words, uint32 `[B]` each, of an int64 `seed` `[B]`: a key of its own for every seed, low word first."""
    words = tf.bitcast(seed, tf.uint32)  # [B, 2]
    return words[:, 0], words[:, 1]


def _rotate_left(word: tf.Tensor, bits: int) -> tf.Tensor:
    left = tf.bitwise.left_shift(word, tf.constant(bits, tf.uint32))
    return tf.bitwise.bitwise_or(left, tf.bitwise.right_shift(word, tf.constant(32 - bits, tf.uint32)))
