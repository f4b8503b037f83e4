"""Writes Avro: Arrow's types as Avro's, and columns as the bytes of its encoding, all rows of a column at once.

`sources/avro_source.py` is the way back.

A field that may be null is a union with `null`, which comes first. Integers of up to 32 bits are `int`, others
`long`; unsigned ones of 64 bits are decimals. Times are counted in the unit they have, whole seconds in milliseconds.
"""

from __future__ import annotations

import io
import re
from types import SimpleNamespace
from typing import Any, BinaryIO

import fastavro.write
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.errors import UsageError
from beam_jobs.output.byte_columns import (
    ByteColumn,
    constant,
    contents,
    fixed_width,
    join_columns,
    join_runs,
    lengths,
    text_bytes,
    varints,
)

# The branches of a union with null, which comes first; and what ends an array.
_NULL, _VALUE, _END = constant(b"\x00"), constant(b"\x02"), constant(b"\x00")
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
# Small enough for readers to hold, large enough to be worth a call.
_BLOCK_ROWS = 4096


def encode_records(batch: pa.RecordBatch) -> ByteColumn:
    """A record for each row, of the schema that `avro_schema` gives."""
    columns = zip(batch.schema, batch.columns, strict=True)
    return join_columns(*(_encode(column, nullable=field.nullable) for field, column in columns))


def _encode(column: pa.Array, *, nullable: bool) -> ByteColumn:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        return fixed_width(np.empty((len(column), 0), np.uint8))
    content = _encode_values(column)
    return pc.if_else(column.is_valid(), join_columns(_VALUE, content), _NULL) if nullable else content


def _encode_values(column: pa.Array) -> ByteColumn:
    """The values; null, or anything, where they are null."""
    kind = column.type
    if pa.types.is_nested(kind):
        return _encode_lists(column) if is_list(kind) else _encode_structs(column)
    if pa.types.is_boolean(kind) or pa.types.is_floating(kind):
        number = {pa.bool_(): pa.uint8(), pa.float16(): pa.float32()}.get(kind, kind)
        return fixed_width(column.cast(number).fill_null(0).to_numpy())
    if pa.types.is_decimal(kind) or kind == pa.uint64():
        return _encode_decimals(column)
    if pa.types.is_temporal(kind) or pa.types.is_integer(kind):
        return _zigzag(_count_time(column) if pa.types.is_temporal(kind) else column.cast(pa.int64()))
    return _with_length(text_bytes(column))


def _count_time(column: pa.Array) -> pa.Int64Array:
    """Days, or the units since midnight or the epoch that Avro's type counts."""
    kind = column.type
    if pa.types.is_date(kind):
        return column.cast(pa.date32()).view(pa.int32()).cast(pa.int64())
    if kind.unit == "s":
        column = column.cast(pa.time32("ms") if pa.types.is_time(kind) else pa.timestamp("ms", tz=kind.tz))
    return column.view(pa.int32() if pa.types.is_time32(column.type) else pa.int64()).cast(pa.int64())


def _encode_structs(column: pa.StructArray) -> ByteColumn:
    return join_columns(*(_encode(child, nullable=True) for child in column.flatten()))


def _encode_lists(column: pa.Array) -> ByteColumn:
    sizes: npt.NDArray[np.int64] = pc.fill_null(pc.list_value_length(column), 0).cast(pa.int64()).to_numpy()
    items = join_runs(_encode(column.flatten(), nullable=True), sizes)
    block = join_columns(_zigzag(pa.array(sizes)), items, _END)
    return pc.if_else(pa.array(sizes > 0), block, _END)


def _encode_decimals(column: pa.Array) -> ByteColumn:
    if column.type == pa.uint64():
        column = column.cast(pa.decimal128(UINT64_DIGITS, 0))
    width = column.type.bit_width // 8
    filled = column.fill_null(pa.scalar(0, column.type)) if column.null_count else column
    data = np.frombuffer(filled.buffers()[1], np.uint8)[filled.offset * width : (filled.offset + len(filled)) * width]
    return _with_length(fixed_width(np.ascontiguousarray(data.reshape(-1, width)[:, ::-1])))


def _with_length(column: ByteColumn) -> ByteColumn:
    return join_columns(varints(lengths(column) << np.uint64(1)), column)


def _zigzag(column: pa.Int64Array) -> ByteColumn:
    values: npt.NDArray[np.int64] = column.fill_null(0).to_numpy()
    return varints(((values << 1) ^ (values >> 63)).view(np.uint64))


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


class AvroWriter:
    """See `TableWriter`."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema, *, compression: str) -> None:
        """See the class; `compression` is `deflate` or `none`."""
        codec = "null" if compression == "none" else compression
        self._writer = fastavro.write.Writer(stream, avro_schema(schema), codec=codec)

    def write_table(self, table: pa.Table) -> None:
        """See `TableWriter`."""
        for batch in table.to_batches(max_chunksize=_BLOCK_ROWS):
            rows = io.BytesIO(contents(encode_records(batch)))
            self._writer.write_block(SimpleNamespace(num_records=batch.num_rows, bytes_=rows))

    def close(self) -> None:
        """See `TableWriter`."""
        self._writer.flush()
