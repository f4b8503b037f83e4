"""An Arrow column as floating-point numbers, and for each value that is none, what is wrong with it."""

from __future__ import annotations

import enum
import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Floats = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

# What Arrow reads as a number, so that the values around one that it refuses can still be read.
_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$|^[+-]?([nN][aA][nN]|[iI][nN][fF]([iI][nN][iI][tT][yY])?)$"
_NUMBER_TEXT = re.compile(_NUMBER, re.ASCII)
_SHOWN_CHARACTERS = 40


class Fault(enum.Enum):
    """Why a value cannot be scored; the value is the word used in reasons and summaries."""

    NULL = "null"
    NAN = "NaN"
    INFINITE = "infinite"
    OVERFLOW = "overflow"
    NOT_A_NUMBER = "not a number"
    NOT_AN_INTEGER = "not an integer"
    NOT_UTF8 = "not UTF-8"


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
        not_a_number = unusable & ~_is_number(text).to_numpy(zero_copy_only=False) & ~null
    nan = np.isnan(floats) & ~null & ~not_a_number
    infinite = np.isinf(floats)
    return {
        Fault.NULL: null,
        Fault.NAN: nan,
        Fault.INFINITE: infinite,
        Fault.OVERFLOW: np.isinf(converted) & ~infinite,
        Fault.NOT_A_NUMBER: not_a_number,
    }


def describe(name: str, fault: Fault, value: pa.Scalar, dtype: str) -> str:
    """The reason given for one value, as in `x0: null` or `c0: not a number: 'abc'`."""
    if fault in {Fault.NOT_A_NUMBER, Fault.NOT_AN_INTEGER}:
        return f"{name}: {fault.value}: {_shown(value)!r}"
    if fault is Fault.OVERFLOW:
        return f"{name}: {fault.value}: {_shown(value)} does not fit {dtype}"
    return f"{name}: {fault.value}"


def _shown(value: pa.Scalar) -> str:
    content = value.as_py()
    text = content.decode(errors="backslashreplace") if isinstance(content, bytes) else str(content)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def is_number_text(text: str) -> bool:
    """Whether Arrow reads it as a number."""
    return _NUMBER_TEXT.match(text) is not None


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


def _parse(text: pa.StringArray) -> pa.DoubleArray:
    try:
        return text.cast(pa.float64())
    except pa.ArrowInvalid:
        numbers = pc.if_else(_is_number(text), text, pa.scalar(None, pa.string()))
        return numbers.cast(pa.float64())


def _is_number(text: pa.StringArray) -> pa.BooleanArray:
    return pc.match_substring_regex(text, _NUMBER).fill_null(fill_value=False)
