"""Any format of rows, compressed."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from beam_jobs.output.table_writer import TableWriter

_LEVEL = 6  # as the program gzip has it


class GzipWriter:
    """See `TableWriter`. What another writer makes, as one member of a gzip file."""

    def __init__(self, stream: BinaryIO, open_plain: Callable[[BinaryIO], TableWriter]) -> None:
        self._compressed = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=stream, mtime=0)
        self._writer = open_plain(self._compressed)  # type: ignore[arg-type]  # it writes bytes

    def write_table(self, table: pa.Table) -> None:
        """See `TableWriter`."""
        self._writer.write_table(table)

    def close(self) -> None:
        """See `TableWriter`."""
        with self._compressed:
            self._writer.close()
