"""Rows of tensors: parts of them, columns instead of them, and chunks of them.

*Parts* (`part`, `split`, `join`) are what `tensor[a:b]`, `tf.split` and `tf.concat` are, which make two or three
constants at each call: in a draw, of a few thousand small operations, nearly half of all nodes. Here equal constants of
a graph are one node: smaller to save and quicker to load.

*Columns* (`to_columns`, `to_rows`): `[B, K]` and `[K, B]`. `tf.transpose` becomes oneDNN's on a CPU, which takes some
60 us to prepare each call: for a small batch as long as five matrix products. `SpaceToBatchND` of a row-major tensor
with blocks of K moves the same numbers, and starts at once.

*Chunks* (`ChunkedFunction`): rows that stay in a core's cache, as many chunks at a time as there are cores; none
in what is traced for a GPU (`in_chunks`).
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_CONSTANTS = "_constants_of_rows"
_IN_CHUNKS = contextvars.ContextVar("in_chunks", default=True)
MOST_COLUMNS = 64  # with more, oneDNN is quicker, the preparation included
MOST_ROWS = 512  # of a chunk: the units of a layer fit into a core's cache
ALIGNED_ROWS = 16  # chunks are multiples of it: slices of their tensors share memory instead of being copied
# MapDefun runs its function as it was traced. One that this calls gets the kernels of oneDNN, unless it is inlined: for
# 64 rows a sixth of the time. The other attribute leaves TensorFlow's rewrites to the first call: otherwise every
# signature rewrites all that it could call, and throws it away.
NOT_INLINED = {"_noinline": True, "_tf_data_function": True}


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


def rounded_to(x: tf.Tensor, widths: np.ndarray[Any, Any]) -> tf.Tensor:
    """`x` `[B, D]`, columns with a width `[D]` rounded to the nearest multiple of it, others as they are."""
    wide = widths > 0
    step = tf.constant(np.where(wide, widths, 1), x.dtype)
    return tf.where(wide, tf.round(x / step) * step, x)


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


@contextlib.contextmanager
def rewriting(*, wanted: bool) -> Iterator[None]:
    """Calls of functions that are traced while it is open say whether TensorFlow is to rewrite the function.

    That takes a server up to a second for each function and each signature that calls it. It fuses what few products
    there are in a pass over a network; of a draw, or of what only calls other functions, it makes nothing quicker.
    """
    optimizer, name = tf.config.optimizer, "disable_meta_optimizer"
    before = optimizer.get_experimental_options().get(name, False)
    optimizer.set_experimental_options({name: not wanted})
    try:
        yield
    finally:
        optimizer.set_experimental_options({name: before})


@contextlib.contextmanager
def in_chunks(*, wanted: bool) -> Iterator[None]:
    """Whether calls of a `ChunkedFunction` that are traced while it is open split their rows.

    `MapDefun`, which runs the chunks, is for processors alone. A GPU computes all rows at once.
    """
    token = _IN_CHUNKS.set(wanted)
    try:
        yield
    finally:
        _IN_CHUNKS.reset(token)


class ChunkedFunction:
    """A function from tensors `[B, ...]` to tensors `[B, ...]`, each row on its own, called with chunks of the rows.

    It is traced once for all callers, and is one function in a SavedModel.

    A chain of small operations, as a draw is, cannot use a second core; two chunks of rows can. A `tf.while_loop` over
    the chunks would run one after the other, whatever its `parallel_iterations`: everything in its body waits for all
    loop variables, so also for the results of the round before. `MapDefun`, which `tf.data` maps with, calls a function
    for all chunks at once, in the threads that run the graph.
    """

    def __init__(self, function: Callable[..., Any], *, least_rows: int, most_elsewhere: int = 0) -> None:
        """How many rows make two chunks.

        Args:
          function: the function of a chunk.
          least_rows: those of a chunk where all would fit into one: with fewer, two take longer than one.
          most_elsewhere: up to so many rows go another way. If more are two chunks at least, the graph has nothing but
            chunks: one way to a function is half as much to prepare as two. Fewer rows come out right all the same.
        """
        self._least_rows = least_rows
        self._always_several = most_elsewhere + 1 >= 2 * least_rows
        self._function = tf.function(function, autograph=False, experimental_attributes=NOT_INLINED)
        self._mapped = tf.function(self._run, autograph=False)

    def __call__(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """`[B, ...]` each, to `[B, ...]` each."""
        if not _IN_CHUNKS.get():
            return self._run(*inputs)
        rows = tf.shape(inputs[0])[0]
        chunks = tf.maximum(-(-rows // MOST_ROWS), tf.clip_by_value(rows // self._least_rows, 1, 2))
        chunk_rows = -(-rows // (chunks * ALIGNED_ROWS)) * ALIGNED_ROWS
        specs = [tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for tensor in inputs]
        traced = self._mapped.get_concrete_function(*specs)
        padded = [_fill_up(tensor, chunks * chunk_rows - rows) for tensor in inputs]
        if self._always_several:
            results = _map(traced, padded, chunks, chunk_rows)
        else:
            results = tf.cond(chunks > 1, lambda: _map(traced, padded, chunks, chunk_rows), lambda: self._run(*padded))
        return [
            tf.ensure_shape(result[:rows], output.shape) for result, output in zip(results, traced.outputs, strict=True)
        ]

    def _run(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        with rewriting(wanted=False):
            return tf.nest.flatten(self._function(*inputs))  # type: ignore[no-any-return]


def _map(traced: Any, padded: Sequence[tf.Tensor], chunks: tf.Tensor, chunk_rows: tf.Tensor) -> list[tf.Tensor]:
    results = tf.raw_ops.MapDefun(
        arguments=[tf.reshape(tensor, tf.stack([chunks, chunk_rows, *tensor.shape[1:]])) for tensor in padded],
        captured_inputs=traced.captured_inputs,
        output_types=[output.dtype for output in traced.outputs],
        output_shapes=[output.shape for output in traced.outputs],
        f=traced,
    )
    return [tf.reshape(result, [-1, *output.shape[1:]]) for result, output in zip(results, traced.outputs, strict=True)]


def _fill_up(tensor: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """`tensor` and as many `rows` of zeros."""
    return tf.pad(tensor, [[0, rows], *([[0, 0]] * (tensor.shape.rank - 1))])
