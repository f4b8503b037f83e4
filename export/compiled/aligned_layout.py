"""Fills up a layout so that TensorFlow can share the memory of its parts instead of copying them.

TensorFlow hands out a part of a tensor without copying it only if it starts and ends at multiples of 64 bytes. With the
header and the hidden units of each block multiples of 4, what a block needs of a kernel is a multiple of 16 numbers.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from export.compiled.layout import Layout, SortedDense

Array = np.ndarray[Any, Any]

_MULTIPLE = 4
_NONE = -1


def lacking_rows(rows: int) -> int:
    """Rows of zeros that a header of `rows` is filled up with."""
    return -rows % _MULTIPLE


def align(layout: Layout) -> Layout:
    """The same network with rows of zeros after each header, and units without weights after those of each block."""
    first = (*layout.hidden, layout.output)[0]
    inputs = _Units(np.arange(len(first.input_steps)), first.input_steps)
    hidden = []
    for layer in layout.hidden:
        units = _fill_up(layer.unit_steps, layout.blocks)
        hidden.append(_take(layer, inputs, units))
        inputs = units
    outputs = _Units(np.arange(len(layout.output.unit_steps)), layout.output.unit_steps)
    return dataclasses.replace(layout, hidden=tuple(hidden), output=_take(layout.output, inputs, outputs))


@dataclasses.dataclass(frozen=True, slots=True)
class _Units:
    """Units of a sorted layer by index, `_NONE` for one without weights, and the step of each."""

    index: Array
    steps: Array


def _fill_up(steps: Array, blocks: tuple[tuple[int, int], ...]) -> _Units:
    index, filled = [], []
    for first, last in blocks:
        units = np.flatnonzero((steps >= first) & (steps <= last))
        lacking = -len(units) % _MULTIPLE
        index += [units, np.full(lacking, _NONE)]
        filled += [steps[units], np.repeat(steps[units[-1:]], lacking)]
    return _Units(np.concatenate(index), np.concatenate(filled))


def _take(layer: SortedDense, inputs: _Units, units: _Units) -> SortedDense:
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
