"""Random numbers per row: a row's numbers depend on its own seed alone.

Counter of every draw: (index within the row, stream).
"""

from __future__ import annotations

import tensorflow as tf

from export.threefry import split_seed, threefry2x32

NORMAL_STREAM = 0
UNIFORM_STREAM = 1


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
