"""How a block's columns are found, one after the other, with the units that wait for them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import tensorflow as tf

from export.compiled.block_kernel import BlockKernel, HiddenUnits, OutputUnits, multiply
from export.compiled.rows import split

if TYPE_CHECKING:
    from export.compiled.transforms import Transform


@dataclasses.dataclass(frozen=True, slots=True)
class SolvedBlock:
    """What is known after a block.

    Attributes:
      inputs: for each dense layer, its new inputs `[., B]`; of the first layer they are the block's columns.
      log_derivatives: of its columns, `[., B]`.
    """

    inputs: list[list[tf.Tensor]]
    log_derivatives: list[tf.Tensor]


class BlockSolver(Protocol):
    """Finds the columns of a block.

    Attributes:
      transform: what the parameters do to a column.
      activation: of the hidden units.
    """

    @property
    def transform(self) -> Transform: ...  # noqa: D102  # above

    @property
    def activation(self) -> Callable[[tf.Tensor], tf.Tensor]: ...  # noqa: D102  # above

    def block_size(self, num_columns: int) -> int:
        """Columns of a block that suit it."""
        ...

    def solve(
        self, block: tuple[int, int], kernels: Sequence[BlockKernel], known: Sequence[tf.Tensor], z: tf.Tensor
    ) -> SolvedBlock:
        """`block`: its first and last step; `known` by dense layer, before it; `z` `[., B]` of its columns."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class UnrolledBlocks:
    """Each unit once, in a graph that grows with the number of columns."""

    transform: Transform
    activation: Callable[[tf.Tensor], tf.Tensor]

    def block_size(self, num_columns: int) -> int:
        """A multiple of 4 near the root of D.

        With larger blocks more of the triangular work inside them is done column by column, with smaller ones more is
        copied between them.
        """
        return 4 * max(1, round(math.sqrt(num_columns) / 4))

    def solve(
        self, block: tuple[int, int], kernels: Sequence[BlockKernel], known: Sequence[tf.Tensor], z: tf.Tensor
    ) -> SolvedBlock:
        """`BlockSolver.solve`."""
        first = max(block[0], 1)
        z_columns = split(z, [1] * z.shape[0]) if z.shape[0] else []
        hidden = [HiddenUnits(kernel, inputs) for kernel, inputs in zip(kernels[:-1], known[:-1], strict=True)]
        output = OutputUnits(kernels[-1], known[-1])
        new: list[list[tf.Tensor]] = [[] for _ in kernels]
        log_derivatives = []
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
        return SolvedBlock(new, log_derivatives)


@dataclasses.dataclass(frozen=True, slots=True)
class LoopedBlocks:
    """All units of a block in every round of a loop, of which round i finds column i: the graph stays small."""

    transform: Transform
    activation: Callable[[tf.Tensor], tf.Tensor]

    def block_size(self, num_columns: int) -> int:
        """Twice that of `UnrolledBlocks`: the number of blocks makes the size of the graph."""
        return 2 * UnrolledBlocks(self.transform, self.activation).block_size(num_columns)

    def solve(
        self, block: tuple[int, int], kernels: Sequence[BlockKernel], known: Sequence[tf.Tensor], z: tf.Tensor
    ) -> SolvedBlock:
        """`BlockSolver.solve`.

        Columns not yet found are zeros: whatever they were, they would meet weights of zero, but infinity times zero is
        not zero.
        """
        if block[1] == 0:  # it has no column
            return UnrolledBlocks(self.transform, self.activation).solve(block, kernels, known, z)
        size = block[1] - block[0] + 1
        before = [multiply(kernel.before, inputs) for kernel, inputs in zip(kernels, known, strict=True)]
        row_numbers = tf.range(size)[:, tf.newaxis]

        def units_of(x: tf.Tensor) -> list[tf.Tensor]:
            units = [x]
            for kernel, total in zip(kernels[:-1], before, strict=False):
                units.append(self.activation(total + kernel.multiply_inner(units[-1])))
            return units

        def evaluate(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            params = before[-1] + kernels[-1].multiply_inner(units_of(x)[-1])
            return self.transform.forward(tf.reshape(params, [kernels[-1].shape.size // size, size, -1]), z)

        def find_column(i: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            found = tf.where(row_numbers <= i, evaluate(x)[0], tf.zeros_like(x))
            return i + 1, tf.ensure_shape(found, x.shape)

        _, x = tf.while_loop(lambda *_: True, find_column, (0, tf.zeros_like(z)), maximum_iterations=size - 1)
        x, log_derivative = evaluate(x)
        return SolvedBlock([[units] for units in units_of(x)], [log_derivative])
