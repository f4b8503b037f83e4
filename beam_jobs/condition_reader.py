"""Raw columns of a condition in an Arrow batch: the inputs of `encode_condition`, and which rows have none."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.category_columns import to_categories
from beam_jobs.numeric_columns import Fault, Floats, Mask, find_faults, to_floats
from beam_jobs.raw_condition import RawColumn, RawCondition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    import numpy.typing as npt

    Faults = Mapping[Fault, Mask]

# What stands where there is no value; `null_categories` says so.
_NO_CATEGORY = b""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReadCondition:
    """The raw conditions of B rows, and what is wrong with some of them.

    Attributes:
      condition: of all rows; of those with a fault it means nothing.
      faults: by name of the column, where a value cannot be used: a mask `[B]` for each fault. Columns without are not
        in it.
      unknown: by name of the column, where a category is none of the model's: a mask `[B]`.
    """

    condition: RawCondition
    faults: Mapping[str, Faults]
    unknown: Mapping[str, Mask]

    def usable(self) -> list[Mask]:
        """For each column with a fault, a mask `[B]` of the rows without."""
        return [~np.logical_or.reduce(list(found.values())) for found in self.faults.values()]


def read_condition(batch: pa.RecordBatch, columns: Sequence[RawColumn], dtype: str) -> ReadCondition:
    """Reads the columns of a batch; `dtype` is the model's. Cost: a pass over each column, no loop over rows."""
    faults: dict[str, Faults] = {}
    unknown: dict[str, Mask] = {}
    numbers: list[Floats] = []
    categories: list[npt.NDArray[Any]] = []
    null_categories: list[Mask] = []
    for raw in columns:
        column = batch.column(raw.name)
        if raw.column.is_category:
            values, null, unknown[raw.name], found = _read_categories(column, raw)
            categories.append(values)
            null_categories.append(null)
        else:
            values, found = _read_numbers(column, raw, dtype)
            numbers.append(values)
        if found:
            faults[raw.name] = found
    inputs: dict[str, npt.NDArray[Any]] = {}
    if numbers:
        inputs["numbers"] = np.stack(numbers, axis=1)
    if categories:
        inputs["categories"] = np.stack(categories, axis=1)
    if any(raw.column.is_category and raw.column.nullable for raw in columns):
        inputs["null_categories"] = np.stack(null_categories, axis=1)
    return ReadCondition(condition=RawCondition(inputs=inputs), faults=faults, unknown=unknown)


def _read_numbers(column: pa.Array, raw: RawColumn, dtype: str) -> tuple[Floats, Faults]:
    floats = to_floats(column)
    # A number too large for float32 becomes infinite, and is rejected for it.
    with np.errstate(over="ignore"):
        converted: Floats = floats.astype(dtype)
    if np.isfinite(converted).all():
        return converted, {}
    faults = find_faults(column, floats, converted)
    states = {Fault.NULL, Fault.NAN} if raw.column.nullable else set()
    return converted, {fault: mask for fault, mask in faults.items() if fault not in states and mask.any()}


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
