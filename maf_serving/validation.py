"""Columns of a table to what a model takes, and rows that it cannot take to rejected ones with their reasons.

    columns: pa.RecordBatch  ->  validate()  ->  ScoreableRows   ->  the model
                                            ->  RejectedRows    "price: null", "age: not a number: 'abc'"

The same for a batch job, the client's files and a model in this process. `check_columns` comes before, once for a
table: what no row of it could pass is refused there.
"""

from __future__ import annotations

import dataclasses
import types
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from maf_serving.arrow_columns import (
    Fault,
    Floats,
    Mask,
    column_in_words,
    describe,
    encoding_hint,
    find_faults,
    is_convertible,
    is_text,
    is_whole,
    to_categories,
    to_floats,
)
from maf_serving.columns import TIMESTAMP, numbers_dtype
from maf_serving.condition_range import numbers_outside, values_outside
from maf_serving.errors import UsageError, did_you_mean
from maf_serving.model_inputs import CONDITIONAL_INPUT, RawColumn, RawCondition
from maf_serving.rejection import RejectedRows, reject
from maf_serving.timestamps import may_hold_time, to_seconds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from maf_serving.model_inputs import ModelInputs

    Faults = Mapping[Fault, Mask]

_EXPECTED = {
    "number": "numbers or text",
    "string": "text",
    "integer": "whole numbers",
    TIMESTAMP: "dates, timestamps, ISO 8601 text or seconds since 1970",
}
# What stands where there is no value; `null_categories` says so.
_NO_CATEGORY = b""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoreableRows:
    """Rows of one file that the model can take.

    Attributes:
      file: path of the file, or what else the rows are from.
      rows: row numbers in the file, from 0; int64 `[B]`.
      inputs: by name of the signature's input, numbers `[B, size]` in the model's dtype, all finite.
      columns: the columns as they were read, of B rows.
      condition: what the model is to make `conditional_input` of, where that is not among the inputs.
      unknown: by name of a column of categories, where its value is none of the model's: a mask `[B]`.
      out_of_range: by name of a column of the condition that has any, where training saw nothing like it: a mask `[B]`.
    """

    file: str
    rows: pa.Int64Array
    inputs: Mapping[str, Floats]
    columns: pa.RecordBatch
    condition: RawCondition | None = None
    unknown: Mapping[str, Mask] = dataclasses.field(default_factory=dict)
    out_of_range: Mapping[str, Mask] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def filter(self, mask: Mask) -> ScoreableRows:
        """The rows where the mask `[B]` is true."""
        chosen = pa.array(mask)
        return ScoreableRows(
            file=self.file,
            rows=self.rows.filter(chosen),
            inputs={name: tensor[mask] for name, tensor in self.inputs.items()},
            columns=self.columns.filter(chosen),
            condition=None if self.condition is None else self.condition.filter(mask),
            unknown={name: unknown[mask] for name, unknown in self.unknown.items()},
            out_of_range={name: outside[mask] for name, outside in self.out_of_range.items()},
        )

    def slice(self, start: int, rows: int) -> ScoreableRows:
        """At most so many of the rows, from one of them on."""
        if start == 0 and rows >= len(self):
            return self
        stop = min(start + rows, len(self))
        return ScoreableRows(
            file=self.file,
            rows=self.rows.slice(start, rows),
            inputs={name: tensor[start:stop] for name, tensor in self.inputs.items()},
            columns=self.columns.slice(start, rows),
            condition=None if self.condition is None else self.condition.repeat(np.arange(start, stop)),
            unknown={name: unknown[start:stop] for name, unknown in self.unknown.items()},
            out_of_range={name: outside[start:stop] for name, outside in self.out_of_range.items()},
        )


