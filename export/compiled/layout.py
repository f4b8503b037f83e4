"""The order in which a network's units become known, and the blocks they are computed in.

Event columns are taken in the autoregressive order; the one of degree d is known after step d. A unit's *step* is the
last step that it waits for: the largest step of its inputs, 0 if only the condition reaches it. Sorted by step, the
kernels are block lower triangular: a unit needs a prefix of the units before it. Steps are grouped into blocks; block
b has the columns and units of steps `first` to `last`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from export.errors import CompileError

if TYPE_CHECKING:
    from export.compiled.network_weights import DenseWeights, NetworkWeights

Array = np.ndarray[Any, Any]


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
