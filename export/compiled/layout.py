"""Where the units and weights of a network lie: the order they become known in, blocks, packing, alignment.

Event columns are taken in the autoregressive order; the one of degree d is known after step d. A unit's *step* is the
last step that it waits for: the largest step of its inputs, 0 if only the condition reaches it. Sorted by step, the
kernels are block lower triangular: a unit needs a prefix of the units before it. Steps are grouped into blocks; block
b has the columns and units of steps `first` to `last`.

All matrices of a network lie one after the other in one tensor and are taken apart without copying. TensorFlow hands
out a part of a tensor without copying it only if it starts and ends at multiples of 64 bytes: with the header (what
every unit sees) and the hidden units of each block filled up to multiples of 4, what a block needs of a kernel is a
multiple of 16 numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.compiled.rows import join, split
from export.errors import CompileError

if TYPE_CHECKING:
    from export.compiled.conditioner import DenseWeights, NetworkWeights


Array = np.ndarray[Any, Any]
_LINE = 16  # numbers: at least 64 bytes, which TensorFlow wants tensors aligned to, or it copies them
_MULTIPLE = 4
_NONE = -1


@dataclasses.dataclass(frozen=True, slots=True)
class SortedDense:
    """A dense layer with its inputs and units sorted by step and dead units left out.

    Attributes:
      kernel: `[header + inputs, units]`: bias, then the condition's rows if any, then the inputs' rows.
      header: 1 + E rows, or 1 where the layer does not see the condition; `aligned` adds rows of zeros.
      sees_condition: whether the header has the condition in it.
      input_steps: `[inputs]`, ascending.
      unit_steps: `[units]`, ascending; of the last layer, the step that a parameter's column is known *after*.
    """

    kernel: Array
    header: int
    sees_condition: bool
    input_steps: Array
    unit_steps: Array

    def inputs_until(self, step: int) -> int:
        """Rows of the kernel, header included, of inputs known after `step`."""
        return self.header + int(np.searchsorted(self.input_steps, step, side="right"))

    def units_between(self, first: int, last: int) -> slice:
        """Units of steps `first` to `last`, both included."""
        steps = self.unit_steps
        return slice(int(np.searchsorted(steps, first)), int(np.searchsorted(steps, last, side="right")))

    def num_units_at(self, step: int) -> int:
        """Units of one step."""
        units = self.units_between(step, step)
        return int(units.stop - units.start)

    def num_inputs_at(self, step: int) -> int:
        """Inputs that become known at one step."""
        return self.inputs_until(step) - self.inputs_until(step - 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """A network sorted by step.

    Attributes:
      columns: `[D]`, event columns in autoregressive order.
      hidden: sorted hidden layers.
      output: the last layer; its units are, column by column, the P parameters.
      num_parameters: P.
      blocks: first and last step of each block; the block (0, 0) has the units that wait for no column.
    """

    columns: Array
    hidden: tuple[SortedDense, ...]
    output: SortedDense
    num_parameters: int
    blocks: tuple[tuple[int, int], ...]


def sort_by_step(weights: NetworkWeights, *, block_size: int) -> Layout:
    """Sorts a network's units by step.

    Args:
      weights: the network.
      block_size: event columns of a block.

    Raises:
      CompileError: if a parameter waits for its own column or a later one: the network is not autoregressive.
    """
    columns = np.argsort(weights.degrees, kind="stable")
    size, num_parameters = len(columns), weights.num_parameters
    hidden: list[SortedDense] = []
    inputs = _Units(columns, np.arange(1, size + 1))
    for layer in weights.layers[:-1]:
        waits = inputs.steps_of(layer)
        units = np.argsort(waits, kind="stable")
        known = inputs if not hidden else inputs.before(size)
        inputs = _Units(units, waits[units])
        hidden.append(_sorted(layer, known, inputs.before(size)))
    outputs = (columns[:, np.newaxis] * num_parameters + np.arange(num_parameters)).ravel()
    own = _Units(outputs, np.repeat(np.arange(1, size + 1), num_parameters))
    if (inputs.steps_of(weights.layers[-1])[outputs] >= own.steps).any():
        raise CompileError("the network is not autoregressive: a kernel has weights where its mask has none")
    output = _sorted(weights.layers[-1], inputs.before(size) if hidden else inputs, own)
    return Layout(columns, tuple(hidden), output, num_parameters, _blocks(size, hidden, block_size))


@dataclasses.dataclass(frozen=True, slots=True)
class _Units:
    """Units of a layer, by index, sorted by step."""

    index: Array
    steps: Array

    def before(self, step: int) -> _Units:
        """Those known before `step`; after the last column's step no column is left that could see a unit."""
        return _Units(self.index[self.steps < step], self.steps[self.steps < step])

    def steps_of(self, layer: DenseWeights) -> Array:
        """The step of each unit of `layer`, whose inputs these are."""
        waits: Array = np.where(layer.kernel[self.index] != 0, self.steps[:, np.newaxis], 0)
        return np.asarray(waits.max(axis=0, initial=0))


