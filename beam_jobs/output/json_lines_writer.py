"""JSON Lines files."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from beam_jobs.output.byte_columns import contents
from beam_jobs.output.json_encoding import encode_lines

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 16384


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
