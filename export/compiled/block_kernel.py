"""The weights of one network layer's units of one block, and what they are applied to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from export.compiled.layout import Layout, SortedDense

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BlockShape:
    """Which part of a layer's kernel a block needs, and how it falls into steps.

    Attributes:
      units: the block's units in the sorted layer.
      inputs: rows of the kernel, of inputs known when the block is done.
      inputs_before: rows of inputs known before the block.
      inputs_at: by step, rows of inputs known when the step's units are computed; steps without units are left out.
      units_at: by step, number of units.
      columns: event columns of the block, of the output layer; its units are then parameter by parameter.
    """

    units: slice
    inputs: int
    inputs_before: int
    inputs_at: Mapping[int, int]
    units_at: Mapping[int, int]
    columns: int = 0

    def kernel(self, layer: SortedDense) -> Array:
        """`[inputs, units]`."""
        kernel = layer.kernel[: self.inputs, self.units]
        if self.columns:
            kernel = kernel.reshape(self.inputs, self.columns, -1).swapaxes(1, 2).reshape(self.inputs, -1)
        return kernel


def hidden_shape(layer: SortedDense, block: tuple[int, int]) -> BlockShape:
    """The part of a hidden layer."""
    first, last = block
    sizes = {step: layer.num_units_at(step) for step in range(first, last + 1)}
    units_at = {step: size for step, size in sizes.items() if size}
    return BlockShape(
        units=layer.units_between(first, last),
        inputs=layer.inputs_until(last),
        inputs_before=layer.inputs_until(first - 1),
        inputs_at={step: layer.inputs_until(step) for step in units_at},
        units_at=units_at,
    )


def output_shape(layout: Layout, block: tuple[int, int]) -> BlockShape:
    """The part of the output layer, whose units of a step need the inputs known before it."""
    first, last = max(block[0], 1), block[1]
    layer, steps = layout.output, range(first, last + 1)
    return BlockShape(
        units=layer.units_between(first, last),
        inputs=layer.inputs_until(last - 1),
        inputs_before=layer.inputs_until(first - 1),
        inputs_at={step: layer.inputs_until(step - 1) for step in steps},
        units_at=dict.fromkeys(steps, layout.num_parameters),
        columns=len(steps),
    )


@dataclasses.dataclass(frozen=True, slots=True)
class StepKernel:
    """The weights of one step's units.

    Attributes:
      before: `[units, B]`, what the inputs known before the block contribute.
      kernel: `[inputs, units]`, for the block's inputs known so far; `None` if there are none.
    """

    before: tf.Tensor
    kernel: tf.Tensor | None

    def apply(self, new: tf.Tensor | None) -> tf.Tensor:
        """The units before their activation, `[units, B]`; `new` are the block's inputs known so far."""
        return self.before if self.kernel is None else self.before + _matmul(self.kernel, new)


@dataclasses.dataclass(frozen=True, slots=True)
class BlockKernel:
    """The weights of a block.

    Attributes:
      shape: its place in the layer.
      matrix: `[inputs, units]`.
    """

    shape: BlockShape
    matrix: tf.Tensor

    @property
    def columns(self) -> int:
        """Event columns of the block, of the output layer."""
        return self.shape.columns

    @property
    def is_empty(self) -> bool:
        """Whether the block has no units."""
        return bool(self.matrix.shape[1] == 0)

    def apply(self, inputs: tf.Tensor) -> tf.Tensor:
        """The block's units before their activation, `[units, B]`, from a prefix of all inputs."""
        return _matmul(self.matrix, inputs[: self.shape.inputs])

    def total_before(self, pieces: Sequence[tf.Tensor]) -> tf.Tensor:
        """What the inputs known before the block contribute to all its units, `[units, B]`."""
        return _matmul(self.matrix[: self.shape.inputs_before], join(pieces))

    def apply_inner(self, new: tf.Tensor) -> tf.Tensor:
        """What the block's own inputs `new` contribute to all its units, `[units, B]`."""
        return _matmul(self.matrix[self.shape.inputs_before :], new[: self.shape.inputs - self.shape.inputs_before])

    def steps_from(self, pieces: Sequence[tf.Tensor]) -> dict[int, StepKernel]:
        """By step, its kernel and what `pieces`, the inputs known before the block, contribute."""
        if self.is_empty:
            return {}
        shape = self.shape
        totals = self._by_step(self.total_before(pieces), axis=0)
        kernels = self._by_step(self.matrix[shape.inputs_before :], axis=1)
        inner = {step: inputs - shape.inputs_before for step, inputs in shape.inputs_at.items()}
        return {
            step: StepKernel(totals[step], kernels[step][: inner[step]] if inner[step] else None)
            for step in shape.units_at
        }

    def _by_step(self, tensor: tf.Tensor, axis: int) -> dict[int, tf.Tensor]:
        """`tensor`, which has units along `axis` of two, in parts."""
        steps, sizes = list(self.shape.units_at), list(self.shape.units_at.values())
        if len(steps) == 1:
            return {steps[0]: tensor}
        if not self.columns:
            return dict(zip(steps, tf.split(tensor, sizes, axis=axis), strict=True))
        if axis == 0:
            by_parameter = tf.reshape(tensor, [-1, self.columns, tf.shape(tensor)[1]])
        else:
            by_parameter = tf.reshape(tensor, [tensor.shape[0], sizes[0], self.columns])
        return dict(zip(steps, tf.unstack(by_parameter, num=self.columns, axis=axis + 1), strict=True))


def join(pieces: Sequence[tf.Tensor], axis: int = 0) -> tf.Tensor:
    """`pieces` one after the other."""
    return pieces[0] if len(pieces) == 1 else tf.concat(pieces, axis=axis)


def _matmul(kernel: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """`[inputs, units]` and `[inputs, B]` to `[units, B]`."""
    return tf.matmul(kernel, inputs, transpose_a=True)