def validate(
    columns: pa.RecordBatch, *, rows: pa.Int64Array, file: str, inputs: ModelInputs
) -> tuple[ScoreableRows | None, RejectedRows | None]:
    """Splits rows into those that the model can take and those that it cannot; `None` where there are none of a kind.

    A row is refused for its first column, in the model's order, that holds null, NaN, an infinite value, one that
    overflows the model's dtype or is beyond its bounds, or text that is no number. Of raw columns of the condition,
    null and NaN are values where the contract says nullable; a category that the model does not know is one too. Cost:
    one pass over the columns; a second where something is wrong.

        >>> from maf_serving.model_inputs import make_inputs
        >>> inputs = make_inputs(["x"], event=("price",), condition=(), encodes=False, dtype="float32")
        >>> batch = pa.record_batch({"price": ["9.5", None, "", "cheap"]})
        >>> good, bad = validate(batch, rows=pa.array(range(4)), file="a.csv", inputs=inputs)
        >>> good.inputs["x"], bad.table["reason"].to_pylist()
        (array([[9.5]], dtype=float32), ['price: null', 'price: null', "price: not a number: 'cheap'"])

    Args:
      columns: those of the model, by their names, and any others; of types that `check_columns` lets pass.
      rows: the numbers of the rows in their file, from 0; int64 `[B]`, ascending.
      file: path of the file, or what else they are from.
      inputs: which columns the model takes.
    """
    floats = {name: to_floats(columns.column(name)) for name in inputs.numeric_names}
    tensors = {name: _stack(floats, names, len(rows), inputs.dtype) for name, names in inputs.columns.items()}
    raw = _read_condition(columns, inputs) if inputs.condition else None
    outside: Mapping[str, Mask] = {} if raw is None else raw.out_of_range
    if raw is None and inputs.ranges is not None:
        conditions = [floats[name] for name in inputs.columns[CONDITIONAL_INPUT]]
        outside = numbers_outside(inputs.ranges, conditions, inputs.dtype)
    scoreable = ScoreableRows(
        file=file,
        rows=rows,
        inputs=tensors,
        columns=columns,
        condition=None if raw is None else raw.condition,
        unknown={} if raw is None else raw.unknown,
        out_of_range=outside,
    )
    beyond = _find_beyond(tensors, inputs)
    finite = all(np.isfinite(tensor).all() for tensor in tensors.values())
    if finite and not beyond and (raw is None or not raw.faults):
        return (scoreable if len(rows) else None), None
    usable = [np.isfinite(tensor).all(axis=1) for tensor in tensors.values()]
    usable += [~mask for mask in beyond.values()]
    good = np.logical_and.reduce(usable if raw is None else [*usable, *raw.usable()])
    rejected = _reject(scoreable, _find_faults(columns, inputs, floats, raw, beyond), ~good, inputs)
    return (scoreable.filter(good) if good.any() else None), rejected


def check_columns(
    schema: pa.Schema,
    inputs: ModelInputs,
    *,
    where: str,
    untyped: Collection[str] = (),
    optional: Collection[str] = (),
    lookalikes: Mapping[str, str] = types.MappingProxyType({}),
) -> None:
    """Refuses a table whose columns cannot serve, whatever its rows are.

    Args:
      schema: names and types of its columns.
      inputs: which of them the model takes.
      where: what the table is called, in errors.
      untyped: columns whose type says nothing, as in a file of text.
      optional: columns of the model that may be missing.
      lookalikes: by name, what columns of text look like that may be numbers written in another way.

    Raises:
      UsageError: naming every column that is missing, there twice, or of a type that cannot hold what the model takes.
    """
    columns = [name for name in inputs.names if name in schema.names or name not in optional]
    missing = [name for name in columns if name not in schema.names]
    if missing:
        close = did_you_mean(missing[0], schema.names)
        hint = "" if close is None else f"did you mean {close!r}? "
        raise UsageError(
            f"input column(s) {', '.join(missing)} not in {where}; {hint}it has: {', '.join(schema.names)}; "
            f"the model expects: {', '.join(inputs.names)}"
        )
    for name in columns:
        if schema.names.count(name) > 1:
            raise UsageError(f"{where} has more than one column {name}; expected each name once")
    known = {name: schema.field(name).type for name in columns if name not in untyped}
    kinds = inputs.kinds
    for name in columns:
        if name in lookalikes and kinds[name] not in {"string", TIMESTAMP}:
            raise UsageError(f"input column {name} of {where} is {lookalikes[name]}")
    misfits = [name for name, column_type in known.items() if not _holds(column_type, kinds[name])]
    if misfits:
        first, *others = [
            f"holds {column_in_words(known[name])}; expected {_EXPECTED[kinds[name]]}" for name in misfits
        ]
        more = "".join(f"; and {name} {told}" for name, told in zip(misfits[1:], others, strict=True))
        raise UsageError(f"input column {misfits[0]} of {where} {first}{more}{_hint(known[misfits[0]])}")


