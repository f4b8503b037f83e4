"""One autoregressive layer: both directions at the cost of about one evaluation of its network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.compiled.layout import Layout, SortedDense
from export.compiled.transforms import Transform

Array = np.ndarray[Any, Any]

MOST_UNROLLED_COLUMNS = 96  # beyond it the graph of a draw would take longer to prepare than is sane


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """The rows that every unit sees: ones for the biases, and the condition.

    Attributes:
      ones: `[1, B]`.
      with_condition: `[1 + E, B]`.
    """

    ones: tf.Tensor
    with_condition: tf.Tensor

    def of(self, layer: SortedDense) -> tf.Tensor:
        """The header that `layer`'s kernel starts with."""
        return self.with_condition if layer.sees_condition else self.ones


class MaskedLayer(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """`x` and `z` `[D, B]`, rows in the layer's autoregressive order.

    Attributes:
      columns: `[D]`, event columns in autoregressive order.
    """

    def __init__(
        self, layout: Layout, transform: Transform, activation: Callable[[tf.Tensor], tf.Tensor], dtype: Any, name: str
    ) -> None:
        super().__init__(name=name)
        self.columns = layout.columns
        self._layout = layout
        self._transform = transform
        self._activation = activation
        self._hidden = [[_hidden_block(layer, block, dtype) for block in layout.blocks] for layer in layout.hidden]
        self._output = [_output_block(layout, block, dtype) for block in layout.blocks]

    def inverse(self, x: tf.Tensor, header: Header) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` to z, one network in all; log-determinant `[B]` of dz/dx."""
        layout, units = self._layout, [x]
        for layer, kernels in zip(layout.hidden, self._hidden, strict=True):
            inputs = _join([header.of(layer), *units])
            units = [self._activation(kernel.apply(inputs)) for kernel in kernels if not kernel.is_empty]
        inputs = _join([header.of(layout.output), *units])
        blocks = [
            tf.reshape(kernel.apply(inputs), [layout.num_parameters, kernel.columns, -1])
            for kernel in self._output
            if not kernel.is_empty
        ]
        z, log_derivative = self._transform.inverse(_join(blocks, axis=1), x)
        return z, tf.reduce_sum(log_derivative, axis=0)

    def forward(self, z: tf.Tensor, header: Header) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` to x, column by column; log-determinant `[B]` of dx/dz."""
        layers = (*self._layout.hidden, self._layout.output)
        known = [[header.of(layer)] for layer in layers]
        log_derivatives: list[tf.Tensor] = []
        for b, block in enumerate(self._layout.blocks):
            kernels = [*(layer[b] for layer in self._hidden), self._output[b]]
            unrolled = len(self.columns) <= MOST_UNROLLED_COLUMNS or block[1] == 0
            solve = self._solve_unrolled if unrolled else self._solve_in_loop
            new = solve(kernels, block, known, z[max(block[0], 1) - 1 : block[1]], log_derivatives)
            for pieces, units in zip(known, new, strict=True):
                pieces.extend(units)
        x = tf.concat(known[0][1:], axis=0)
        return x, tf.reduce_sum(_join(log_derivatives), axis=0)

    def _solve_unrolled(
        self,
        kernels: Sequence[_BlockKernel],
        block: tuple[int, int],
        known: Sequence[list[tf.Tensor]],
        z: tf.Tensor,
        log_derivatives: list[tf.Tensor],
    ) -> list[list[tf.Tensor]]:
        """The block's columns and units, each unit once; for each layer a list of its new inputs."""
        columns = tf.split(z, z.shape[0], axis=0) if z.shape[0] else []
        before = [kernel.from_before(pieces) for kernel, pieces in zip(kernels, known, strict=True)]
        new: list[list[tf.Tensor]] = [[] for _ in kernels]
        for step in range(block[0], block[1] + 1):
            if step > 0:
                params = tf.reshape(
                    kernels[-1].at_step(step, before[-1], new[-1]), [self._layout.num_parameters, 1, -1]
                )
                x, log_derivative = self._transform.forward(params, columns[step - block[0]])
                new[0].append(x)
                log_derivatives.append(log_derivative)
            for i, kernel in enumerate(kernels[:-1]):
                if kernel.has(step):
                    new[i + 1].append(self._activation(kernel.at_step(step, before[i], new[i])))
        return new

    def _solve_in_loop(
        self,
        kernels: Sequence[_BlockKernel],
        block: tuple[int, int],
        known: Sequence[list[tf.Tensor]],
        z: tf.Tensor,
        log_derivatives: list[tf.Tensor],
    ) -> list[list[tf.Tensor]]:
        """As `_solve_unrolled`, with a graph whose size does not grow with the block.

        All of the block's units are evaluated in every round, of which round i finds column i. Columns not yet found
        are zeros: whatever they were, they would meet weights of zero, but infinity times zero is not zero.
        """
        size = block[1] - block[0] + 1
        before = [kernel.total_before(pieces) for kernel, pieces in zip(kernels, known, strict=True)]
        rows = tf.range(size)[:, tf.newaxis]

        def units_of(x: tf.Tensor) -> list[tf.Tensor]:
            units = [x]
            for kernel, total in zip(kernels[:-1], before, strict=False):
                units.append(self._activation(total + kernel.apply_inner(units[-1])))
            return units

        def solve(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            params = before[-1] + kernels[-1].apply_inner(units_of(x)[-1])
            return self._transform.forward(tf.reshape(params, [self._layout.num_parameters, size, -1]), z)

        def find_column(i: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            found = tf.where(rows <= i, solve(x)[0], tf.zeros_like(x))
            return i + 1, tf.ensure_shape(found, x.shape)

        _, x = tf.while_loop(lambda *_: True, find_column, (0, tf.zeros_like(z)), maximum_iterations=size - 1)
        x, log_derivative = solve(x)
        log_derivatives.append(log_derivative)
        return [[units] for units in units_of(x)]


class _BlockKernel(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """The weights of one layer's units of one block.

    Attributes:
      whole: `[inputs, units]`, all inputs until the block's last step.
      columns: event columns of the block, of the output layer.
    """

    def __init__(
        self,
        whole: Array,
        num_before: int,
        inner: dict[int, Array],
        sizes: dict[int, int],
        dtype: Any,
        columns: int = 0,
    ) -> None:
        super().__init__()
        self.whole = tf.Variable(whole, dtype=dtype, trainable=False, name="kernel")
        self.columns = columns
        self._num_before = num_before
        self._inner = {
            str(step): tf.Variable(kernel, dtype=dtype, trainable=False, name="inner_kernel")
            for step, kernel in inner.items()
            if kernel.size
        }
        self._sizes = sizes

    @property
    def is_empty(self) -> bool:
        """Whether the block has no units."""
        return bool(self.whole.shape[1] == 0)

    def apply(self, inputs: tf.Tensor) -> tf.Tensor:
        """The block's units before their activation, `[units, B]`, from a prefix of all inputs."""
        return _matmul(self.whole, inputs[: self.whole.shape[0]])

    def has(self, step: int) -> bool:
        """Whether the block has units of that step."""
        return self._sizes.get(step, 0) > 0

    def from_before(self, pieces: Sequence[tf.Tensor]) -> dict[int, tf.Tensor]:
        """By step, what the inputs known before the block contribute, `[units, B]`."""
        if self.is_empty:
            return {}
        total = self.total_before(pieces)
        if self.columns:
            total = tf.reshape(total, [-1, self.columns, tf.shape(total)[-1]])
            return dict(zip(self._sizes, tf.unstack(total, num=self.columns, axis=1), strict=True))
        steps = [step for step, size in self._sizes.items() if size]
        parts = tf.split(total, [self._sizes[step] for step in steps], axis=0)
        return dict(zip(steps, parts, strict=True))

    def total_before(self, pieces: Sequence[tf.Tensor]) -> tf.Tensor:
        """What the inputs known before the block contribute to all its units, `[units, B]`."""
        return _matmul(self.whole[: self._num_before], _join(pieces))

    def apply_inner(self, new: tf.Tensor) -> tf.Tensor:
        """What the block's own inputs `new` contribute to all its units, `[units, B]`."""
        inner = self.whole[self._num_before :]
        return _matmul(inner, new[: inner.shape[0]])

    def at_step(self, step: int, before: dict[int, tf.Tensor], new: Sequence[tf.Tensor]) -> tf.Tensor:
        """The units of `step` before their activation, `[units, B]`; `new` are the block's inputs known so far."""
        kernel = self._inner.get(str(step))
        if kernel is None:
            return before[step]
        return before[step] + _matmul(kernel, _join(new))


def _hidden_block(layer: SortedDense, block: tuple[int, int], dtype: Any) -> _BlockKernel:
    first, last = block
    units = layer.units_between(first, last)
    before = layer.inputs_until(first - 1)
    inner, sizes = {}, {}
    for step in range(first, last + 1):
        own = layer.units_between(step, step)
        sizes[step] = own.stop - own.start
        inner[step] = layer.kernel[before : layer.inputs_until(step), own]
    return _BlockKernel(layer.kernel[: layer.inputs_until(last), units], before, inner, sizes, dtype)


def _output_block(layout: Layout, block: tuple[int, int], dtype: Any) -> _BlockKernel:
    first, last = max(block[0], 1), block[1]
    layer, size = layout.output, layout.num_parameters
    steps = range(first, last + 1)
    before = layer.inputs_until(first - 1)
    whole = layer.kernel[: layer.inputs_until(last - 1), layer.units_between(first, last)]
    whole = whole.reshape(len(whole), len(steps), size).swapaxes(1, 2).reshape(len(whole), -1)
    inner = {
        step: layer.kernel[before : layer.inputs_until(step - 1), layer.units_between(step, step)] for step in steps
    }
    return _BlockKernel(whole, before, inner, dict.fromkeys(steps, size), dtype, columns=len(steps))


def _join(pieces: Sequence[tf.Tensor], axis: int = 0) -> tf.Tensor:
    return pieces[0] if len(pieces) == 1 else tf.concat(pieces, axis=axis)


def _matmul(kernel: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """`[inputs, units]` and `[inputs, B]` to `[units, B]`."""
    return tf.matmul(kernel, inputs, transpose_a=True)
