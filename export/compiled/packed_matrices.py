"""Matrices in one variable, read without copying."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

Array = np.ndarray[Any, Any]

_LINE = 16  # numbers: at least 64 bytes, which TensorFlow wants tensors aligned to, or it copies them


class PackedMatrices(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Several matrices one after the other in one variable, each from a multiple of 64 bytes on.

    A variable costs a call about a microsecond to find and read, and a caller outside the graph some more: a flow has
    hundreds of matrices.
    """

    def __init__(self, matrices: Sequence[Array], dtype: Any, name: str) -> None:
        super().__init__(name=name)
        self._shapes = [matrix.shape for matrix in matrices]
        self._lines = [math.ceil(matrix.size / _LINE) for matrix in matrices]
        packed = np.zeros([sum(self._lines), _LINE])
        ends = np.cumsum(self._lines)
        for matrix, lines, end in zip(matrices, self._lines, ends, strict=True):
            packed[end - lines : end].reshape(-1)[: matrix.size] = matrix.ravel()
        self._packed = tf.Variable(packed, dtype=dtype, trainable=False, name="kernels")

    def read(self) -> list[tf.Tensor]:
        """The matrices, in order."""
        parts = tf.split(self._packed, self._lines)
        return [_unpack(part, shape) for part, shape in zip(parts, self._shapes, strict=True)]


def _unpack(lines: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    size = math.prod(shape)
    return tf.reshape(lines if size == lines.shape.num_elements() else tf.reshape(lines, [-1])[:size], shape)
