"""Rows in chunks that stay in a core's cache, as many at a time as there are cores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

MOST_ROWS = 512  # of a chunk: the units of a layer fit into a core's cache
LEAST_ROWS = 64  # of a chunk where all would fit into one: with fewer, reading weights takes longer than using them
ALIGNED_ROWS = 16  # chunks are multiples of it: slices of their tensors share memory instead of being copied


def map_chunks(function: Any, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """`function` of chunks of the rows, put together again.

    A chain of small operations, as a draw is, cannot use a second core; two chunks of rows can. A `tf.while_loop` over
    the chunks would run one after the other, whatever its `parallel_iterations`: everything in its body waits for all
    loop variables, so also for the results of the round before. `MapDefun`, which `tf.data` maps with, calls a function
    for all chunks at once, in the threads that run the graph.

    Args:
      function: a `tf.function` from `[b, ...]` of each input to tensors `[b, ...]`, each row on its own. It is traced
        once for all callers, and is one function in a SavedModel.
      inputs: `[B, ...]` each.

    Returns:
      `[B, ...]` each.
    """
    rows = tf.shape(inputs[0])[0]
    chunks = tf.maximum(-(-rows // MOST_ROWS), tf.clip_by_value(rows // LEAST_ROWS, 1, 2))
    chunk_rows = -(-rows // (chunks * ALIGNED_ROWS)) * ALIGNED_ROWS
    traced = function.get_concrete_function(
        *(tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for tensor in inputs)
    )
    results = tf.raw_ops.MapDefun(
        arguments=[_stack(tensor, chunks, chunk_rows, rows) for tensor in inputs],
        captured_inputs=traced.captured_inputs,
        output_types=[output.dtype for output in traced.outputs],
        output_shapes=[output.shape for output in traced.outputs],
        f=traced,
    )
    return [
        tf.reshape(result, [-1, *output.shape[1:]])[:rows]
        for result, output in zip(results, traced.outputs, strict=True)
    ]


def _stack(tensor: tf.Tensor, chunks: tf.Tensor, chunk_rows: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """`[B, ...]` as `[chunks, chunk_rows, ...]`, the last chunk filled up with zeros."""
    fill = [[0, chunks * chunk_rows - rows], *([[0, 0]] * (tensor.shape.rank - 1))]
    return tf.reshape(tf.pad(tensor, fill), tf.stack([chunks, chunk_rows, *tensor.shape[1:]]))
