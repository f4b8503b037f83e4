"""Parts of tensors along their first axis, and tensors put together along it.

As `tensor[a:b]`, `tf.split` and `tf.concat`, which make two or three constants at each call: in a draw, of a few
thousand small operations, nearly half of all nodes. Here equal constants of a graph are one node: smaller to save and
quicker to load.

From rows to columns and back: `[B, K]` and `[K, B]`.

`tf.transpose` becomes oneDNN's on a CPU, which takes some 60 us to prepare each call: for a small batch as long as five
matrix products. `SpaceToBatchND` of a row-major tensor with blocks of K moves the same numbers, and starts at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

_CONSTANTS = "_constants_of_rows"
MOST_COLUMNS = 64  # with more, oneDNN is quicker, the preparation included


def rows(tensor: tf.Tensor, start: int, stop: int) -> tf.Tensor:
    """`tensor[start:stop]`."""
    if start == 0 and stop == tensor.shape[0]:
        return tensor
    return tf.strided_slice(tensor, _constant(start), _constant(stop), _constant(1))


def part(matrix: tf.Tensor, stop: int, columns: slice) -> tf.Tensor:
    """`matrix[:stop, columns]`."""
    return tf.strided_slice(matrix, _constant(0, columns.start), _constant(stop, columns.stop), _constant(1, 1))


def split(tensor: tf.Tensor, sizes: Sequence[int]) -> list[tf.Tensor]:
    """`tensor` in parts of so many rows."""
    if len(sizes) == 1:
        return [tensor]
    parts: list[tf.Tensor] = tf.split(tensor, _constant(*sizes), axis=_scalar(0), num=len(sizes))
    return parts


def join(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """`tensors` one after the other."""
    return tensors[0] if len(tensors) == 1 else tf.concat(tensors, axis=_scalar(0))


def _constant(*values: int) -> tf.Tensor:
    return _shared(values)


def _scalar(value: int) -> tf.Tensor:
    return _shared(value)


def _shared(value: int | tuple[int, ...]) -> tf.Tensor:
    """The int32 constant of the graph that is being traced, which keeps its own."""
    if tf.executing_eagerly():
        return tf.constant(value, tf.int32)
    graph = tf.compat.v1.get_default_graph()
    if not hasattr(graph, _CONSTANTS):
        setattr(graph, _CONSTANTS, {})
    constants = getattr(graph, _CONSTANTS)
    if value not in constants:
        with graph.control_dependencies(None):
            constants[value] = tf.constant(value, tf.int32)
    return constants[value]


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
