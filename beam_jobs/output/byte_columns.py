"""Columns of bytes, a value for each row, encoded and joined without a loop over rows: what row formats are made of.

Row formats write the fields of a row one after the other. Here each column is encoded at once, and the columns are then
joined row by row; the bytes of the result are those of the file.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

ByteColumn: TypeAlias = pa.LargeBinaryArray
# The smallest numbers that take 2, 3, ... 10 bytes as a varint.
_VARINT_LIMITS = np.array([1 << 7 * size for size in range(1, 10)], np.uint64)


def constant(value: bytes) -> pa.LargeBinaryScalar:
    """The same bytes in each row, to be joined with columns."""
    return pa.scalar(value, pa.large_binary())


def fixed_width(rows: npt.NDArray[np.generic]) -> ByteColumn:
    """The memory of each row of a contiguous array `[B]` or `[B, W]`."""
    width = rows.nbytes // len(rows) if len(rows) else 0
    return _column(np.arange(len(rows) + 1) * width, rows)


def varints(values: npt.NDArray[np.uint64]) -> ByteColumn:
    """Each number `[B]` in groups of seven bits, the lowest first: as in Avro and in protocol buffers."""
    sizes = np.searchsorted(_VARINT_LIMITS, values, side="right") + 1
    place = np.arange(sizes.max(initial=1))
    groups = (values[:, None] >> (7 * place).astype(np.uint64)).astype(np.uint8) & 0x7F
    groups |= (place < sizes[:, None] - 1).astype(np.uint8) << 7
    return _column(np.concatenate([[0], np.cumsum(sizes)]), groups[place < sizes[:, None]])


def text_bytes(column: pa.Array) -> ByteColumn:
    """A column of text or bytes, of whatever width."""
    large = pa.large_string() if _is_text(column.type) else pa.large_binary()
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    return column.cast(large).cast(pa.large_binary())


def lengths(column: ByteColumn) -> npt.NDArray[np.uint64]:
    """Bytes of each row `[B]`; 0 for null."""
    sizes: npt.NDArray[np.int64] = pc.fill_null(pc.binary_length(column), 0).to_numpy()
    return sizes.astype(np.uint64)


def join_columns(*pieces: ByteColumn | pa.LargeBinaryScalar) -> ByteColumn:
    """The pieces of each row, one after the other; null where one of them is."""
    return pc.binary_join_element_wise(*pieces, constant(b""))


def join_runs(column: ByteColumn, sizes: npt.NDArray[np.int64]) -> ByteColumn:
    """The next `sizes[i]` values of a column without nulls as one, for each i."""
    offsets = _offsets(column)[np.concatenate([[0], np.cumsum(sizes)])]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(sizes), [None, pa.py_buffer(offsets), _data(column)])


def contents(column: ByteColumn) -> memoryview:
    """The bytes of all rows of a column without nulls."""
    offsets = _offsets(column)
    return memoryview(_data(column))[offsets[0] : offsets[-1]]


def _column(offsets: npt.NDArray[np.int64], data: npt.NDArray[np.generic]) -> ByteColumn:
    buffers = [None, pa.py_buffer(offsets.astype(np.int64)), pa.py_buffer(np.ascontiguousarray(data))]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def _offsets(column: ByteColumn) -> npt.NDArray[np.int64]:
    buffer = column.buffers()[1]
    if buffer is None or not len(buffer):  # of no row
        return np.zeros(1, np.int64)
    return np.frombuffer(buffer, np.int64)[column.offset : column.offset + len(column) + 1]


def _data(column: ByteColumn) -> pa.Buffer:
    return column.buffers()[2] or pa.py_buffer(b"")


def _is_text(column_type: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(column_type) for test in tests)
