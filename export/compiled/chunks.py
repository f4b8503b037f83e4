"""Rows in chunks that stay in a core's cache, as many at a time as there are cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

MOST_ROWS = 512  # of a chunk: the units of a layer fit into a core's cache
LEAST_ROWS = (
    64  # of a chunk where a batch would fit into one: below it, reading the weights takes longer than using them
)
ALIGNED_ROWS = 16  # chunks are multiples of it: slices of their tensors share memory instead of being copied

RowMap = Callable[..., tuple[tf.Tensor, tf.Tensor]]


def map_chunks(
    function: RowMap, inputs: Sequence[tf.Tensor], *, event_size: int, dtype: tf.DType
) -> tuple[tf.Tensor, tf.Tensor]:
    """`function` of chunks of the rows, put together again.

    A chain of small operations, as a draw is, cannot use a second core; two chunks of rows can. A `tf.while_loop` over
    the chunks would run one after the other, whatever its `parallel_iterations`: everything in its body waits for all
    loop variables, so also for the results of the round before. `MapDefun`, which `tf.data` maps with, calls a function
    for all chunks at once, in the threads that run the graph.

    Args:
      function: maps `[b, ...]` of each input to `[b, event_size]` and `[b]`, each row on its own.
      inputs: `[B, ...]` each.
      event_size: D.
      dtype: of the results.

    Returns:
      `[B, D]` and `[B]`.
    """
    rows = tf.shape(inputs[0])[0]
    chunks = tf.maximum(-(-rows // MOST_ROWS), tf.clip_by_value(rows // LEAST_ROWS, 1, 2))
    chunk_rows = -(-rows // (chunks * ALIGNED_ROWS)) * ALIGNED_ROWS
    stacked = [_stack(tensor, chunks, chunk_rows, rows) for tensor in inputs]
    specs = [tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for tensor in inputs]
    traced = tf.function(function, autograph=False).get_concrete_function(*specs)
    columns, values = tf.raw_ops.MapDefun(
        arguments=stacked,
        captured_inputs=traced.captured_inputs,
        output_types=[dtype, dtype],
        output_shapes=[tf.TensorShape([None, event_size]), tf.TensorShape([None])],
        f=traced,
    )
    return tf.reshape(columns, [-1, event_size])[:rows], tf.reshape(values, [-1])[:rows]


def _stack(tensor: tf.Tensor, chunks: tf.Tensor, chunk_rows: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """`[B, ...]` as `[chunks, chunk_rows, ...]`, the last chunk filled up with zeros."""
    fill = [[0, chunks * chunk_rows - rows], *([[0, 0]] * (tensor.shape.rank - 1))]
    return tf.reshape(tf.pad(tensor, fill), tf.stack([chunks, chunk_rows, *tensor.shape[1:]]))
