"""One file being written by one worker."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_jobs.errors import JobError
from beam_jobs.output.lease import renew_lease

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beam_jobs.output.table_format import TableFormat

# Large row groups make files that are small and fast to scan; the bytes bound what a worker holds of wide rows.
ROW_GROUP_ROWS = 1 << 17
ROW_GROUP_BYTES = 64 << 20


def create_file(path: str) -> BinaryIO:
    """A new file in a directory that exists.

    For a local file Beam would make the directory as well, and so bring back the one that an interrupted job deletes.
    """
    if "://" not in path:
        return Path(path).open("wb")
    stream: BinaryIO = FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return stream


@contextlib.contextmanager
def naming_failures(path: str) -> Iterator[None]:
    """Whatever a disk or a store raises in the block, as a `JobError` of one line that names the file."""
    try:
        yield
    except OSError as error:
        raise JobError(f"{path} cannot be written: {error.strerror or ' '.join(str(error).split())}") from error


class ShardWriter:
    """Appends record batches to a file of its own, `<directory>/<prefix>-<unique>.<extension>`.

    The name is unique because a runner may run a bundle twice: only the files whose names reach the tally count.
    """

    def __init__(self, directory: str, prefix: str, schema: pa.Schema, table_format: TableFormat) -> None:
        self.path = FileSystems.join(directory, f"{prefix}-{uuid.uuid4().hex}.{table_format.extension}")
        self.rows = 0
        self._directory = directory
        self._schema = schema
        with naming_failures(self.path):
            self._stream = create_file(self.path)
            self._writer = table_format.open(self._stream, schema)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = 0
        self._pending_bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends the rows of a batch of the schema."""
        renew_lease(self._directory)
        self.rows += batch.num_rows
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        self._pending_bytes += batch.nbytes
        if self._pending_rows >= ROW_GROUP_ROWS or self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Writes what is pending and the end of the file."""
        if self._pending:
            self._flush()
        self.abandon()

    def abandon(self) -> None:
        """Closes the file without what is pending, for a bundle that failed: the file will not be published."""
        with naming_failures(self.path), self._stream:
            self._writer.close()

    def _flush(self) -> None:
        with naming_failures(self.path):
            self._writer.write_table(pa.Table.from_batches(self._pending, self._schema))
        self._pending = []
        self._pending_rows = self._pending_bytes = 0
