"""Writes JSON Lines: Arrow columns as text, all rows of a column at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.output.byte_columns import ByteColumn, constant, contents, join_columns, text_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPED = r'["\\\x00-\x1f]'  # what may not stand in a JSON text as it is
_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}  # as Python and TensorFlow Serving spell them
_ROWS_AT_ONCE = 16384


def encode_lines(batch: pa.RecordBatch) -> ByteColumn:
    """An object for each row, each with its line break."""
    pieces = list(_pieces(batch))
    return join_columns(*pieces, constant(b"}\n")) if pieces else pa.array([b"{}\n"] * len(batch), pa.large_binary())


def _pieces(batch: pa.RecordBatch) -> Iterator[ByteColumn | pa.LargeBinaryScalar]:
    opening = b"{"
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        yield constant(opening + f"{_dump(name)}: ".encode())
        yield text_bytes(pc.fill_null(_encode(column), "null"))
        opening = b", "


def _encode(column: pa.Array) -> pa.LargeStringArray:
    """The values; null where they are."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.large_string())
    if pa.types.is_floating(kind):
        return _encode_floats(column)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _encode_texts(column.cast(pa.large_string()))
    return pa.array([None if value is None else _dump(value) for value in column.to_pylist()], pa.large_string())


def _encode_floats(column: pa.Array) -> pa.LargeStringArray:
    """The shortest digits that give the number again, in its own precision; whole ones with `.0`."""
    wide = column.cast(pa.float32()) if pa.types.is_float16(column.type) else column
    digits = wide.cast(pa.large_string())
    for spelled, as_json in _NOT_FINITE.items() if not _all_finite(wide) else ():
        digits = pc.if_else(pc.equal(digits, spelled), as_json, digits)
    return pc.replace_substring_regex(digits, pattern=r"^(-?\d+)$", replacement=r"\1.0")


def _all_finite(column: pa.Array) -> bool:
    finite: bool | None = pc.all(pc.is_finite(column)).as_py()
    return finite is not False  # of nulls alone nobody knows


def _encode_texts(column: pa.LargeStringArray) -> pa.LargeStringArray:
    mark, nothing = (pa.scalar(each, pa.large_string()) for each in ('"', ""))
    quoted = pc.binary_join_element_wise(mark, column, mark, nothing)
    escaped = pc.fill_null(pc.match_substring_regex(column, _ESCAPED), False)  # noqa: FBT003  # Arrow's argument
    if not pc.any(escaped).as_py():
        return quoted
    values = [_dump(value) for value in column.filter(escaped).to_pylist()]
    return pc.replace_with_mask(quoted, escaped, pa.array(values, pa.large_string()))


def _dump(value: object) -> str:
    return json.dumps(value, default=_as_text, ensure_ascii=False)


def _as_text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


class JsonLinesWriter:
    """See `TableWriter`. One object a line; what JSON has no type for is text."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write_table(self, table: pa.Table) -> None:
        """See `TableWriter`."""
        for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
            self._stream.write(contents(encode_lines(batch)))

    def close(self) -> None:
        """A line is complete in itself."""
