"""The weights of one network layer's units of one block, and what they are applied to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.compiled.rows import rows

if TYPE_CHECKING:
    from export.compiled.layout import Layout, SortedDense

Array = np.ndarray[Any, Any]


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
