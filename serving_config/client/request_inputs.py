"""What is checked of arrays before they are sent, and raw columns as the inputs of `encode_condition`.

TensorFlow Serving does not check shapes, and broadcasts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_config.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from export.contract import ConditionColumn
    from serving_config.client.transport import Array, Arrays, SignatureInfo, TensorInfo

_EXPECTED = {"string": "text", "bool": "truth values"}
_EXPECTED_COLUMNS = {"number": "a number", "string": "text", "integer": "a whole number of 64 bits"}


def request_inputs(signature_name: str, signature: SignatureInfo, given: Mapping[str, npt.ArrayLike]) -> Arrays:
    """The arrays in the types that the signature wants.

    Raises:
      InputError: an input is missing or unknown, has another width, or other rows than its neighbour.
    """
    if set(given) != set(signature.inputs):
        raise InputError(
            f"signature {signature_name} takes {', '.join(sorted(signature.inputs)) or 'no input'}; "
            f"given: {', '.join(sorted(given)) or 'none'}"
        )
    arrays = {name: _array(name, value, signature.inputs[name]) for name, value in given.items()}
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise InputError(f"inputs differ in their rows: {counts}; expected as many of each")
    return arrays


def given_inputs(**arrays: npt.ArrayLike | None) -> dict[str, npt.ArrayLike]:
    """Those that are given: an unconditional model has no conditional input."""
    return {name: array for name, array in arrays.items() if array is not None}


def empty_outputs(signature: SignatureInfo) -> Arrays:
    """What a model answers to no rows."""
    return {
        name: np.empty((0, *(size or 0 for size in info.shape[1:])), info.dtype)
        for name, info in signature.outputs.items()
    }


def _fits(array: Array, dtype: str) -> bool:
    """Whether an array of that type can be sent as the type of an input."""
    if dtype == "string":
        return array.dtype.kind in "SU" or (
            array.dtype.kind == "O" and all(isinstance(value, (str, bytes)) for value in array.flat)
        )
    if dtype == "bool":
        return array.dtype.kind == "b"
    return array.dtype.kind in "fiu" and not (dtype.startswith("int") and array.dtype.kind == "f")


def _bytes(array: Array) -> Array:
    """Text as bytes, of dtype object."""
    encoded = np.empty(array.size, object)
    encoded[:] = [value if isinstance(value, bytes) else str(value).encode() for value in array.flat]
    shaped: Array = encoded.reshape(array.shape)
    return shaped


def _array(name: str, value: npt.ArrayLike, info: TensorInfo) -> Array:
    array = np.asarray(value)
    if not _fits(array, info.dtype):
        expected = _EXPECTED.get(info.dtype, "numbers")
        raise InputError(f"{name} is of type {array.dtype}; expected {expected} for {info.dtype}")
    if not info.shape or info.shape[0] is not None:
        raise InputError(f"{name} has the shape {list(info.shape)} in the model; expected rows as its first dimension")
    fits = array.ndim == len(info.shape) and all(
        want is None or size == want for size, want in zip(array.shape[1:], info.shape[1:], strict=False)
    )
    if not fits:
        expected = ", ".join(["B", *("any" if size is None else str(size) for size in info.shape[1:])])
        raise InputError(f"{name} has shape {list(array.shape)}; the model expects [{expected}]")
    if info.dtype == "string":
        return _bytes(array)
    with np.errstate(over="ignore"):  # beyond float32 is infinite there, as on the server
        return array.astype(info.dtype, copy=False)


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
            f"row {first_row + row} has the {column.name} {told}; expected {_EXPECTED_COLUMNS[column.kind]}"
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
