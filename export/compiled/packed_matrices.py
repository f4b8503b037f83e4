"""Matrices one after the other in one tensor, taken apart without copying.

Fills up a layout so that TensorFlow can share the memory of its parts instead of copying them.

TensorFlow hands out a part of a tensor without copying it only if it starts and ends at multiples of 64 bytes. With the
header and the hidden units of each block multiples of 4, what a block needs of a kernel is a multiple of 16 numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.compiled.rows import split

if TYPE_CHECKING:
    from export.compiled.layout import Layout, SortedDense

Array = np.ndarray[Any, Any]
_LINE = 16  # numbers: at least 64 bytes, which TensorFlow wants tensors aligned to, or it copies them
_MULTIPLE = 4
_NONE = -1


@dataclasses.dataclass(frozen=True, slots=True)
class PackedMatrices:
    """How matrices of these shapes lie in one tensor `[lines, 16]`, each from the start of a line on.

    A variable costs a call about a microsecond to find and read, and a caller outside the graph some more: a flow has
    hundreds of matrices, which lie in a few variables. What is read shares the memory of the packed tensor where it
    ends with a line.

    Attributes:
      shapes: of the matrices, in order.
    """

    shapes: tuple[tuple[int, int], ...]

    def pack(self, matrices: Sequence[Array]) -> Array:
        """`[lines, 16]`, of matrices of these shapes."""
        packed = np.zeros([sum(self._lines), _LINE])
        ends = np.cumsum(self._lines)
        for matrix, lines, end in zip(matrices, self._lines, ends, strict=True):
            packed[end - lines : end].reshape(-1)[: matrix.size] = matrix.ravel()
        return packed

    def read(self, packed: tf.Tensor) -> list[tf.Tensor]:
        """The matrices, in order."""
        parts = split(packed, self._lines)
        return [_unpack(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def read_in_two(self, packed: tf.Tensor, first_rows: Sequence[int]) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """The matrices, in order, each as its first rows, of which `first_rows` has the number, and the others."""
        cuts = [rows * units // _LINE for rows, (_, units) in zip(first_rows, self.shapes, strict=True)]
        sizes = [part for cut, lines in zip(cuts, self._lines, strict=True) for part in (cut, lines - cut)]
        parts = split(packed, sizes)
        return [
            _unpack_in_two(first, rest, shape, rows)
            for first, rest, shape, rows in zip(parts[::2], parts[1::2], self.shapes, first_rows, strict=True)
        ]

    @property
    def _lines(self) -> list[int]:
        return [math.ceil(math.prod(shape) / _LINE) for shape in self.shapes]


def _unpack(lines: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    size = math.prod(shape)
    return tf.reshape(lines if size == lines.shape.num_elements() else tf.reshape(lines, [-1])[:size], shape)


def _unpack_in_two(
    first: tf.Tensor, rest: tf.Tensor, shape: tuple[int, ...], first_rows: int
) -> tuple[tf.Tensor, tf.Tensor]:
    rows, units = shape
    if first_rows * units % _LINE:
        matrix = _unpack(tf.concat([first, rest], axis=0), shape)
        return matrix[:first_rows], matrix[first_rows:]
    return _unpack(first, (first_rows, units)), _unpack(rest, (rows - first_rows, units))


def lacking_rows(rows: int) -> int:
    """Rows of zeros that a header of `rows` is filled up with."""
    return -rows % _MULTIPLE


def align(layout: Layout) -> Layout:
    """The same network with rows of zeros after each header, and units without weights after those of each block."""
    first = (*layout.hidden, layout.output)[0]
    inputs = _Units(np.arange(len(first.input_steps)), first.input_steps)
    hidden = []
    for layer in layout.hidden:
        units = _fill_up(layer.unit_steps, layout.blocks)
        hidden.append(_take(layer, inputs, units))
        inputs = units
    outputs = _Units(np.arange(len(layout.output.unit_steps)), layout.output.unit_steps)
    return dataclasses.replace(layout, hidden=tuple(hidden), output=_take(layout.output, inputs, outputs))


@dataclasses.dataclass(frozen=True, slots=True)
class _Units:
    """Units of a sorted layer by index, `_NONE` for one without weights, and the step of each."""

    index: Array
    steps: Array


def _fill_up(steps: Array, blocks: tuple[tuple[int, int], ...]) -> _Units:
    index, filled = [], []
    for first, last in blocks:
        units = np.flatnonzero((steps >= first) & (steps <= last))
        lacking = -len(units) % _MULTIPLE
        index += [units, np.full(lacking, _NONE)]
        filled += [steps[units], np.repeat(steps[units[-1:]], lacking)]
    return _Units(np.concatenate(index), np.concatenate(filled))


def _take(layer: SortedDense, inputs: _Units, units: _Units) -> SortedDense:
    header = [*range(layer.header), *[_NONE] * lacking_rows(layer.header)]
    rows = np.concatenate([header, np.where(inputs.index == _NONE, _NONE, layer.header + inputs.index)])
    zero_at_the_end = np.pad(layer.kernel, ((0, 1), (0, 1)))
    return dataclasses.replace(
        layer,
        kernel=zero_at_the_end[np.ix_(rows, units.index)],
        header=len(header),
        input_steps=inputs.steps,
        unit_steps=units.steps,
    )
