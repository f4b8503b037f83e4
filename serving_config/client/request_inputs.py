"""What is checked of arrays before they are sent, and raw columns as the inputs of `encode_condition`.

TensorFlow Serving does not check shapes, and broadcasts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from maf_serving.errors import one_line
from maf_serving.model_inputs import CONDITIONAL_INPUT, make_inputs
from serving_config.errors import InputError, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from export.contract import ConditionColumn
    from maf_serving.model_inputs import Array
    from serving_config.client.transport import Arrays, SignatureInfo, TensorInfo

_EXPECTED = {"string": "text", "bool": "truth values"}


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
    columns: Mapping[str, Sequence[Any] | Array], condition_columns: Sequence[ConditionColumn]
) -> Mapping[str, Array]:
    """The inputs of `encode_condition` for B rows, by the rule that batch jobs and the client's tables go by.

    Args:
      columns: by name, B values each: text, whole numbers or numbers; `None`, or NaN, where there is none.
      condition_columns: what the model's contract says of them.

    Raises:
      InputError: a column is missing or unknown, or a value is of another kind, or null where none may be.
    """
    import pyarrow as pa  # noqa: PLC0415  # who sends arrays alone needs no columns

    from maf_serving.validation import check_columns, validate  # noqa: PLC0415

    names = [column.name for column in condition_columns]
    if set(columns) != set(names):
        raise InputError(
            f"the condition is made of {', '.join(names) or 'no raw columns: give conditional_input'}; "
            f"given: {', '.join(columns) or 'none'}"
        )
    rows = {name: len(columns[name]) for name in names}
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{name} has {count}" for name, count in rows.items())
        raise InputError(f"columns differ in their rows: {counts}; expected as many of each")
    batch = pa.RecordBatch.from_arrays([_arrow(name, columns[name]) for name in names], names)
    inputs = make_inputs((CONDITIONAL_INPUT,), event=(), condition=condition_columns, encodes=True, dtype="float64")
    try:
        check_columns(batch.schema, inputs, where="the condition")
    except UsageError as error:
        raise InputError(str(error)) from error
    numbers = pa.array(range(batch.num_rows), pa.int64())
    good, bad = validate(batch, rows=numbers, file="the condition", inputs=inputs)
    if bad is not None:
        row, reason = bad.table["row"][0].as_py(), bad.table["reason"][0].as_py()
        more = f"; and {len(bad) - 1:,} more rows" if len(bad) > 1 else ""
        raise InputError(f"row {row} of the condition cannot be used: {reason}{more}")
    if good is None or good.condition is None:
        return _no_rows(condition_columns)
    return good.condition.inputs


def _arrow(name: str, values: Sequence[Any] | Array) -> pa.Array:
    import pyarrow as pa  # noqa: PLC0415  # see `raw_condition_inputs`

    try:
        return pa.array(values)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"column {name} of the condition: {one_line(error)}; expected text, or numbers of at most 64 bits, alone"
        ) from error


def _no_rows(condition_columns: Sequence[ConditionColumn]) -> dict[str, Array]:
    """What `validate` makes of no rows, which no model is asked about."""
    categories = [column for column in condition_columns if column.is_category]
    numbers = len(condition_columns) - len(categories)
    inputs: dict[str, Array] = {"numbers": np.empty((0, numbers))} if numbers else {}
    if categories:
        inputs["categories"] = np.empty((0, len(categories)), object)
    if any(column.nullable for column in categories):
        inputs["null_categories"] = np.empty((0, len(categories)), np.bool_)
    return inputs
