"""An autoregressive layer as a straight line of operations on a few rows, and the weights that they meet.

Whatever depends on the condition alone, biases included, is one product for all layers of a flow, of which each dense
layer takes its part. What is left of a dense layer is a product and a subtraction. It is no addition: TensorFlow would
fuse that into an operation of oneDNN's, which takes three times as long as the product to start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.compiled.encoder import CompiledEncoder
from export.compiled.layout import Layout, SortedDense, sort_by_step

if TYPE_CHECKING:
    from export.compiled.conditioner import ReadConditioner
    from export.compiled.transforms import RowTransform

Array = np.ndarray[Any, Any]
_LINE = 16  # numbers: at least 64 bytes; rows of a multiple of it can be handed out without a copy
_MOST_TURNED = 4096  # numbers in a kernel; of larger ones the product of several rows takes longer turned
_LEAST_UNITS = 384  # of a dense layer that is worth two products: weights that are read rule, and a quarter are zeros


def split_into(value: tf.Tensor, sizes: Sequence[int], *, axis: int) -> list[tf.Tensor]:
    """Parts of a tensor; equal ones need not be told their sizes, which would be one more constant."""
    if len(sizes) == 1:
        return [value]
    parts: list[tf.Tensor] = tf.split(value, len(sizes) if len(set(sizes)) == 1 else list(sizes), axis=axis)
    return parts


def lacking(size: int) -> int:
    """By how much a number of units is filled up to whole lines."""
    return -size % _LINE


class StraightWeights(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """The weights that one direction of a flow reads at each call.

    Layers `add` theirs; after `close` a call begins with `read`.

    Attributes:
      largest: how many numbers the largest matrix has, encoders included; after `close`.
    """

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.largest = 0
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
        sizes = [kernel.size for kernel in self._kernels]
        self._kernels = []
        self._headers = {}
        for key, (encoder, parts) in self._of_header.items():
            rows = max(map(len, parts))
            joined = np.concatenate([np.pad(part, [(0, rows - len(part)), (0, 0)]) for part in parts], axis=1)
            variable = tf.Variable(joined, dtype=self._dtype, trainable=False, name="of_condition")
            self._headers[key] = (encoder, variable, [part.shape[1] for part in parts])
            sizes += [joined.size, *(encoder.sizes if isinstance(encoder, CompiledEncoder) else ())]
        self._of_header = {}
        self.largest = max(sizes, default=0)

    def read(self, condition: tf.Tensor | None) -> ReadWeights:
        """The weights of one call; `condition` `[B, C]` or `None`."""
        of_condition = {}
        for key, (encoder, variable, sizes) in self._headers.items():
            value = variable.read_value()
            if variable.shape[0] > 1:  # without a condition biases are all there is
                encoded = condition if encoder is None else encoder(condition)
                one = tf.constant(1, self._dtype)
                ones_too = tf.raw_ops.PadV2(input=encoded, paddings=[[0, 0], [1, 0]], constant_values=one)
                value = tf.matmul(ones_too, value)
            of_condition[key] = split_into(value, sizes, axis=1)
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
            parts = split_into(variable.read_value(), sizes, axis=0)
            found |= dict(zip(index, parts, strict=True))
        return [found[i] for i in range(len(found))]


@dataclasses.dataclass(frozen=True, slots=True)
class _Dense:
    """A product of some of the inputs: the first `inputs`; none for units that only the condition reaches.

    Attributes:
      turned: whether the kernel is `[N, K]`.
    """

    inputs: int
    kernel: int
    of_condition: tuple[int, int]
    turned: bool

    def __call__(self, weights: ReadWeights, inputs: tf.Tensor) -> tf.Tensor:
        key, place = self.of_condition
        of_condition = weights.of_condition[key][place]
        if self.inputs:
            known = inputs if inputs.shape[1] == self.inputs else inputs[:, : self.inputs]
            return tf.matmul(known, weights.kernels[self.kernel], transpose_b=self.turned) - of_condition
        return of_condition if of_condition.shape[0] != 1 else of_condition + tf.zeros_like(inputs[:, :1])


class StraightInverse:
    """x to z `[B, D]`: one network in all.

    Args:
      conditioner: of the layer.
      transform: the conditioner's.
      weights: to which the layer's are added.
      places: `[D]`, where the tensors hold each of the layer's columns.

    Raises:
      CompileError: if the network is not autoregressive.
    """

    def __init__(
        self, conditioner: ReadConditioner, transform: RowTransform, weights: StraightWeights, places: Array
    ) -> None:
        layout = sort_by_step(conditioner.weights, block_size=1)
        in_order = places[layout.columns]
        self._activation: Callable[[tf.Tensor], tf.Tensor] = conditioner.weights.activation
        self._transform = transform
        back = np.argsort(in_order)
        add = _Adding(weights, conditioner.encoder)
        self._hidden: list[list[_Dense]] = []
        inputs = back
        for layer in layout.hidden:
            parts = _parts(np.arange(len(layer.unit_steps)), len(inputs))
            self._hidden.append([add(layer, inputs, part) for part in parts])
            inputs = np.concatenate([_filled_up(part) for part in parts])
        self._outputs, self._sizes = [], []
        for columns in _column_parts(in_order, len(inputs)):
            self._outputs.append(add.output(layout, inputs, back[columns], transform, inverse=True))
            self._sizes.append([size * len(columns) for size in transform.groups])

    def __call__(self, x: tf.Tensor, weights: ReadWeights) -> tuple[tf.Tensor, tf.Tensor | None]:
        """`x` to z, and the log-derivatives `[B, D]`; `None` for zeros."""
        units = x
        for parts in self._hidden:
            joined = [dense(weights, units) for dense in parts]
            units = self._activation(joined[0] if len(joined) == 1 else tf.concat(joined, axis=1))
        groups = [
            split_into(dense(weights, units), sizes, axis=1)
            for dense, sizes in zip(self._outputs, self._sizes, strict=True)
        ]
        params = groups[0] if len(groups) == 1 else [tf.concat(group, axis=1) for group in zip(*groups, strict=True)]
        return self._transform.inverse(params, x)


class StraightForward:
    """z to x `[B, D]` column by column: each unit once, from all that is known then; arguments of `StraightInverse`."""

    def __init__(
        self, conditioner: ReadConditioner, transform: RowTransform, weights: StraightWeights, places: Array
    ) -> None:
        layout = sort_by_step(conditioner.weights, block_size=1)
        self._activation: Callable[[tf.Tensor], tf.Tensor] = conditioner.weights.activation
        self._transform = transform
        self._columns = places[layout.columns]
        add = _Adding(weights, conditioner.encoder)
        steps = range(len(layout.columns) + 1)
        self._hidden: list[list[_Dense | None]] = [[] for _ in layout.hidden]
        self._outputs: list[_Dense] = []
        inputs = [np.arange(len(layout.columns))[:0] for _ in range(len(layout.hidden) + 1)]
        for step in steps:
            if step:
                columns = np.array([step - 1])
                self._outputs.append(add.output(layout, inputs[-1], columns, transform, inverse=False))
                inputs[0] = np.append(inputs[0], step - 1)
            for i, layer in enumerate(layout.hidden):
                units = layer.units_between(step, step)
                part = np.arange(units.start, units.stop)
                self._hidden[i].append(add(layer, inputs[i], part) if len(part) else None)
                if len(part):
                    inputs[i + 1] = np.concatenate([inputs[i + 1], _filled_up(part)])

    def __call__(self, z: tf.Tensor, weights: ReadWeights) -> tuple[tf.Tensor, tf.Tensor | None]:
        """`z` to x, and the log-derivatives `[B, D]`; `None` for zeros."""
        size = len(self._columns)
        of_column = tf.split(z, size, axis=1) if size > 1 else [z]
        known: list[tf.Tensor | None] = [None] * (len(self._hidden) + 1)
        arrived, log_derivatives = [], []
        for step in range(size + 1):
            if step:
                value = of_column[self._columns[step - 1]]
                inputs = value if known[-1] is None else known[-1]
                params = split_into(self._outputs[step - 1](weights, inputs), self._transform.groups, axis=1)
                x, log_derivative = self._transform.forward(params, value)
                arrived.append(x)
                log_derivatives.append(log_derivative)
                known[0] = _joined(known[0], x)
            for i, denses in enumerate(self._hidden):
                dense = denses[step]
                if dense is not None:
                    inputs = z if known[i] is None else known[i]
                    known[i + 1] = _joined(known[i + 1], self._activation(dense(weights, inputs)))
        if size == 1:
            return arrived[0], log_derivatives[0]
        x = tf.concat([arrived[i] for i in np.argsort(self._columns)], axis=1)
        return x, None if log_derivatives[0] is None else tf.concat(log_derivatives, axis=1)


@dataclasses.dataclass(frozen=True, slots=True)
class _Adding:
    """Adds parts of sorted dense layers to the weights of a flow.

    `inputs` says for each input which row of the sorted kernel it meets, -1 for none; so does `part` for units.
    """

    weights: StraightWeights
    encoder: Any

    def __call__(self, layer: SortedDense, inputs: Array, part: Array) -> _Dense:
        """Hidden units, filled up to whole lines."""
        header, kernel = (_taken(rows, _filled_up(part)) for rows in np.split(layer.kernel, [layer.header]))
        return self._dense(header, _taken(kernel.T, inputs).T, turned=False)

    def output(
        self, layout: Layout, inputs: Array, columns: Array, transform: RowTransform, *, inverse: bool
    ) -> _Dense:
        """Parameters of some of the sorted columns, arranged.

        A small kernel of all columns at once is turned: as wide as the hidden layers', it is in their variable.
        """
        kernel = layout.output.kernel.reshape(len(layout.output.kernel), len(layout.columns), -1)[:, columns]
        groups = transform.arrange(kernel, inverse=inverse)
        for group, constant in zip(groups, transform.constants(), strict=True):
            group[0] += constant
        arranged = np.concatenate([group.reshape(len(group), -1) for group in groups], axis=1)
        header, kernel = np.split(arranged, [layout.output.header])
        kernel = _taken(kernel.T, inputs).T
        return self._dense(header, kernel, turned=inverse and kernel.size <= _MOST_TURNED)

    def _dense(self, header: Array, kernel: Array, *, turned: bool) -> _Dense:
        seen = np.flatnonzero(kernel.any(axis=1))
        rows = int(seen[-1]) + 1 if len(seen) else 0
        rows = min(rows + lacking(rows), len(kernel))
        met = kernel[:rows].T if turned else kernel[:rows]
        place, of_condition = self.weights.add(self.encoder, header, met if rows else None)
        return _Dense(rows, place, of_condition, turned)


def _filled_up(units: Array) -> Array:
    """Units and as many -1 as make whole lines."""
    return np.concatenate([units, np.full(lacking(len(units)), -1)])


def _taken(matrix: Array, columns: Array) -> Array:
    """Columns of a matrix; zeros for -1."""
    return np.pad(matrix, [(0, 0), (0, 1)])[:, columns]


def _parts(units: Array, inputs: int) -> list[Array]:
    """Sorted units in one or in two parts, of which the first needs few of the inputs."""
    if min(len(units), inputs) < _LEAST_UNITS:
        return [units]
    half = len(units) // 2
    return np.split(units, [half + lacking(half)])


def _column_parts(in_order: Array, inputs: int) -> list[Array]:
    """Columns, as the tensors hold them, in one or in two parts, of which one needs few of the hidden units."""
    columns = np.arange(len(in_order))
    half = len(columns) // 2
    early = np.sort(in_order[:half])
    if inputs >= _LEAST_UNITS and half:
        if (early == columns[:half]).all():
            return np.split(columns, [half])
        if (early == columns[-half:]).all():
            return np.split(columns, [len(columns) - half])
    return [columns]


def _joined(known: tf.Tensor | None, new: tf.Tensor) -> tf.Tensor:
    return new if known is None else tf.concat([known, new], axis=1)
