"""From rows to columns and back: `[B, K]` and `[K, B]`.

`tf.transpose` becomes oneDNN's on a CPU, which takes some 60 us to prepare each call: for a small batch as long as five
matrix products. `SpaceToBatchND` of a row-major tensor with blocks of K moves the same numbers, and starts at once.
"""

from __future__ import annotations

import tensorflow as tf

MOST_COLUMNS = 64  # with more, oneDNN is quicker, the preparation included


def to_columns(tensor: tf.Tensor) -> tf.Tensor:
    """`[B, K]` to `[K, B]`."""
    size = tensor.shape[1]
    if size > MOST_COLUMNS:
        return tf.transpose(tensor)
    spread = tf.raw_ops.SpaceToBatchND(input=tf.reshape(tensor, [1, -1, 1]), block_shape=[size], paddings=[[0, 0]])
    return tf.reshape(spread, tf.stack([size, tf.shape(tensor)[0]]))


def to_rows(tensor: tf.Tensor) -> tf.Tensor:
    """`[K, B]` to `[B, K]`."""
    size = tensor.shape[0]
    if size > MOST_COLUMNS:
        return tf.transpose(tensor)
    gathered = tf.raw_ops.BatchToSpaceND(input=tensor[:, :, tf.newaxis], block_shape=[size], crops=[[0, 0]])
    return tf.reshape(gathered, tf.stack([tf.shape(tensor)[1], size]))
