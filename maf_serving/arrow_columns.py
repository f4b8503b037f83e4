"""An Arrow column as numbers or categories, and for each value that is none, what is wrong with it.

A category is text, as `encode_condition` takes it: integers are their decimal digits. No function loops over rows that
are as they should be.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Mapping

Floats = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

# What Arrow reads as a number, so that the values around one that it refuses can still be read.
_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|^[+-]?([nN][aA][nN]|[iI][nN][fF]([iI][nN][iI][tT][yY])?)$"
_NUMBER_TEXT = re.compile(_NUMBER, re.ASCII)
_BOOLEAN = r"^(true|True|TRUE|false|False|FALSE)$"
_SHOWN_CHARACTERS = 40
_INT64_DIGITS = 19


class Fault(enum.Enum):
    """Why a value cannot be scored; the value is the word used in reasons and summaries."""

    NULL = "null"
    NAN = "NaN"
    INFINITE = "infinite"
    OVERFLOW = "overflow"
    NOT_A_NUMBER = "not a number"
    NOT_AN_INTEGER = "not an integer"
    NOT_UTF8 = "not UTF-8"
    NOT_A_TIME = "not a point in time"
    BEYOND = "beyond its bound"
    OUT_OF_RANGE = "out of range"


def is_convertible(column_type: pa.DataType) -> bool:
    """Whether a column of that type can hold numbers: numeric, boolean, decimal, or text to be parsed."""
    if pa.types.is_dictionary(column_type):
        return is_convertible(column_type.value_type)
    tests = (
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_boolean,
        pa.types.is_decimal,
        pa.types.is_null,
        is_text,
    )
    return any(test(column_type) for test in tests)


def is_text(column_type: pa.DataType) -> bool:
    """Whether a column of that type holds text, or bytes that may be."""
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
    )
    return any(test(column_type) for test in tests)


def to_floats(column: pa.Array) -> Floats:
    """The column as float32 if that is its own type, as float64 otherwise; `[B]`.

    Nulls, and text that is no number, come out as NaN: `find_faults` tells them from NaNs of the column's own.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_text(column.type):
        column = _parse(clean_text(column))
    elif not (pa.types.is_float64(column.type) or pa.types.is_float32(column.type)):
        column = column.cast(pa.float64(), safe=False)
    floats: Floats = column.to_numpy(zero_copy_only=False)
    return floats


def find_faults(column: pa.Array, floats: Floats, converted: Floats) -> dict[Fault, Mask]:
    """Where the column has which fault: a mask `[B]` for each; no row is in two.

    Args:
      column: the column itself.
      floats: what `to_floats` made of it.
      converted: `floats` in the precision of the model, where a large number may have become infinite.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    unusable = ~np.isfinite(converted)
    null = ~column.is_valid().to_numpy(zero_copy_only=False)
    not_a_number = np.zeros_like(null)
    if is_text(column.type):
        text = clean_text(column)
        null |= pc.equal(text, "").fill_null(fill_value=False).to_numpy(zero_copy_only=False)
        not_a_number = unusable & ~is_number(text).to_numpy(zero_copy_only=False) & ~null
    nan = np.isnan(floats) & ~null & ~not_a_number
    infinite = np.isinf(floats)
    return {
        Fault.NULL: null,
        Fault.NAN: nan,
        Fault.INFINITE: infinite,
        Fault.OVERFLOW: np.isinf(converted) & ~infinite,
        Fault.NOT_A_NUMBER: not_a_number,
    }


_WORDS = (
    (pa.types.is_boolean, "true or false", "truth values"),
    (pa.types.is_integer, "a whole number", "whole numbers"),
    (pa.types.is_floating, "a number", "numbers"),
    (pa.types.is_decimal, "a number", "numbers"),
    (pa.types.is_timestamp, "a point in time", "points in time"),
    (pa.types.is_date, "a date", "dates"),
    (pa.types.is_time, "a time of day", "times of day"),
    (pa.types.is_duration, "a duration", "durations"),
    (pa.types.is_nested, "a list or record", "lists or records"),
    (pa.types.is_null, "nothing", "nulls"),
    (lambda kind: is_text(kind) and not pa.types.is_binary(kind), "text", "text"),
)


def type_in_words(column_type: pa.DataType) -> str:
    """What a value of that type is, for people: `a whole number`, `text`; Arrow's name where there is no word."""
    return next((one for test, one, _ in _WORDS if test(column_type)), str(column_type))


def column_in_words(column_type: pa.DataType) -> str:
    """What a column of that type holds: `whole numbers`, `points in time`."""
    return next((many for test, _, many in _WORDS if test(column_type)), f"values of type {column_type}")


def encoding_hint(column_type: pa.DataType) -> str:
    """What can be done with a column that is neither numbers nor text; for the end of a message."""
    types = pa.types
    if any(test(column_type) for test in (types.is_timestamp, types.is_date, types.is_time, types.is_duration)):
        return (
            "make columns of numbers of it first, such as the hour of the day, the day of the week and the days since "
            "some date"
        )
    return "leave it out or encode it as numbers"


