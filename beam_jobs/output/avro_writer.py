"""Avro container files: header and blocks by `fastavro`, the rows by `avro_encoding`, as those are no dictionaries."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, BinaryIO

import fastavro.write

from beam_jobs.output.avro_encoding import encode_rows
from beam_jobs.output.avro_schema import avro_schema
from beam_jobs.output.byte_columns import contents

if TYPE_CHECKING:
    import pyarrow as pa

# Small enough for readers to hold, large enough to be worth a call.
_BLOCK_ROWS = 4096


class AvroWriter:
    """See `TableWriter`."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema, *, compression: str) -> None:
        """See the class; `compression` is `deflate` or `none`."""
        codec = "null" if compression == "none" else compression
        self._writer = fastavro.write.Writer(stream, avro_schema(schema), codec=codec)

    def write_table(self, table: pa.Table) -> None:
        """See `TableWriter`."""
        for batch in table.to_batches(max_chunksize=_BLOCK_ROWS):
            rows = io.BytesIO(contents(encode_rows(batch)))
            self._writer.write_block(SimpleNamespace(num_records=batch.num_rows, bytes_=rows))

    def close(self) -> None:
        """See `TableWriter`."""
        self._writer.flush()
