"""An Arrow column as categories, and for each value that is none, what is wrong with it.

A category is text, as `encode_condition` takes it: integers are their decimal digits.
"""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.numeric_columns import Fault, clean_text, is_number_text, is_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beam_jobs.numeric_columns import Mask

_INT64_DIGITS = 19


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """A column of categories.

    Attributes:
      text: `[B]`; null where there is no value, or none that can be used.
      faults: where a value cannot be used, a mask `[B]` for each fault; no row is in two. Null is none of them.
    """

    text: pa.StringArray
    faults: Mapping[Fault, Mask]


def to_categories(column: pa.Array, kind: str) -> Categories:
    """The categories of a column of that kind, `"string"` or `"integer"`, whose type `takes_type` accepts."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        return Categories(text=column.cast(pa.string()), faults={})
    return _strings(column) if kind == "string" else _integers(column)


def is_whole(column_type: pa.DataType) -> bool:
    """Whether a column of that type can hold whole numbers: pandas makes floats of integers with nulls."""
    tests = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    return any(test(column_type) for test in tests)


def _strings(column: pa.Array) -> Categories:
    try:
        return Categories(text=column.cast(pa.string()), faults={})
    except pa.ArrowInvalid:
        values = column.to_pylist()
        broken = np.array([value is not None and not _is_utf8(value) for value in values])
        text = pa.array([None if bad else value for value, bad in zip(values, broken, strict=True)], pa.string())
        return Categories(text=text, faults={Fault.NOT_UTF8: broken})


def _integers(column: pa.Array) -> Categories:
    """Integers of 64 bits: at once where all values are, else distinct value by distinct value."""
    faults: dict[Fault, Mask] = {}
    if is_text(column.type):
        column = clean_text(column)
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    elif pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        nan = pc.is_nan(column).fill_null(fill_value=False)
        faults = {Fault.NAN: nan.to_numpy(zero_copy_only=False)}
        column = pc.if_else(nan, pa.scalar(None, pa.float64()), column)
    try:
        return Categories(text=column.cast(pa.int64()).cast(pa.string()), faults=faults)
    except pa.ArrowInvalid:
        encoded = column.dictionary_encode()
    parsed = [_integer(value) for value in encoded.dictionary.to_pylist()]
    texts = pa.array([None if isinstance(each, Fault) else str(each) for each in parsed], pa.string())
    for fault in {each for each in parsed if isinstance(each, Fault)}:
        found = pa.array([each is fault for each in parsed]).take(encoded.indices).fill_null(fill_value=False)
        faults[fault] = found.to_numpy(zero_copy_only=False) | faults.get(fault, False)
    return Categories(text=texts.take(encoded.indices), faults=faults)


def _integer(value: float | Decimal | str) -> int | Fault:
    """The integer that a value is, 7.0 and 1e3 too, or why it is none."""
    if isinstance(value, str) and not is_number_text(value):
        return Fault.NOT_AN_INTEGER
    number = Decimal(value)
    if number.is_nan():
        return Fault.NAN
    if number.is_infinite():
        return Fault.INFINITE
    if number.adjusted() > _INT64_DIGITS:  # before an integer of a billion digits is made
        return Fault.OVERFLOW
    if number != number.to_integral_value():
        return Fault.NOT_AN_INTEGER
    return int(number) if -(2**63) <= number < 2**63 else Fault.OVERFLOW


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