def _hint(column_type: pa.DataType) -> str:
    return "" if is_convertible(column_type) else f": {encoding_hint(column_type)}"


def _holds(column_type: pa.DataType, kind: str) -> bool:
    """Whether a column of that type can hold values of that kind."""
    if pa.types.is_dictionary(column_type):
        return _holds(column_type.value_type, kind)
    if kind == TIMESTAMP:
        return may_hold_time(column_type)
    if pa.types.is_null(column_type) or kind == "number":
        return is_convertible(column_type)
    return is_text(column_type) if kind == "string" else is_whole(column_type)


def _stack(floats: Mapping[str, Floats], columns: Sequence[str], rows: int, dtype: str) -> Floats:
    tensor = np.empty((rows, len(columns)), dtype)
    # A number too large for float32 becomes infinite, and is rejected for it.
    with np.errstate(over="ignore"):
        for index, name in enumerate(columns):
            tensor[:, index] = floats[name]
    return tensor


def _find_beyond(tensors: Mapping[str, Floats], inputs: ModelInputs) -> dict[str, Mask]:
    """By name of a column of which some finite values are beyond a bound, in the model's dtype: a mask `[B]`."""
    found = {}
    for name, (lower, upper) in inputs.bounds.items():
        values = tensors["x"][:, inputs.columns["x"].index(name)]
        beyond = np.zeros(len(values), bool)
        if lower is not None:
            beyond |= values < values.dtype.type(lower)
        if upper is not None:
            beyond |= values > values.dtype.type(upper)
        beyond &= np.isfinite(values)
        if beyond.any():
            found[name] = beyond
    return found


def _find_faults(
    columns: pa.RecordBatch,
    inputs: ModelInputs,
    floats: Mapping[str, Floats],
    raw: _ReadCondition | None,
    beyond: Mapping[str, Mask],
) -> Iterator[tuple[str, Faults]]:
    """What is wrong in each column, in the model's order."""
    for name in inputs.numeric_names:
        with np.errstate(over="ignore"):
            converted = floats[name].astype(inputs.dtype)
        found = find_faults(columns.column(name), floats[name], converted)
        yield name, found | ({Fault.BEYOND: beyond[name]} if name in beyond else {})
    if raw is not None:
        yield from raw.faults.items()


def _reject(batch: ScoreableRows, faults: Iterator[tuple[str, Faults]], bad: Mask, inputs: ModelInputs) -> RejectedRows:
    reasons: dict[int, str] = {}
    kinds: Counter[str] = Counter()
    for name, found in faults:
        column = batch.columns.column(name)
        dtype = "int64" if inputs.categories.get(name) == "integer" else inputs.dtype
        for fault, mask in found.items():
            for index in np.flatnonzero(mask & bad):
                reasons[int(index)] = describe(name, fault, column[int(index)], dtype)
                kinds[fault.value] += 1
        bad = bad & ~np.logical_or.reduce(list(found.values()))
    refused = sorted(reasons)
    return reject(batch.file, batch.rows.take(pa.array(refused, pa.int64())), [reasons[i] for i in refused], kinds)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _ReadCondition:
    """The raw conditions of B rows, and what is wrong with some of them.

    Attributes:
      condition: of all rows; of those with a fault it means nothing.
      faults: by name of the column, where a value cannot be used: a mask `[B]` for each fault. Columns without are not
        in it.
      unknown: by name of the column, where a category is none of the model's: a mask `[B]`.
      out_of_range: by name of the column, where training saw nothing like it: a mask `[B]`. Columns without are not in
        it.
    """

    condition: RawCondition
    faults: Mapping[str, Faults]
    unknown: Mapping[str, Mask]
    out_of_range: Mapping[str, Mask]

    def usable(self) -> list[Mask]:
        """For each column with a fault, a mask `[B]` of the rows without."""
        return [~np.logical_or.reduce(list(found.values())) for found in self.faults.values()]


