"""A block of columns is found one after the other, with the units that wait for them.

BlockKernel      the weights of one network layer's units of one block, and what they are applied to
HiddenUnits    the units of a block while its columns become known
OutputUnits
BlockSolver      goes through the columns of a block: unrolled, or in a loop
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

from export.compiled.rows import join, part, rows, split

if TYPE_CHECKING:
    from export.compiled.layout import Layout, SortedDense
    from export.compiled.transforms import Transform

Array = np.ndarray[Any, Any]


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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlockShape:
    """Which part of a layer's kernel a block needs, and how it falls into steps.

    Attributes:
      units: the block's units in the sorted layer.
      inputs: rows of the kernel, of inputs known when the block is done.
      inputs_before: rows of inputs known before the block.
      inputs_at: by step, number of inputs of the block; steps without are left out.
      units_at: by step, number of units; steps without are left out. Empty for the output layer.
      columns: event columns of the block, of the output layer; its units are then parameter by parameter.
    """

    units: slice
    inputs: int
    inputs_before: int
    inputs_at: Mapping[int, int]
    units_at: Mapping[int, int]
    columns: int = 0

    @property
    def size(self) -> int:
        """Units of the block."""
        return int(self.units.stop - self.units.start)

    def kernel(self, layer: SortedDense) -> Array:
        """`[inputs, units]`."""
        kernel = layer.kernel[: self.inputs, self.units]
        if self.columns:
            kernel = kernel.reshape(self.inputs, self.columns, -1).swapaxes(1, 2).reshape(self.inputs, -1)
        return kernel


def hidden_shape(layer: SortedDense, block: tuple[int, int]) -> BlockShape:
    """The part of a hidden layer."""
    first, last = block
    steps = range(first, last + 1)
    return BlockShape(
        units=layer.units_between(first, last),
        inputs=layer.inputs_until(last),
        inputs_before=layer.inputs_until(first - 1),
        inputs_at={step: size for step in steps if (size := layer.num_inputs_at(step))},
        units_at={step: size for step in steps if (size := layer.num_units_at(step))},
    )


def output_shape(layout: Layout, block: tuple[int, int]) -> BlockShape:
    """The part of the output layer, whose units of a step need the inputs known before it."""
    first, last = max(block[0], 1), block[1]
    layer = layout.output
    before = layer.inputs_until(first - 1)
    return BlockShape(
        units=layer.units_between(first, last),
        inputs=max(before, layer.inputs_until(last - 1)),
        inputs_before=before,
        inputs_at={step: size for step in range(first, last) if (size := layer.num_inputs_at(step))},
        units_at={},
        columns=last - first + 1,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class BlockKernel:
    """The weights of a block that a draw uses.

    Attributes:
      shape: its place in the layer.
      before: `[inputs before, units]`, for the inputs known before the block.
      inner: `[inputs - inputs before, units]`, for the block's own inputs.
    """

    shape: BlockShape
    before: tf.Tensor
    inner: tf.Tensor

    def multiply_inner(self, inputs: tf.Tensor) -> tf.Tensor:
        """What `inputs`, which start with the block's own, contribute to all its units, `[units, B]`."""
        return multiply(self.inner, rows(inputs, 0, self.shape.inputs - self.shape.inputs_before))


def multiply(kernel: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """`[inputs, units]` and `[inputs, B]` to `[units, B]`."""
    return tf.matmul(kernel, inputs, transpose_a=True)


class HiddenUnits:
    """A hidden layer's units of a block, those of a step from what is known then: no other is touched."""

    def __init__(self, kernel: BlockKernel, known: tf.Tensor) -> None:
        """`known` `[inputs before, B]` are the inputs known before the block."""
        self._kernel = kernel
        self._units_at = kernel.shape.units_at
        sizes = list(self._units_at.values())
        sums = split(multiply(kernel.before, known), sizes) if sizes else []
        self._sums = dict(zip(self._units_at, sums, strict=True))
        self._new: tf.Tensor | None = None

    def add(self, step: int, inputs: tf.Tensor) -> None:
        """`inputs` `[., B]` are known after `step`."""
        if self._kernel.shape.inputs_at.get(step):
            self._new = inputs if self._new is None else join([self._new, inputs])

    def at(self, step: int) -> tf.Tensor | None:
        """`[., B]`, the units of `step` before their activation; `None` if it has none."""
        if step not in self._sums:
            return None
        if self._new is None:
            return self._sums[step]
        start = sum(size for earlier, size in self._units_at.items() if earlier < step)
        kernel = part(self._kernel.inner, self._new.shape[0], slice(start, start + self._units_at[step]))
        return self._sums[step] + multiply(kernel, self._new)


class OutputUnits:
    """The output layer's units of a block: what arrives is added to all, also to those that do not see it: few."""

    def __init__(self, kernel: BlockKernel, known: tf.Tensor) -> None:
        """`known` `[inputs before, B]` are the inputs known before the block."""
        self._columns = kernel.shape.columns
        sizes = kernel.shape.inputs_at
        inner = split(kernel.inner, list(sizes.values())) if self._columns and sizes else []
        self._inner = dict(zip(sizes, inner, strict=False))
        self._sums: Any = multiply(kernel.before, known) if self._columns else None

    def add(self, step: int, inputs: tf.Tensor) -> None:
        """`inputs` `[., B]` are known after `step`."""
        if step in self._inner:
            self._sums += multiply(self._inner[step], inputs)

    def parameters_of(self, column: int) -> Sequence[tf.Tensor]:
        """P parameters `[1, B]` of the block's event column `column`."""
        after = self._columns - 1 - column
        num_parameters = self._sums.shape[0] // self._columns
        between = [size for _ in range(num_parameters) for size in (1, self._columns - 1)][:-1]
        return split(self._sums, [column, *between, after])[1::2]
