"""TFRecord files of `tf.Example`."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import pyarrow as pa

from beam_jobs.output.byte_columns import ByteColumn, contents, fixed_width, join, lengths
from beam_jobs.output.example_encoding import encode_examples
from beam_jobs.tfrecord_frame import header, masked_checksum

if TYPE_CHECKING:
    from collections.abc import Iterable

_ROWS_AT_ONCE = 16384


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
    headers = pa.array([header(int(size)) for size in sizes], pa.large_binary()).take(pa.array(which))
    checksums = np.fromiter(_checksums(records), np.dtype("<u4"), len(records))
    return join(headers, records, fixed_width(checksums))


def _checksums(records: ByteColumn) -> Iterable[int]:
    return map(masked_checksum, records.to_pylist())