def _read_condition(batch: pa.RecordBatch, inputs: ModelInputs) -> _ReadCondition:
    """Reads the raw columns of a batch. Cost: a pass over each column, no loop over rows.

    Numbers with an offset are checked without it, and left as they are: the model takes it off.
    """
    columns = inputs.condition
    faults: dict[str, Faults] = {}
    unknown: dict[str, Mask] = {}
    out_of_range: dict[str, Mask] = {}
    numbers: list[Floats] = []
    categories: list[npt.NDArray[Any]] = []
    null_categories: list[Mask] = []
    for index, raw in enumerate(columns):
        column, converted, null = batch.column(raw.name), None, None
        if raw.column.is_category:
            values, null, unknown[raw.name], found = _read_categories(column, raw)
            categories.append(values)
            null_categories.append(null)
        elif raw.column.is_time:
            values, found = _read_times(column, raw)
            numbers.append(values)
            null = np.isnan(values) if raw.column.nullable else None
            if raw.column.unit is not None:
                converted = ((values - raw.column.offset) / raw.column.unit).astype(inputs.dtype)
        else:
            values, converted, found = _read_numbers(column, raw, inputs.dtype)
            numbers.append(values)
            null = np.isnan(converted) if raw.column.nullable else None
        if found:
            faults[raw.name] = found
        if inputs.ranges is not None:
            each = inputs.ranges.columns[index]
            outside = values_outside(each, numbers=converted, unknown=unknown.get(raw.name), null=null)
            out_of_range |= {} if outside is None else {raw.name: outside}
    told: dict[str, npt.NDArray[Any]] = {}
    if numbers:
        told["numbers"] = np.stack(numbers, axis=1, dtype=numbers_dtype((raw.column for raw in columns), inputs.dtype))
    if categories:
        told["categories"] = np.stack(categories, axis=1)
    if any(raw.column.is_category and raw.column.nullable for raw in columns):
        told["null_categories"] = np.stack(null_categories, axis=1)
    return _ReadCondition(
        condition=RawCondition(inputs=told), faults=faults, unknown=unknown, out_of_range=out_of_range
    )


def _read_numbers(column: pa.Array, raw: RawColumn, dtype: str) -> tuple[Floats, Floats, Faults]:
    """Values `[B]` as the model takes them, the same without their offset in its type, and what is wrong."""
    floats = to_floats(column)
    # A number too large for float32 becomes infinite, and is rejected for it.
    with np.errstate(over="ignore"):
        if raw.column.offset:
            floats = floats.astype(np.float64)
        converted: Floats = (floats - raw.column.offset).astype(dtype)
    values = floats if raw.column.offset else converted
    if np.isfinite(converted).all():
        return values, converted, {}
    faults = find_faults(column, floats, converted)
    states = {Fault.NULL, Fault.NAN} if raw.column.nullable else set()
    return values, converted, {fault: mask for fault, mask in faults.items() if fault not in states and mask.any()}


def _read_times(column: pa.Array, raw: RawColumn) -> tuple[Floats, Faults]:
    read = to_seconds(column)
    states = {Fault.NULL, Fault.NAN} if raw.column.nullable else set()
    return read.values, {fault: mask for fault, mask in read.faults.items() if fault not in states and mask.any()}


def _read_categories(column: pa.Array, raw: RawColumn) -> tuple[npt.NDArray[Any], Mask, Mask, Faults]:
    """Values `[B]` as bytes, where they are null, where they are unknown, and what is wrong."""
    read = to_categories(column, raw.column.kind)
    encoded = read.text.dictionary_encode()
    # Objects of distinct values alone: the rows share them.
    distinct = np.append(encoded.dictionary.cast(pa.binary()).to_numpy(zero_copy_only=False), _NO_CATEGORY)
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    known = pc.is_in(encoded.dictionary, pa.array(map(str, raw.column.vocabulary), pa.string()))
    unknown = np.append(~known.to_numpy(zero_copy_only=False), False)[codes]  # null is not unknown
    null = codes < 0
    faults = {fault: mask for fault, mask in read.faults.items() if mask.any()}
    if raw.column.nullable:
        faults.pop(Fault.NAN, None)
    elif null.any():
        others = np.logical_or.reduce([np.zeros_like(null), *faults.values()])
        faults[Fault.NULL] = null & ~others
    return distinct[codes], null, unknown, faults
