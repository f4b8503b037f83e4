"""Points in time: a table's column as seconds since 1970.

    column                                           seconds since 1970-01-01T00:00:00 UTC
    dates                                            of midnight, UTC
    timestamps, of any unit                          of the instant; UTC where they have no time zone
    text, ISO 8601, as 2024-03-01 or                 of midnight; of the instant, UTC where it says no offset
      2024-03-01T12:30:00.25+02:00
    numbers, and text that is one                    the number

Text may have a space for its T, and less than seconds. Years 1 to 9999 are points in time, as in Python.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from maf_serving.arrow_columns import Fault, clean_text, find_faults, is_number, is_text, to_floats
from maf_serving.time_parts import END, START

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maf_serving.arrow_columns import Floats, Mask

_CLOCK = r"[T ]\d\d:\d\d(:\d\d(\.\d+)?)?"
_ZONE = r"(Z|[+-]\d\d(:?\d\d)?)"
_ISO = rf"^\d{{4}}-\d\d-\d\d({_CLOCK}{_ZONE}?)?$"
_ENDS_IN_ZONE = rf":.*{_ZONE}$"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """A column of points in time.

    Attributes:
      values: float64 `[B]`, seconds since 1970; NaN where there is none.
      faults: where there is none and why, a mask `[B]` for each fault; no row is in two.
    """

    values: Floats
    faults: Mapping[Fault, Mask]


def may_hold_time(column_type: pa.DataType) -> bool:
    """Whether a column of that type can hold points in time."""
    types = pa.types
    if types.is_dictionary(column_type):
        return may_hold_time(column_type.value_type)
    tests = (types.is_timestamp, types.is_date, types.is_integer, types.is_floating, types.is_decimal, types.is_null)
    return is_text(column_type) or any(test(column_type) for test in tests)


def to_seconds(column: pa.Array, *, least: float = START, beyond: float = END) -> Seconds:
    """The points in time of a column, of a type that `may_hold_time` takes.

        >>> to_seconds(pa.array(["1970-01-02", "1970-01-01 00:01+01:00", "soon"])).values.tolist()
        [86400.0, -3540.0, nan]

    Args:
      column: of a table.
      least: the first of them.
      beyond: where they end.
    """
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        floats = _of_arrow(column)
    elif is_text(column.type):
        text = clean_text(column)
        numbers = to_floats(pc.if_else(is_number(text), text, pa.scalar(None, pa.string())))
        floats = np.where(np.isnan(numbers), _of_text(text), numbers)
    else:
        floats = to_floats(column).astype(np.float64)
    with np.errstate(invalid="ignore"):
        outside = ~((floats >= least) & (floats < beyond)) & np.isfinite(floats)
    values = np.where(outside | ~np.isfinite(floats), np.nan, floats)
    found = find_faults(column, floats, floats)
    is_nan = found[Fault.NAN] if pa.types.is_floating(column.type) else np.zeros(len(column), bool)
    known = found[Fault.NULL] | is_nan | found[Fault.INFINITE]
    faults = {Fault.NULL: found[Fault.NULL], Fault.NAN: is_nan, Fault.INFINITE: found[Fault.INFINITE]}
    return Seconds(values=values, faults={**faults, Fault.NOT_A_TIME: np.isnan(values) & ~known})


def _of_arrow(column: pa.Array) -> Floats:
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    micros = column.cast(pa.timestamp("us", column.type.tz), safe=False).cast(pa.int64())
    seconds: Floats = micros.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False) / 1e6
    return seconds


def _of_text(text: pa.StringArray) -> Floats:
    """Seconds `[B]` of ISO 8601; NaN for anything else."""
    nothing = pa.scalar(None, pa.string())
    text = pc.if_else(pc.match_substring_regex(text, _ISO), text, nothing)
    text = pc.replace_substring_regex(text, r"(\.\d{6})\d+", r"\1")  # Arrow takes no more digits
    has_zone = pc.match_substring_regex(text, _ENDS_IN_ZONE)
    local = _parse(pc.if_else(has_zone, nothing, text), None)
    zoned = _parse(pc.if_else(has_zone, text, nothing), "UTC")
    return np.where(np.isnan(local), zoned, local)


def _parse(text: pa.StringArray, zone: str | None) -> Floats:
    """At once where all values are points in time, else distinct value by distinct value: there is no February 30."""
    kind = pa.timestamp("us", zone)
    try:
        return _of_arrow(text.cast(kind))
    except pa.ArrowInvalid:
        encoded = text.dictionary_encode()
    right = pa.array([value for value in encoded.dictionary.to_pylist() if _is_time(value, kind)], pa.string())
    return _of_arrow(pc.if_else(pc.is_in(text, right), text, pa.scalar(None, pa.string())).cast(kind))


def _is_time(value: str, kind: pa.DataType) -> bool:
    try:
        pa.scalar(value, pa.string()).cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
