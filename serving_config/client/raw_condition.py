"""Raw columns of a condition as the inputs of a model's `encode_condition`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_config.errors import InputError

if TYPE_CHECKING:
    from export.contract import ConditionColumn
    from serving_config.client.transport import Array, Arrays

_EXPECTED = {"number": "a number", "string": "text", "integer": "a whole number of 64 bits"}


def raw_condition_inputs(
    columns: Mapping[str, Sequence[Any] | Array], condition_columns: Sequence[ConditionColumn], *, first_row: int = 0
) -> Arrays:
    """The inputs of `encode_condition` for B rows.

    Args:
      columns: by name, B values each: text, whole numbers or numbers; `None`, or NaN, where there is none.
      condition_columns: what the model's contract says of them.
      first_row: number of the first row, for errors.

    Raises:
      InputError: a column is missing or unknown, or a value is of another kind, or null where none may be.
    """
    names = [column.name for column in condition_columns]
    if set(columns) != set(names):
        raise InputError(
            f"the condition is made of {', '.join(names) or 'no raw columns: give conditional_input'}; "
            f"given: {', '.join(columns) or 'none'}"
        )
    values = {column.name: _values(column, columns[column.name], first_row) for column in condition_columns}
    rows = {name: len(column) for name, column in values.items()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise InputError(f"columns differ in their rows: {counts}; expected as many of each")
    numbers = [values[column.name] for column in condition_columns if not column.is_category]
    categories = [column for column in condition_columns if column.is_category]
    inputs: Arrays = {}
    if numbers:
        inputs["numbers"] = np.array(numbers, np.float64).T
    if categories:
        inputs["categories"] = _texts([["" if v is None else str(v) for v in values[c.name]] for c in categories])
    if any(column.nullable for column in categories):
        inputs["null_categories"] = np.array([[v is None for v in values[c.name]] for c in categories], np.bool_).T
    return inputs


def _values(column: ConditionColumn, values: Sequence[Any] | Array, first_row: int) -> list[Any]:
    """The values, those of NumPy as Python's own; a null is `None`, or NaN in a column of numbers."""
    listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
    read = {"number": _number, "string": _string, "integer": _integer}[column.kind]
    try:
        return [_read(read, value, column) for value in listed]
    except (TypeError, ValueError, OverflowError):
        row = next(row for row, value in enumerate(listed) if not _is_readable(read, value, column))
        value = listed[row]
        told = "null, which the model does not know there" if _is_null(value) else f"{value!r}"
        raise InputError(
            f"row {first_row + row} has the {column.name} {told}; expected {_EXPECTED[column.kind]}"
        ) from None


def _read(read: Callable[[Any], Any], value: Any, column: ConditionColumn) -> Any:
    if not _is_null(value):
        return read(value)
    if value is None and not column.nullable:
        raise ValueError
    # NaN is a number, and makes NaN of a row that may have no null.
    return math.nan if column.kind == "number" else None if column.nullable else read(value)


def _is_readable(read: Callable[[Any], Any], value: Any, column: ConditionColumn) -> bool:
    try:
        _read(read, value, column)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _number(value: Any) -> float:
    if isinstance(value, (str, bytes)):
        raise TypeError
    return float(value)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, (bool, str, bytes)) or int(value) != value or not -(2**63) <= value < 2**63:
        raise TypeError
    return int(value)


def _texts(columns: list[list[str]]) -> Array:
    array = np.empty((len(columns[0]), len(columns)), object)
    for index, values in enumerate(columns):
        array[:, index] = [value.encode() for value in values]
    return array
