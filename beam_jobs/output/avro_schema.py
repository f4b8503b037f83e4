"""Arrow's types as Avro's; `sources/avro_types.py` is the way back.

A field that may be null is a union with `null`, which comes first. Integers of up to 32 bits are `int`, others
`long`; unsigned ones of 64 bits are decimals. Times are counted in the unit they have, whole seconds in milliseconds.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

from beam_jobs.errors import UsageError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = {
    pa.null(): "null",
    pa.bool_(): "boolean",
    **dict.fromkeys([pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint16()], "int"),
    **dict.fromkeys([pa.uint32(), pa.int64()], "long"),
    **dict.fromkeys([pa.float16(), pa.float32()], "float"),
    pa.float64(): "double",
    **dict.fromkeys([pa.string(), pa.large_string(), pa.string_view()], "string"),
    **dict.fromkeys([pa.binary(), pa.large_binary(), pa.binary_view()], "bytes"),
}
UINT64_DIGITS = 20
_UNITS = {"s": "millis", "ms": "millis", "us": "micros", "ns": "nanos"}
_HINT = "expected parquet or jsonl, or another --keep"


def avro_schema(schema: pa.Schema) -> dict[str, Any]:
    """A record with a field for each column. Raises `UsageError`, naming the column, if Avro cannot hold one."""
    return {"type": "record", "name": "row", "fields": [_field(each, each.name, each.name) for each in schema]}


def _field(field: pa.Field, column: str, path: str) -> dict[str, Any]:
    if not _NAME.fullmatch(field.name):
        raise UsageError(
            f"--output_format avro cannot hold {'column' if field.name == column else 'field'} {field.name!r}: a name "
            f"of Avro has letters, digits and _ alone, and begins with no digit; {_HINT}"
        )
    avro_type = _avro_type(field.type, column, path)
    if not field.nullable or avro_type == "null":
        return {"name": field.name, "type": avro_type}
    return {"name": field.name, "type": ["null", avro_type], "default": None}


def _avro_type(column_type: pa.DataType, column: str, path: str) -> Any:
    if pa.types.is_dictionary(column_type):
        return _avro_type(column_type.value_type, column, path)
    if pa.types.is_fixed_size_binary(column_type):
        return "bytes"
    if column_type in _PLAIN:
        return _PLAIN[column_type]
    found = _logical(column_type) or _nested(column_type, column, path)
    if found is None:
        raise UsageError(f"--output_format avro cannot hold column {column}, which is {column_type}; {_HINT}")
    return found


def _logical(column_type: pa.DataType) -> dict[str, Any] | None:
    if column_type == pa.uint64():
        return {"type": "bytes", "logicalType": "decimal", "precision": UINT64_DIGITS, "scale": 0}
    if pa.types.is_decimal(column_type):
        return {
            "type": "bytes",
            "logicalType": "decimal",
            "precision": column_type.precision,
            "scale": column_type.scale,
        }
    if pa.types.is_date(column_type):
        return {"type": "int", "logicalType": "date"}
    if pa.types.is_timestamp(column_type):
        kind = "timestamp" if column_type.tz else "local-timestamp"
        return {"type": "long", "logicalType": f"{kind}-{_UNITS[column_type.unit]}"}
    if pa.types.is_time(column_type) and column_type.unit != "ns":
        unit = _UNITS[column_type.unit]
        return {"type": "int" if unit == "millis" else "long", "logicalType": f"time-{unit}"}
    return None


def _nested(column_type: pa.DataType, column: str, path: str) -> dict[str, Any] | None:
    if is_list(column_type):
        item = _avro_type(column_type.value_type, column, f"{path}_item")
        return {"type": "array", "items": item if item == "null" else ["null", item]}
    if pa.types.is_struct(column_type):
        fields = [_field(pa.field(each.name, each.type), column, f"{path}_{each.name}") for each in column_type]
        return {"type": "record", "name": f"{path}_record", "fields": fields}
    return None


def is_list(column_type: pa.DataType) -> bool:
    """Whether its values are lists of any kind."""
    tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(test(column_type) for test in tests)
