"""An autoregressive network in both directions, each at the cost of about one evaluation of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from export.compiled.block_kernel import BlockKernel, BlockShape, hidden_shape, multiply, output_shape
from export.compiled.block_units import HiddenUnits, OutputUnits
from export.compiled.header import Header
from export.compiled.layout import MOST_UNROLLED_COLUMNS, Layout
from export.compiled.packed_matrices import PackedMatrices
from export.compiled.rows import join, rows, split
from export.compiled.transforms import Transform


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NetworkGraph:
    """What a layer's network computes, in both directions, whatever its weights are.

    `x` and `z` are `[D, B]`, rows in the layer's autoregressive order; `kernels` one packed tensor per dense layer.

    Attributes:
      num_columns: D.
      blocks: first and last step of each block.
      shapes: for each dense layer, the part of each block.
      see_condition: for each dense layer, whether its kernel has rows for the condition.
      transform: what the parameters do to a column.
      activation: of the hidden units.
    """

    num_columns: int
    blocks: tuple[tuple[int, int], ...]
    shapes: tuple[tuple[BlockShape, ...], ...]
    see_condition: tuple[bool, ...]
    transform: Transform
    activation: Callable[[tf.Tensor], tf.Tensor]

    @classmethod
    def of_layout(
        cls, layout: Layout, transform: Transform, activation: Callable[[tf.Tensor], tf.Tensor]
    ) -> NetworkGraph:
        """The graph of a sorted network."""
        hidden = [tuple(hidden_shape(layer, block) for block in layout.blocks) for layer in layout.hidden]
        return cls(
            num_columns=len(layout.columns),
            blocks=layout.blocks,
            shapes=(*hidden, tuple(output_shape(layout, block) for block in layout.blocks)),
            see_condition=tuple(layer.sees_condition for layer in (*layout.hidden, layout.output)),
            transform=transform,
            activation=activation,
        )

    @property
    def packed(self) -> list[PackedMatrices]:
        """How the kernels of each dense layer are packed."""
        return [PackedMatrices(tuple((shape.inputs, shape.size) for shape in shapes)) for shapes in self.shapes]

    def inverse(self, x: tf.Tensor, header: Header, kernels: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` to z, one network in all; log-determinant `[B]` of dz/dx."""
        *hidden, output = [
            list(zip(shapes, packed.read(kernel), strict=True))
            for shapes, packed, kernel in zip(self.shapes, self.packed, kernels, strict=True)
        ]
        *headers, output_header = self._headers(header)
        units = [x]
        for blocks, ones_and_condition in zip(hidden, headers, strict=True):
            inputs = join([ones_and_condition, *units])
            units = [
                self.activation(multiply(kernel, rows(inputs, 0, shape.inputs)))
                for shape, kernel in blocks
                if shape.size
            ]
        inputs = join([output_header, *units])
        params = [
            tf.reshape(
                multiply(kernel, rows(inputs, 0, shape.inputs)), [shape.size // shape.columns, shape.columns, -1]
            )
            for shape, kernel in output
            if shape.size
        ]
        z, log_derivative = self.transform.inverse(tf.concat(params, axis=1), x)
        return z, tf.reduce_sum(log_derivative, axis=0)

    def forward(self, z: tf.Tensor, header: Header, kernels: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` to x, column by column; log-determinant `[B]` of dx/dz."""
        known = self._headers(header)
        log_derivatives: list[tf.Tensor] = []
        of_layers = [
            _block_kernels(shapes, packed, kernel)
            for shapes, packed, kernel in zip(self.shapes, self.packed, kernels, strict=True)
        ]
        columns: list[tf.Tensor] = []
        for block, *of_block in zip(self.blocks, *of_layers, strict=True):
            unrolled = self.num_columns <= MOST_UNROLLED_COLUMNS or block[1] == 0
            solve = self._solve_unrolled if unrolled else self._solve_in_loop
            new = solve(of_block, block, known, rows(z, max(block[0], 1) - 1, block[1]), log_derivatives)
            columns += new[0]
            known = [join([before, *pieces]) for before, pieces in zip(known, new, strict=True)]
        return join(columns), tf.reduce_sum(join(log_derivatives), axis=0)

    def _headers(self, header: Header) -> list[tf.Tensor]:
        """By dense layer."""
        return [header.seen(condition=condition) for condition in self.see_condition]

    def _solve_unrolled(
        self,
        kernels: Sequence[BlockKernel],
        block: tuple[int, int],
        known: Sequence[tf.Tensor],
        z: tf.Tensor,
        log_derivatives: list[tf.Tensor],
    ) -> list[list[tf.Tensor]]:
        """The block's columns and units, each unit once: for each layer its new inputs."""
        first = max(block[0], 1)
        z_columns = split(z, [1] * z.shape[0]) if z.shape[0] else []
        hidden = [HiddenUnits(kernel, inputs) for kernel, inputs in zip(kernels[:-1], known[:-1], strict=True)]
        output = OutputUnits(kernels[-1], known[-1])
        new: list[list[tf.Tensor]] = [[] for _ in kernels]
        for step in range(block[0], block[1] + 1):
            arrived = None
            if step > 0:
                params = output.parameters_of(step - first)
                arrived, log_derivative = self.transform.forward(params, z_columns[step - first])
                log_derivatives.append(log_derivative)
            for layer, pieces in zip(hidden, new[:-1], strict=True):
                if arrived is not None:
                    pieces.append(arrived)
                    layer.add(step, arrived)
                units = layer.at(step)
                arrived = None if units is None else self.activation(units)
            if arrived is not None:
                new[-1].append(arrived)
                output.add(step, arrived)
        return new

    def _solve_in_loop(
        self,
        kernels: Sequence[BlockKernel],
        block: tuple[int, int],
        known: Sequence[tf.Tensor],
        z: tf.Tensor,
        log_derivatives: list[tf.Tensor],
    ) -> list[list[tf.Tensor]]:
        """As `_solve_unrolled`, with a graph whose size does not grow with the block.

        All of the block's units are evaluated in every round, of which round i finds column i. Columns not yet found
        are zeros: whatever they were, they would meet weights of zero, but infinity times zero is not zero.
        """
        size = block[1] - block[0] + 1
        before = [multiply(kernel.before, inputs) for kernel, inputs in zip(kernels, known, strict=True)]
        row_numbers = tf.range(size)[:, tf.newaxis]

        def units_of(x: tf.Tensor) -> list[tf.Tensor]:
            units = [x]
            for kernel, total in zip(kernels[:-1], before, strict=False):
                units.append(self.activation(total + kernel.multiply_inner(units[-1])))
            return units

        def solve(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            params = before[-1] + kernels[-1].multiply_inner(units_of(x)[-1])
            return self.transform.forward(tf.reshape(params, [kernels[-1].shape.size // size, size, -1]), z)

        def find_column(i: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            found = tf.where(row_numbers <= i, solve(x)[0], tf.zeros_like(x))
            return i + 1, tf.ensure_shape(found, x.shape)

        _, x = tf.while_loop(lambda *_: True, find_column, (0, tf.zeros_like(z)), maximum_iterations=size - 1)
        x, log_derivative = solve(x)
        log_derivatives.append(log_derivative)
        return [[units] for units in units_of(x)]


def _block_kernels(shapes: Sequence[BlockShape], packed: PackedMatrices, kernels: tf.Tensor) -> list[BlockKernel]:
    parts = packed.read_in_two(kernels, [shape.inputs_before for shape in shapes])
    return [BlockKernel(shape, before, inner) for shape, (before, inner) in zip(shapes, parts, strict=True)]