def describe(name: str, fault: Fault, value: pa.Scalar, dtype: str = "") -> str:
    """The reason given for one value, as in `x0: null` or `c0: not a number: 'abc'`.

    Args:
      name: of the column.
      fault: what is wrong.
      value: with which.
      dtype: that an overflowing value does not fit.
    """
    if fault is Fault.NOT_UTF8:
        return f"{name}: {fault.value}: byte 0x{first_not_utf8(value.as_py()):02X} in {_bytes_shown(value.as_py())}"
    if fault in {Fault.NOT_A_NUMBER, Fault.NOT_AN_INTEGER, Fault.NOT_A_TIME}:
        return f"{name}: {fault.value}: {_shown(value)!r}"
    if fault is Fault.OUT_OF_RANGE:
        return f"{name}: {fault.value}: {'null' if value.as_py() is None else _shown(value)}"
    if fault is Fault.OVERFLOW:
        return f"{name}: {fault.value}: {_shown(value)} does not fit {dtype}"
    if fault is Fault.BEYOND:
        return f"{name}: {fault.value}: {_shown(value)}"
    return f"{name}: {fault.value}"


def _shown(value: pa.Scalar) -> str:
    content = value.as_py()
    text = content.decode(errors="backslashreplace") if isinstance(content, bytes) else str(content)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def first_not_utf8(data: bytes) -> int:
    """The first byte that keeps bytes from being text; they are none."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return data[error.start]
    raise ValueError(f"{data!r} is UTF-8")


def _bytes_shown(data: bytes) -> str:
    return repr(data[:_SHOWN_CHARACTERS])[1:] + ("..." if len(data) > _SHOWN_CHARACTERS else "")


def is_number_text(text: str) -> bool:
    """Whether Arrow reads it as a number."""
    return _NUMBER_TEXT.match(text) is not None


def carry_through(column: pa.Array, column_type: pa.DataType) -> pa.Array:
    """A column of rows that have passed validation, as the type that it has in the output."""
    if column.type == column_type:
        return column
    if is_text(column.type) and pa.types.is_floating(column_type):
        return _parse(clean_text(column)).cast(column_type)
    if is_text(column.type) and pa.types.is_integer(column_type):
        return to_integers(column).values.cast(column_type)
    return column.cast(column_type)


def clean_text(column: pa.Array) -> pa.StringArray:
    """Text without the white space around it. Bytes that are not UTF-8 become a text that is no number."""
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        try:
            column = column.cast(pa.string())
        except pa.ArrowInvalid:
            values = [
                None if value is None else value.decode(errors="backslashreplace") for value in column.to_pylist()
            ]
            column = pa.array(values, pa.string())
    return pc.ascii_trim_whitespace(column.cast(pa.string()))


def is_number(text: pa.StringArray) -> pa.BooleanArray:
    """Where Arrow reads a text `[B]` as a number. A null is none."""
    return pc.match_substring_regex(text, _NUMBER).fill_null(fill_value=False)


def is_boolean(text: pa.StringArray) -> pa.BooleanArray:
    """Where a text `[B]` is true or false, in small letters, as a name or in capitals; null for a null."""
    return pc.match_substring_regex(text, _BOOLEAN)


def _parse(text: pa.StringArray) -> pa.DoubleArray:
    """Numbers, and true and false as 1 and 0: as Arrow has a column of them. Null where a text is neither."""
    try:
        return text.cast(pa.float64())
    except pa.ArrowInvalid:
        boolean = is_boolean(text)
        digits = pc.if_else(pc.match_substring(text, "true", ignore_case=True), "1", "0")
        text = pc.if_else(boolean, digits, text)
        return pc.if_else(is_number(text), text, pa.scalar(None, pa.string())).cast(pa.float64())


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
    """The categories of a column of that kind, `"string"` or `"integer"`."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_null(column.type):
        return Categories(text=column.cast(pa.string()), faults={})
    if kind == "string":
        return _strings(column)
    integers = to_integers(column)
    return Categories(text=integers.values.cast(pa.string()), faults=integers.faults)


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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Integers:
    """A column of whole numbers of 64 bits.

    Attributes:
      values: int64 `[B]`; null where there is no value, or none that can be used.
      faults: as in `Categories`.
    """

    values: pa.Int64Array
    faults: Mapping[Fault, Mask]


def to_integers(column: pa.Array) -> Integers:
    """The whole numbers of a column: at once where all values are, else distinct value by distinct value."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
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
        return Integers(values=column.cast(pa.int64()), faults=faults)
    except pa.ArrowInvalid:
        encoded = column.dictionary_encode()
    parsed = [_integer(value) for value in encoded.dictionary.to_pylist()]
    values = pa.array([None if isinstance(each, Fault) else each for each in parsed], pa.int64())
    for fault in {each for each in parsed if isinstance(each, Fault)}:
        found = pa.array([each is fault for each in parsed]).take(encoded.indices).fill_null(fill_value=False)
        faults[fault] = found.to_numpy(zero_copy_only=False) | faults.get(fault, False)
    return Integers(values=values.take(encoded.indices), faults=faults)


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
