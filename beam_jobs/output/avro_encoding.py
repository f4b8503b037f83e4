"""Arrow columns as the bytes of Avro's binary encoding, all rows of a column at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.output.avro_schema import UINT64_DIGITS, is_list
from beam_jobs.output.byte_columns import (
    ByteColumn,
    as_bytes,
    constant,
    fixed_width,
    join,
    join_runs,
    lengths,
    varints,
)

# The branches of a union with null, which comes first; and what ends an array.
_NULL, _VALUE, _END = constant(b"\x00"), constant(b"\x02"), constant(b"\x00")


def encode_rows(batch: pa.RecordBatch) -> ByteColumn:
    """A record for each row, of the schema that `avro_schema` gives."""
    columns = zip(batch.schema, batch.columns, strict=True)
    return join(*(_encode(column, nullable=field.nullable) for field, column in columns))


def _encode(column: pa.Array, *, nullable: bool) -> ByteColumn:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        return fixed_width(np.empty((len(column), 0), np.uint8))
    content = _encode_values(column)
    return pc.if_else(column.is_valid(), join(_VALUE, content), _NULL) if nullable else content


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
    return _with_length(as_bytes(column))


def _count_time(column: pa.Array) -> pa.Int64Array:
    """Days, or the units since midnight or the epoch that Avro's type counts."""
    kind = column.type
    if pa.types.is_date(kind):
        return column.cast(pa.date32()).view(pa.int32()).cast(pa.int64())
    if kind.unit == "s":
        column = column.cast(pa.time32("ms") if pa.types.is_time(kind) else pa.timestamp("ms", tz=kind.tz))
    return column.view(pa.int32() if pa.types.is_time32(column.type) else pa.int64()).cast(pa.int64())


def _encode_structs(column: pa.StructArray) -> ByteColumn:
    return join(*(_encode(child, nullable=True) for child in column.flatten()))


def _encode_lists(column: pa.Array) -> ByteColumn:
    sizes: npt.NDArray[np.int64] = pc.fill_null(pc.list_value_length(column), 0).cast(pa.int64()).to_numpy()
    items = join_runs(_encode(column.flatten(), nullable=True), sizes)
    block = join(_zigzag(pa.array(sizes)), items, _END)
    return pc.if_else(pa.array(sizes > 0), block, _END)


def _encode_decimals(column: pa.Array) -> ByteColumn:
    if column.type == pa.uint64():
        column = column.cast(pa.decimal128(UINT64_DIGITS, 0))
    width = column.type.bit_width // 8
    filled = column.fill_null(pa.scalar(0, column.type)) if column.null_count else column
    data = np.frombuffer(filled.buffers()[1], np.uint8)[filled.offset * width : (filled.offset + len(filled)) * width]
    return _with_length(fixed_width(np.ascontiguousarray(data.reshape(-1, width)[:, ::-1])))


def _with_length(column: ByteColumn) -> ByteColumn:
    return join(varints(lengths(column) << np.uint64(1)), column)


def _zigzag(column: pa.Int64Array) -> ByteColumn:
    values: npt.NDArray[np.int64] = column.fill_null(0).to_numpy()
    return varints(((values << 1) ^ (values >> 63)).view(np.uint64))
