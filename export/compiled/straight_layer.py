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

from export.compiled.layout import Layout, SortedDense, sort_by_step
from maf.condition_encoder import FARTHEST, MAGNITUDES
from maf.routing import is_kind

if TYPE_CHECKING:
    from export.compiled.conditioner import ReadConditioner
    from export.compiled.transforms import RowTransform

Array = np.ndarray[Any, Any]
_LINE = 16  # numbers: at least 64 bytes; rows of a multiple of it can be handed out without a copy
_LEAST_UNITS = 384  # of a dense layer that is worth two products: weights that are read rule, and a quarter are zeros


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
        self._bins = self._projection = self._regression = None
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
        if encoder.projection is not None:
            kernel = np.zeros((len(loc), encoder.projection.shape[1]))
            kernel[list(encoder.projected_columns)] = encoder.projection.numpy()
            kernels = [s * kernel for s in MAGNITUDES]
            units = np.repeat(1 / np.log1p(MAGNITUDES), encoder.projection.shape[1])
            self._projection = (
                variable(np.concatenate(kernels, axis=1), "condition_projection"),
                variable(units, "condition_projection_unit"),
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
        if self._bins is not None or self._projection is not None:
            near = standard * tf.math.rsqrt(1 + tf.square(standard / FARTHEST))
            features = [near]
            if self._bins is not None:
                features.append(_clip(tf.matmul(standard, self._bins[0]) - self._bins[1], 0, 1))
            if self._projection is not None:
                kernel, unit = self._projection
                projected = tf.matmul(near, kernel)
                features.append(tf.sign(projected) * tf.math.log1p(tf.abs(projected)) * unit)
            encoded = tf.concat(features, axis=1)
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