def _sorted(layer: DenseWeights, inputs: _Units, units: _Units) -> SortedDense:
    parts = [layer.bias[np.newaxis], layer.kernel[inputs.index]]
    if layer.condition_kernel is not None:
        parts.insert(1, layer.condition_kernel)
    kernel = np.concatenate(parts)[:, units.index]
    header = len(kernel) - len(inputs.index)
    return SortedDense(kernel, header, layer.condition_kernel is not None, inputs.steps, units.steps)


def _blocks(size: int, hidden: list[SortedDense], block_size: int) -> tuple[tuple[int, int], ...]:
    blocks = [(first, min(first + block_size - 1, size)) for first in range(1, size + 1, block_size)]
    waits_for_none = any((layer.unit_steps == 0).any() for layer in hidden)
    return ((0, 0), *blocks) if waits_for_none else tuple(blocks)


@dataclasses.dataclass(frozen=True, slots=True)
class PackedMatrices:
    """How matrices of these shapes lie in one tensor `[lines, 16]`, each from the start of a line on.

    A variable costs a call about a microsecond to find and read, and a caller outside the graph some more: a flow has
    hundreds of matrices, which lie in a few variables. What is read shares the memory of the packed tensor where it
    ends with a line.

    Attributes:
      shapes: of the matrices, in order.
    """

    shapes: tuple[tuple[int, int], ...]

    def pack(self, matrices: Sequence[Array]) -> Array:
        """`[lines, 16]`, of matrices of these shapes."""
        packed = np.zeros([sum(self._lines), _LINE])
        ends = np.cumsum(self._lines)
        for matrix, lines, end in zip(matrices, self._lines, ends, strict=True):
            packed[end - lines : end].reshape(-1)[: matrix.size] = matrix.ravel()
        return packed

    def read(self, packed: tf.Tensor) -> list[tf.Tensor]:
        """The matrices, in order."""
        parts = split(packed, self._lines)
        return [_unpack(part, shape) for part, shape in zip(parts, self.shapes, strict=True)]

    def read_in_two(self, packed: tf.Tensor, first_rows: Sequence[int]) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """The matrices, in order, each as its first rows, of which `first_rows` has the number, and the others."""
        cuts = [rows * units // _LINE for rows, (_, units) in zip(first_rows, self.shapes, strict=True)]
        sizes = [part for cut, lines in zip(cuts, self._lines, strict=True) for part in (cut, lines - cut)]
        parts = split(packed, sizes)
        return [
            _unpack_in_two(first, rest, shape, rows)
            for first, rest, shape, rows in zip(parts[::2], parts[1::2], self.shapes, first_rows, strict=True)
        ]

    @property
    def _lines(self) -> list[int]:
        return [math.ceil(math.prod(shape) / _LINE) for shape in self.shapes]


def _unpack(lines: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    size = math.prod(shape)
    return tf.reshape(lines if size == lines.shape.num_elements() else tf.reshape(lines, [-1])[:size], shape)


def _unpack_in_two(
    first: tf.Tensor, rest: tf.Tensor, shape: tuple[int, ...], first_rows: int
) -> tuple[tf.Tensor, tf.Tensor]:
    rows, units = shape
    if first_rows * units % _LINE:
        matrix = _unpack(tf.concat([first, rest], axis=0), shape)
        return matrix[:first_rows], matrix[first_rows:]
    return _unpack(first, (first_rows, units)), _unpack(rest, (rows - first_rows, units))


def lacking_rows(rows: int) -> int:
    """Rows of zeros that a header of `rows` is filled up with."""
    return -rows % _MULTIPLE


def align(layout: Layout) -> Layout:
    """The same network with rows of zeros after each header, and units without weights after those of each block."""
    first = (*layout.hidden, layout.output)[0]
    inputs = _PackedUnits(np.arange(len(first.input_steps)), first.input_steps)
    hidden = []
    for layer in layout.hidden:
        units = _fill_up(layer.unit_steps, layout.blocks)
        hidden.append(_take(layer, inputs, units))
        inputs = units
    outputs = _PackedUnits(np.arange(len(layout.output.unit_steps)), layout.output.unit_steps)
    return dataclasses.replace(layout, hidden=tuple(hidden), output=_take(layout.output, inputs, outputs))


@dataclasses.dataclass(frozen=True, slots=True)
class _PackedUnits:
    """Units of a sorted layer by index, `_NONE` for one without weights, and the step of each."""

    index: Array
    steps: Array


def _fill_up(steps: Array, blocks: tuple[tuple[int, int], ...]) -> _PackedUnits:
    index, filled = [], []
    for first, last in blocks:
        units = np.flatnonzero((steps >= first) & (steps <= last))
        lacking = -len(units) % _MULTIPLE
        index += [units, np.full(lacking, _NONE)]
        filled += [steps[units], np.repeat(steps[units[-1:]], lacking)]
    return _PackedUnits(np.concatenate(index), np.concatenate(filled))


def _take(layer: SortedDense, inputs: _PackedUnits, units: _PackedUnits) -> SortedDense:
    header = [*range(layer.header), *[_NONE] * lacking_rows(layer.header)]
    rows = np.concatenate([header, np.where(inputs.index == _NONE, _NONE, layer.header + inputs.index)])
    zero_at_the_end = np.pad(layer.kernel, ((0, 1), (0, 1)))
    return dataclasses.replace(
        layer,
        kernel=zero_at_the_end[np.ix_(rows, units.index)],
        header=len(header),
        input_steps=inputs.steps,
        unit_steps=units.steps,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Header:
    """The rows that every unit sees: ones for the biases, and the condition; filled up with zeros, as `align` does.

    Attributes:
      ones: `[H, B]`.
      with_condition: `[H', B]`.
    """

    ones: tf.Tensor
    with_condition: tf.Tensor

    @classmethod
    def of_condition(cls, condition: tf.Tensor | None, ones: tf.Tensor) -> Header:
        """`condition` `[E, B]`, or `None`; `ones` `[1, B]`."""
        only_ones = _fill_up_header([ones])
        return cls(only_ones, only_ones if condition is None else _fill_up_header([ones, condition]))

    def seen(self, *, condition: bool) -> tf.Tensor:
        """The header of a kernel that starts with rows for the condition, or of one that does not."""
        return self.with_condition if condition else self.ones


def _fill_up_header(parts: list[tf.Tensor]) -> tf.Tensor:
    zeros = [tf.zeros_like(parts[0])] * lacking_rows(sum(part.shape[0] for part in parts))
    return join([*parts, *zeros])
