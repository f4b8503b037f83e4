"""The files that one bundle writes of one kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beam_jobs.output.shard_writer import ShardWriter

if TYPE_CHECKING:
    import pyarrow as pa

    from beam_jobs.output.table_format import TableFormat


class Shards:
    """Appends record batches to one file after another, each of at most `rows_per_file` rows.

    No file is created before there is a row.
    """

    def __init__(self, directory: str, prefix: str, schema: pa.Schema, table_format: TableFormat) -> None:
        self.rows = 0
        self.paths: list[str] = []
        self._directory = directory
        self._prefix = prefix
        self._schema = schema
        self._format = table_format
        self._current: ShardWriter | None = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends the rows of a batch of the schema."""
        self.rows += batch.num_rows
        limit = self._format.rows_per_file
        while batch.num_rows:
            if self._current is None:
                self._current = ShardWriter(self._directory, self._prefix, self._schema, self._format)
                self.paths.append(self._current.path)
            room = batch.num_rows if limit is None else limit - self._current.rows
            self._current.write(batch[:room])
            batch = batch[room:]
            if limit is not None and self._current.rows >= limit:
                self.close()

    def close(self) -> None:
        """Completes the last file."""
        if self._current is not None:
            self._current.close()
            self._current = None

    def abandon(self) -> None:
        """Closes the file of a bundle that failed."""
        if self._current is not None:
            self._current.abandon()
            self._current = None
