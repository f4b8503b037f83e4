"""Writes TFRecord files of `tf.Example`: Arrow columns as messages, all rows of a column at once, each in its frame.

A feature by the name of each column, of one value: whole numbers and booleans as int64, numbers of up to 32 bits as
float, text and bytes as bytes. Null is a feature that is not there. `sources/tfrecord_source.py` declares the message.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.errors import UsageError
from beam_jobs.output.byte_columns import (
    ByteColumn,
    constant,
    contents,
    fixed_width,
    join_columns,
    lengths,
    text_bytes,
    varints,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Keys of protocol buffers: the number of the field, and that its length follows.
_FEATURES, _ENTRY, _NAME, _FEATURE, _VALUES = b"\x0a", b"\x0a", b"\x0a", b"\x12", b"\x0a"
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = b"\x0a", b"\x12", b"\x1a"
_ROWS_AT_ONCE = 16384
HEADER = struct.Struct("<QI")
CHECKSUM = struct.Struct("<I")


def check_features(schema: pa.Schema) -> None:
    """Raises `UsageError`, naming the column, if a feature cannot hold one without loss."""
    for field in schema:
        if _kind_of(field.type) is None:
            raise UsageError(
                f"--output_format tfrecord cannot hold column {field.name}, which is {field.type}: a tf.Example has "
                "int64, 32-bit float and bytes alone; expected parquet, avro or jsonl, or another --keep"
            )


def encode_examples(batch: pa.RecordBatch) -> ByteColumn:
    """A serialized `tf.Example` for each row."""
    columns = zip(batch.schema.names, batch.columns, strict=True)
    entries = join_columns(*(_encode_feature(name, column) for name, column in columns))
    return _wrap(entries, lambda size: _FEATURES + _varint(size))


def _encode_feature(name: str, column: pa.Array) -> ByteColumn:
    """The entry of a map, and nothing where the value is null."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = _kind_of(column.type) or _BYTES_LIST
    key = name.encode()
    entry_key = _NAME + _varint(len(key)) + key

    def head(size: int) -> bytes:
        """What comes before a value of so many bytes."""
        values = _VALUES + _varint(size)
        feature = kind + _varint(len(values) + size) + values
        entry = entry_key + _FEATURE + _varint(len(feature) + size) + feature
        return _ENTRY + _varint(len(entry) + size) + entry

    entries = _wrap(_encode_values(column, kind), head)
    return pc.if_else(column.is_valid(), entries, constant(b"")) if column.null_count else entries


def _encode_values(column: pa.Array, kind: bytes) -> ByteColumn:
    if kind == _BYTES_LIST:
        return text_bytes(column)
    if kind == _FLOAT_LIST:
        return fixed_width(column.cast(pa.float32()).fill_null(0.0).to_numpy())
    return varints(column.cast(pa.int64()).fill_null(0).to_numpy().view(np.uint64))


def _wrap(column: ByteColumn, head: Callable[[int], bytes]) -> ByteColumn:
    """The rows, each after a head that depends on its size alone."""
    sizes, which = np.unique(lengths(column), return_inverse=True)
    heads = pa.array([head(int(size)) for size in sizes], pa.large_binary())
    return join_columns(heads.take(pa.array(which)), column)


def _varint(value: int) -> bytes:
    encoded: bytes = varints(np.array([value], np.uint64))[0].as_py()
    return encoded


def _kind_of(column_type: pa.DataType) -> bytes | None:
    if pa.types.is_dictionary(column_type):
        column_type = column_type.value_type
    if pa.types.is_float16(column_type) or pa.types.is_float32(column_type):
        return _FLOAT_LIST
    if pa.types.is_boolean(column_type) or (pa.types.is_integer(column_type) and column_type != pa.uint64()):
        return _INT64_LIST
    tests = (
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_string_view,
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        pa.types.is_fixed_size_binary,
    )
    return _BYTES_LIST if any(test(column_type) for test in tests) else None


class TFRecordWriter:
    """See `TableWriter`."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write_table(self, table: pa.Table) -> None:
        """See `TableWriter`."""
        for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            self._stream.write(contents(_frame(encode_examples(batch))))

    def close(self) -> None:
        """A record is complete in itself."""


def _frame(records: ByteColumn) -> ByteColumn:
    sizes, which = np.unique(lengths(records), return_inverse=True)
    headers = pa.array([frame_header(int(size)) for size in sizes], pa.large_binary()).take(pa.array(which))
    checksums = np.fromiter(_checksums(records), np.dtype("<u4"), len(records))
    return join_columns(headers, records, fixed_width(checksums))


def _checksums(records: ByteColumn) -> Iterable[int]:
    return map(masked_checksum, records.to_pylist())


def masked_checksum(data: bytes) -> int:
    """CRC-32C, rotated by 15 bits, plus a constant."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def frame_header(length: int) -> bytes:
    """What comes before a record of so many bytes; `CHECKSUM` of them comes after it."""
    size = struct.pack("<Q", length)
    return size + CHECKSUM.pack(masked_checksum(size))
