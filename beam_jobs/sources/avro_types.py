"""Avro's types as Arrow's."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

_PRIMITIVES = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "fixed": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
}
_LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", tz="UTC"),
    "timestamp-micros": pa.timestamp("us", tz="UTC"),
    "timestamp-nanos": pa.timestamp("ns", tz="UTC"),
    "local-timestamp-nanos": pa.timestamp("ns"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "uuid": pa.string(),
}
_DECIMAL128_DIGITS = 38
# What a table of ours cannot hold: it may be in the file, but not be used.
UNSUPPORTED = pa.struct([])


def arrow_schema(schema: Any) -> pa.Schema:
    """Names and types of the fields of a record; a schema that is no record has none."""
    fields = schema.get("fields", []) if isinstance(schema, dict) else []
    return pa.schema([(field["name"], _arrow_type(field["type"])) for field in fields])


def _arrow_type(avro_type: Any) -> pa.DataType:
    if isinstance(avro_type, list):
        return _union(avro_type)
    if isinstance(avro_type, str):
        return _PRIMITIVES.get(avro_type, UNSUPPORTED)
    return _logical(avro_type) or _complex(avro_type)


def _logical(avro_type: dict[str, Any]) -> pa.DataType | None:
    name = avro_type.get("logicalType", "")
    if name == "decimal":
        wide = avro_type["precision"] > _DECIMAL128_DIGITS
        return (pa.decimal256 if wide else pa.decimal128)(avro_type["precision"], avro_type.get("scale", 0))
    return _LOGICAL.get(name)


def _complex(avro_type: dict[str, Any]) -> pa.DataType:
    kind = avro_type["type"]
    if kind == "array":
        return pa.list_(_arrow_type(avro_type["items"]))
    if kind == "record":
        return pa.struct([(field["name"], _arrow_type(field["type"])) for field in avro_type["fields"]])
    return _arrow_type(kind)


def _union(branches: list[Any]) -> pa.DataType:
    types = {_arrow_type(branch) for branch in branches} - {pa.null()}
    if not types:
        return pa.null()
    if len(types) == 1:
        return types.pop()
    numeric = all(pa.types.is_integer(each) or pa.types.is_floating(each) for each in types)
    return pa.float64() if numeric else UNSUPPORTED
