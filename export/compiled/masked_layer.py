"""One autoregressive layer: both directions at the cost of about one evaluation of its network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.compiled.block_kernel import BlockKernel, hidden_shape, join, output_shape
from export.compiled.layout import Layout, SortedDense
from export.compiled.packed_matrices import PackedMatrices
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
        hidden = [[hidden_shape(layer, block) for block in layout.blocks] for layer in layout.hidden]
        self._shapes = [*hidden, [output_shape(layout, block) for block in layout.blocks]]
        sorted_layers = [*layout.hidden, layout.output]
        self._packed = [
            PackedMatrices([shape.kernel(layer) for shape in shapes], dtype, name=f"dense_{i}")
            for i, (layer, shapes) in enumerate(zip(sorted_layers, self._shapes, strict=True))
        ]

    def _kernels(self) -> list[list[BlockKernel]]:
        """By network layer and block, read from the variables."""
        return [
            [BlockKernel(shape, matrix) for shape, matrix in zip(shapes, packed.read(), strict=True)]
            for shapes, packed in zip(self._shapes, self._packed, strict=True)
        ]

    def inverse(self, x: tf.Tensor, header: Header) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` to z, one network in all; log-determinant `[B]` of dz/dx."""
        layout, units = self._layout, [x]
        *hidden, output = self._kernels()
        for layer, kernels in zip(layout.hidden, hidden, strict=True):
            inputs = join([header.of(layer), *units])
            units = [self._activation(kernel.apply(inputs)) for kernel in kernels if not kernel.is_empty]
        inputs = join([header.of(layout.output), *units])
        blocks = [
            tf.reshape(kernel.apply(inputs), [layout.num_parameters, kernel.columns, -1])
            for kernel in output
            if not kernel.is_empty
        ]
        z, log_derivative = self._transform.inverse(join(blocks, axis=1), x)
        return z, tf.reduce_sum(log_derivative, axis=0)

    def forward(self, z: tf.Tensor, header: Header) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` to x, column by column; log-determinant `[B]` of dx/dz."""
        layers = (*self._layout.hidden, self._layout.output)
        known = [[header.of(layer)] for layer in layers]
        log_derivatives: list[tf.Tensor] = []
        for block, *kernels in zip(self._layout.blocks, *self._kernels(), strict=True):
            unrolled = len(self.columns) <= MOST_UNROLLED_COLUMNS or block[1] == 0
            solve = self._solve_unrolled if unrolled else self._solve_in_loop
            new = solve(kernels, block, known, z[max(block[0], 1) - 1 : block[1]], log_derivatives)
            for pieces, units in zip(known, new, strict=True):
                if units is not None:
                    pieces.append(units)
        x = tf.concat(known[0][1:], axis=0)
        return x, tf.reduce_sum(join(log_derivatives), axis=0)

    def _solve_unrolled(
        self,
        kernels: Sequence[BlockKernel],
        block: tuple[int, int],
        known: Sequence[list[tf.Tensor]],
        z: tf.Tensor,
        log_derivatives: list[tf.Tensor],
    ) -> list[tf.Tensor | None]:
        """The block's columns and units, each unit once: for each layer its new inputs."""
        columns = tf.split(z, z.shape[0], axis=0) if z.shape[0] else []
        steps = [kernel.steps_from(pieces) for kernel, pieces in zip(kernels, known, strict=True)]
        new: list[tf.Tensor | None] = [None] * len(kernels)
        for step in range(block[0], block[1] + 1):
            if step > 0:
                params = tf.reshape(steps[-1][step].apply(new[-1]), [self._layout.num_parameters, 1, -1])
                x, log_derivative = self._transform.forward(params, columns[step - block[0]])
                new[0] = _append(new[0], x)
                log_derivatives.append(log_derivative)
            for i, unit_steps in enumerate(steps[:-1]):
                if step in unit_steps:
                    new[i + 1] = _append(new[i + 1], self._activation(unit_steps[step].apply(new[i])))
        return new

    def _solve_in_loop(
        self,
        kernels: Sequence[BlockKernel],
        block: tuple[int, int],
        known: Sequence[list[tf.Tensor]],
        z: tf.Tensor,
        log_derivatives: list[tf.Tensor],
    ) -> list[tf.Tensor | None]:
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
        return [*units_of(x)]


def _append(joined: tf.Tensor | None, units: tf.Tensor) -> tf.Tensor:
    return units if joined is None else tf.concat([joined, units], axis=0)
