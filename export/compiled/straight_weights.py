"""The weights that few rows meet, read together, and what of them depends on the condition alone.

Whatever the condition contributes, biases included, is one product for all layers of a flow, of which each dense layer
takes its part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from maf.condition_encoder import FARTHEST
from maf.routing import is_kind

Array = np.ndarray[Any, Any]

_LINE = 16  # numbers: at least 64 bytes; rows of a multiple of it can be handed out without a copy


def lacking(size: int) -> int:
    """By how much a number of units is filled up to whole lines."""
    return -size % _LINE


class StraightWeights(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """The weights that one direction of a flow reads at each call.

    Layers `add` theirs; after `close` a call begins with `read`.
    """

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self._dtype = dtype
        self._kernels: list[Array] = []
        self._of_header: dict[int, tuple[Any, list[Array]]] = {}  # by encoder

    def add(self, encoder: Any, header: Array, kernel: Array | None) -> tuple[int, tuple[int, int]]:
        """Places of a kernel `[K, N]` and of what meets ones and the encoded condition, `[1 + E, N]` or `[1, N]`.

        Where there is a kernel that part comes with the other sign, to be subtracted.
        """
        if kernel is not None:
            self._kernels.append(kernel)
        _, headers = self._of_header.setdefault(id(encoder), (encoder, []))
        headers.append(header if kernel is None else -header)
        return len(self._kernels) - 1, (id(encoder), len(headers) - 1)

    def close(self) -> None:
        """Makes variables of what was added."""
        self._matrices = RowMatrices(self._kernels, self._dtype)
        self._kernels = []
        self._headers = {}
        for key, (encoder, parts) in self._of_header.items():
            rows = max(map(len, parts))
            joined = np.concatenate([np.pad(part, [(0, rows - len(part)), (0, 0)]) for part in parts], axis=1)
            # biases, which are subtracted from what comes of the condition; without one they are all there is
            split = [joined] if rows == 1 else [-joined[:1], joined[1:]]
            variables = [tf.Variable(v, dtype=self._dtype, trainable=False, name="of_condition") for v in split]
            self._headers[key] = (straight_encoder(encoder, self._dtype), variables, [part.shape[1] for part in parts])
        self._of_header = {}

    def read(self, condition: tf.Tensor | None) -> ReadWeights:
        """The weights of one call; `condition` `[B, C]` or `None`."""
        of_condition = {}
        for key, (encoder, parts, sizes) in self._headers.items():
            value = parts[0].read_value()
            if len(parts) > 1:
                value = tf.matmul(condition if encoder is None else encoder(condition), parts[1].read_value()) - value
            of_condition[key] = tf.split(value, sizes, axis=1) if len(sizes) > 1 else [value]
        return ReadWeights(self._matrices.read(), of_condition)


@dataclasses.dataclass(frozen=True, slots=True)
class ReadWeights:
    """The weights of a flow in one call: kernels, and what comes of the condition; `[1, N]` of biases alone."""

    kernels: Sequence[tf.Tensor]
    of_condition: dict[int, list[tf.Tensor]]


class RowMatrices(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Matrices of equally many columns lie below each other in one variable.

    To find and read a variable costs a call about a microsecond, and more behind a `tf.cond`.
    """

    def __init__(self, matrices: Sequence[Array], dtype: Any) -> None:
        """`[K, N]` each."""
        super().__init__()
        widths = list(dict.fromkeys(matrix.shape[1] for matrix in matrices))
        self._of_width = [[i for i, matrix in enumerate(matrices) if matrix.shape[1] == width] for width in widths]
        self._rows = [len(matrix) for matrix in matrices]
        self._variables = [
            tf.Variable(np.concatenate([matrices[i] for i in index]), dtype=dtype, trainable=False, name="rows")
            for index in self._of_width
        ]

    def read(self) -> list[tf.Tensor]:
        """The matrices, in order."""
        found: dict[int, tf.Tensor] = {}
        for variable, index in zip(self._variables, self._of_width, strict=True):
            sizes = [self._rows[i] for i in index]
            value = variable.read_value()
            parts = [value] if len(sizes) == 1 else tf.split(value, sizes)
            found |= dict(zip(index, parts, strict=True))
        return [found[i] for i in range(len(found))]


def straight_encoder(encoder: Any, dtype: Any) -> Any:
    """The same function of `[B, C]` to `[B, E]`; `encoder` itself where it is none of ours, or `None`."""
    return StraightEncoder(encoder, dtype) if is_kind(encoder, "ConditionEncoder") else encoder


class StraightEncoder(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Biases are subtracted: what is added to a product becomes an operation of oneDNN's, slow to start.

    Where a number lies in its bins comes of one product with the standardised columns.
    """

    def __init__(self, encoder: Any, dtype: Any) -> None:
        super().__init__()
        loc, scale = (np.asarray(value, np.float64) for value in (encoder.loc, encoder.scale))

        def variable(value: Any, name: str) -> tf.Variable:
            return tf.Variable(np.atleast_2d(np.asarray(value)), dtype=dtype, trainable=False, name=name)

        self._loc, self._rate = variable(loc, "condition_loc"), variable(1 / scale, "condition_rate")
        self._bins = self._regression = None
        if encoder.bin_low is not None:
            low, rate = (np.asarray(value, np.float64) for value in (encoder.bin_low, encoder.bin_rate))
            numbers = list(encoder.number_columns)
            kernel = np.zeros((len(loc), *low.shape))
            kernel[numbers, range(len(numbers))] = rate * scale[numbers, np.newaxis]
            offset = (low - loc[numbers, np.newaxis]) * rate
            self._bins = (
                variable(kernel.reshape(len(loc), -1), "condition_bins"),
                variable(offset.ravel(), "condition_bin_offset"),
            )
        self._layers = [
            (variable(layer.kernel, "condition_kernel"), variable(-layer.bias, "condition_bias"), layer.activation)
            for layer in encoder.layers
        ]
        if encoder.regression_kernel is not None:
            self._regression = (
                variable(encoder.regression_kernel, "regression"),
                variable(-encoder.regression_bias, "regression_bias"),
            )

    def __call__(self, condition: tf.Tensor) -> tf.Tensor:
        """`[B, C]` to `[B, E]`."""
        standard = (condition - self._loc) * self._rate
        encoded = standard
        if self._bins is not None:
            near = standard * tf.math.rsqrt(1 + tf.square(standard / FARTHEST))
            shares = tf.matmul(standard, self._bins[0]) - self._bins[1]
            encoded = tf.concat([near, _clip(shares, 0, 1)], axis=1)
        for kernel, bias, activation in self._layers:
            encoded = activation(tf.matmul(encoded, kernel) - bias)
        if self._regression is not None:
            kernel, bias = self._regression
            predictions = tf.matmul(_clip(standard, -FARTHEST, FARTHEST), kernel) - bias
            encoded = tf.concat([encoded, predictions], axis=1)
        return encoded


def _clip(value: tf.Tensor, low: float, high: float) -> tf.Tensor:
    least, most = (tf.constant(limit, value.dtype) for limit in (low, high))
    return tf.raw_ops.ClipByValue(t=value, clip_value_min=least, clip_value_max=most)
