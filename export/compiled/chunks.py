"""Rows in chunks that stay in a core's cache, several at a time."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

CHUNK_ROWS = 512
PARALLEL_CHUNKS = 16

RowMap = Callable[[tf.Tensor, "tf.Tensor | None"], tuple[tf.Tensor, tf.Tensor]]


def map_chunks(function: RowMap, rows: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
    """`function` of chunks of the rows, put together again.

    A chain of small operations, as a draw is, cannot use a second core; two chunks of rows can. And the units of a
    chunk fit into the cache, whatever the batch: memory does not grow with it either.

    Args:
      function: maps `[b, D]` and `[b, C]` to `[b, D]` and `[b]`, each row on its own.
      rows: `[B, D]`.
      conditional_input: `[B, C]`, or `None`.

    Returns:
      `[B, D]` and `[B]`.
    """
    count = tf.shape(rows)[0]
    chunks = tf.maximum(1, -(-count // CHUNK_ROWS))
    columns = tf.TensorArray(rows.dtype, chunks, element_shape=[None, rows.shape[1]], infer_shape=False)
    values = tf.TensorArray(rows.dtype, chunks, element_shape=[None], infer_shape=False)

    def one_chunk(
        i: tf.Tensor, columns: tf.TensorArray, values: tf.TensorArray
    ) -> tuple[tf.Tensor, tf.TensorArray, tf.TensorArray]:
        chunk = slice(i * CHUNK_ROWS, (i + 1) * CHUNK_ROWS)
        condition = None if conditional_input is None else conditional_input[chunk]
        new_columns, new_values = function(rows[chunk], condition)
        return i + 1, columns.write(i, new_columns), values.write(i, new_values)

    _, columns, values = tf.while_loop(
        lambda i, *_: i < chunks, one_chunk, (0, columns, values), parallel_iterations=PARALLEL_CHUNKS
    )
    return columns.concat(), values.concat()
