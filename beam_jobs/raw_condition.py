"""The raw columns of a condition, as the model's own `encode_condition` takes them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from beam_jobs.numeric_columns import Mask
    from export.contract import ConditionColumn

    Arrays = Mapping[str, npt.NDArray[Any]]

ENCODE_CONDITION = "encode_condition"
CONDITIONAL_INPUT = "conditional_input"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RawColumn:
    """A raw column of the condition: what the input calls it, and what the contract says of it."""

    name: str
    column: ConditionColumn


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RawCondition:
    """Raw conditions of some rows.

    Attributes:
      inputs: of `encode_condition`, `[R, ...]`; text is bytes.
      rows: which of the R each of B rows has; `None` where they are the same rows.
    """

    inputs: Arrays
    rows: npt.NDArray[np.int64] | None = None

    def filter(self, mask: Mask) -> RawCondition:
        """Those of the rows where the mask `[B]` is true."""
        if self.rows is not None:
            return dataclasses.replace(self, rows=self.rows[mask])
        return RawCondition(inputs={name: array[mask] for name, array in self.inputs.items()})

    def repeat(self, rows: npt.NDArray[np.int64]) -> RawCondition:
        """Those of the rows with these numbers, ascending; a row that comes several times is encoded once."""
        first, last = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        return RawCondition(inputs={name: array[first:last] for name, array in self.inputs.items()}, rows=rows - first)


class ModelRows(Protocol):
    """Rows that a signature is run on: `ScoreableRows`, `Draws`, or another dataclass with these fields."""

    @property
    def inputs(self) -> Arrays:
        """By name of the signature's input, `[B, ...]`."""

    @property
    def condition(self) -> RawCondition | None:
        """What `conditional_input` is still to be made of; `None` where it is among the inputs, or there is none."""


RowsT = TypeVar("RowsT", bound=ModelRows)


def encode_rows(rows: RowsT, run: Callable[[str, Arrays], Arrays]) -> RowsT:
    """The rows with the condition among their inputs, as the model encodes it.

    Args:
      rows: that may have a raw condition.
      run: runs a signature, by its name, on inputs, and gives its outputs.
    """
    if rows.condition is None:
        return rows
    encoded = run(ENCODE_CONDITION, rows.condition.inputs)[CONDITIONAL_INPUT]
    if rows.condition.rows is not None:
        encoded = encoded[rows.condition.rows]
    return dataclasses.replace(  # type: ignore[type-var]  # a protocol cannot ask for a dataclass
        rows, inputs={**rows.inputs, CONDITIONAL_INPUT: encoded}, condition=None
    )


def count_bytes(rows: ModelRows) -> int:
    """Bytes of the arrays that go into the model."""
    arrays = [*rows.inputs.values(), *(rows.condition.inputs.values() if rows.condition else ())]
    return sum(array.nbytes for array in arrays)
