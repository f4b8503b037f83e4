"""An autoregressive layer as a straight line of operations on a few rows.

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

from export.compiled.layout import Layout, SortedDense, sort_by_step
from export.compiled.straight_weights import ReadWeights, StraightWeights, lacking

if TYPE_CHECKING:
    from export.compiled.conditioner import ReadConditioner
    from export.compiled.row_transforms import RowTransform

Array = np.ndarray[Any, Any]
_LEAST_UNITS = 384  # of a dense layer that is worth two products: weights that are read rule, and a quarter are zeros


@dataclasses.dataclass(frozen=True, slots=True)
class _Dense:
    """A product of some of the inputs: the first `inputs`; none for units that only the condition reaches."""

    inputs: int
    kernel: int
    of_condition: tuple[int, int]

    def __call__(self, weights: ReadWeights, inputs: tf.Tensor) -> tf.Tensor:
        key, place = self.of_condition
        of_condition = weights.of_condition[key][place]
        if self.inputs:
            known = inputs if inputs.shape[1] == self.inputs else inputs[:, : self.inputs]
            return tf.matmul(known, weights.kernels[self.kernel]) - of_condition
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
        groups = [_split(dense(weights, units), sizes) for dense, sizes in zip(self._outputs, self._sizes, strict=True)]
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
                params = _split(self._outputs[step - 1](weights, inputs), self._transform.groups)
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
        return self._dense(header, _taken(kernel.T, inputs).T)

    def output(
        self, layout: Layout, inputs: Array, columns: Array, transform: RowTransform, *, inverse: bool
    ) -> _Dense:
        """Parameters of some of the sorted columns, arranged."""
        kernel = layout.output.kernel.reshape(len(layout.output.kernel), len(layout.columns), -1)[:, columns]
        groups = transform.arrange(kernel, inverse=inverse)
        for group, constant in zip(groups, transform.constants(), strict=True):
            group[0] += constant
        arranged = np.concatenate([group.reshape(len(group), -1) for group in groups], axis=1)
        header, kernel = np.split(arranged, [layout.output.header])
        return self._dense(header, _taken(kernel.T, inputs).T)

    def _dense(self, header: Array, kernel: Array) -> _Dense:
        seen = np.flatnonzero(kernel.any(axis=1))
        rows = int(seen[-1]) + 1 if len(seen) else 0
        rows = min(rows + lacking(rows), len(kernel))
        place, of_condition = self.weights.add(self.encoder, header, kernel[:rows] if rows else None)
        return _Dense(rows, place, of_condition)


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


def _split(params: tf.Tensor, sizes: Sequence[int]) -> list[tf.Tensor]:
    return [params] if len(sizes) == 1 else tf.split(params, list(sizes), axis=1)


def _joined(known: tf.Tensor | None, new: tf.Tensor) -> tf.Tensor:
    return new if known is None else tf.concat([known, new], axis=1)
