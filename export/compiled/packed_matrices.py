"""Matrices one after the other in one tensor, taken apart without copying."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.compiled.rows import split

Array = np.ndarray[Any, Any]

_LINE = 16  # numbers: at least 64 bytes, which TensorFlow wants tensors aligned to, or it copies them


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
