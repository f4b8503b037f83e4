"""The files of a job's output: the steps that write them, a bundle's file, and as many files as were asked for.

    batches -> WriteRows -> Shards -> ShardWriter -> <prefix>-<unique>.<extension>     one file or more of each bundle
                   |
                   +-> Tally (how many rows, in which files)  -> MergeShards, if --num_shards was given

The rows of a bundle go to files of its own, under names that nobody else has: a runner may run a bundle twice, and only
the files whose names reach the job's tally are published. To make a given number of files, only names of files and
ranges of rows are shuffled; the rows are read and written once more, a batch at a time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from beam_jobs.errors import JobError
from beam_jobs.jobs.summary import Tally, count_rejected
from beam_jobs.output.lease import renew_lease
from beam_jobs.output.table_format import TableFormat
from maf_serving.rejection import REJECTED_SCHEMA, RejectedRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Large row groups make files that are small and fast to scan; the bytes bound what a worker holds of wide rows.
ROW_GROUP_ROWS = 1 << 17
ROW_GROUP_BYTES = 64 << 20
# Of the files that are merged, whatever the format of the result: it can be read from any row on.
MERGED_FORMAT = TableFormat(name="parquet", compression="lz4", rows_per_file=None)
REJECTED_PREFIX = "_rejected"


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


def create_file(path: str) -> BinaryIO:
    """A new file in a directory that exists.

    For a local file Beam would make the directory as well, and so bring back the one that an interrupted job deletes.
    """
    if "://" not in path:
        return Path(path).open("wb")
    stream: BinaryIO = FileSystems.create(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return stream


def keep_staged(directory: str) -> None:
    """Says that the job which writes to the directory is alive. At a path its lock says so for as long as it runs."""
    if "://" in directory:
        renew_lease(directory)


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
        keep_staged(self._directory)
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowRange:
    """Some consecutive rows of a file: from `start` up to `stop`, which is not among them."""

    path: str
    start: int
    stop: int


class MergeShards(beam.PTransform):  # type: ignore[misc]  # Beam is untyped here
    """Tallies of `WriteRows`, of `MERGED_FORMAT`, to tallies of `num_shards` files with the same rows."""

    def __init__(
        self, directory: str, prefix: str, schema: pa.Schema, table_format: TableFormat, *, num_shards: int
    ) -> None:
        super().__init__()
        self._where = (directory, prefix, schema, table_format)
        self._num_shards = num_shards

    def expand(self, tallies: beam.PCollection) -> beam.PCollection:
        """Adds the steps."""
        counted = tallies | "LeaveOutFiles" >> beam.Map(lambda tally: dataclasses.replace(tally, files=()))
        merged = (
            tallies
            | "ListFiles" >> beam.FlatMap(lambda tally: [(path, tally.rows_written) for path in tally.files])
            | "AllFiles" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "SplitRows" >> beam.FlatMap(share_rows, num_shards=self._num_shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "MergeRows" >> beam.ParDo(_MergeRows(*self._where))
        )
        return (counted, merged) | "AllTallies" >> beam.Flatten()


def share_rows(files: Iterable[tuple[str, int]], *, num_shards: int) -> Iterator[list[RowRange]]:
    """The rows of each of so many shards, which differ by one row at most.

    Args:
      files: by path, the rows of every file.
      num_shards: how many.
    """
    files = sorted(files)
    total = sum(rows for _, rows in files)
    for shard in range(num_shards):
        first, last = total * shard // num_shards, total * (shard + 1) // num_shards
        ranges, start = [], 0
        for path, rows in files:
            low, high = max(first - start, 0), min(last - start, rows)
            if low < high:
                ranges.append(RowRange(path=path, start=low, stop=high))
            start += rows
        yield ranges


class _MergeRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    def __init__(self, directory: str, prefix: str, schema: pa.Schema, table_format: TableFormat) -> None:
        super().__init__()
        self._where = (directory, prefix, schema, table_format)

    def process(self, ranges: Sequence[RowRange]) -> Iterator[Tally]:
        """Writes one shard."""
        writer = ShardWriter(*self._where)
        try:
            for each in ranges:
                for batch in _read(each):
                    writer.write(batch)
        except BaseException:
            writer.abandon()
            raise
        writer.close()
        expected = sum(each.stop - each.start for each in ranges)
        if writer.rows != expected:
            raise JobError(f"{writer.rows} rows were merged into a shard; expected {expected}")
        yield Tally(files=(writer.path,))


def _read(rows: RowRange) -> Iterator[pa.RecordBatch]:
    with (
        FileSystems.open(rows.path, compression_type=CompressionTypes.UNCOMPRESSED) as stream,
        pq.ParquetFile(stream, page_checksum_verification=True) as file,
    ):
        start = 0
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            if end > rows.start and start < rows.stop:
                for batch in file.iter_batches(ROW_GROUP_ROWS, row_groups=[group]):
                    low, high = max(rows.start - start, 0), min(rows.stop - start, batch.num_rows)
                    if low < high:
                        yield batch.slice(low, high - low)
                    start += batch.num_rows
            start = end


class WriteRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """Record batches to the files of a bundle; emits one `Tally`, of their column `log_prob` too if there is one."""

    def __init__(self, directory: str, prefix: str, schema: pa.Schema, table_format: TableFormat) -> None:
        super().__init__()
        self._where = (directory, prefix, schema, table_format)
        self._rows_written = Metrics.counter("beam_jobs", "rows_written")
        self._shards = Shards(*self._where)

    def start_bundle(self) -> None:
        """Begins the files of this bundle."""
        self._shards = Shards(*self._where)
        self._finite_log_probs, self._log_prob_sum = 0, 0.0

    def process(self, batch: pa.RecordBatch) -> None:
        """Appends one batch."""
        self._shards.write(batch)
        if "log_prob" in batch.schema.names:
            log_prob = batch.column("log_prob").to_numpy()
            finite = np.isfinite(log_prob)
            self._finite_log_probs += int(finite.sum())
            self._log_prob_sum += float(np.sum(log_prob, where=finite, dtype=np.float64))
        self._rows_written.inc(batch.num_rows)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Completes the files."""
        if self._shards.rows:
            self._shards.close()
            yield at_end(
                Tally(
                    rows_written=self._shards.rows,
                    finite_log_probs=self._finite_log_probs,
                    log_prob_sum=self._log_prob_sum,
                    files=tuple(self._shards.paths),
                )
            )

    def teardown(self) -> None:
        """Closes the file of a bundle that failed."""
        self._shards.abandon()


class WriteTable(beam.PTransform):  # type: ignore[misc]  # Beam is untyped here
    """Record batches to files, as many as the format asks for; a collection of `Tally`."""

    def __init__(self, directory: str, prefix: str, schema: pa.Schema, table_format: TableFormat) -> None:
        super().__init__()
        self._where = (directory, prefix, schema, table_format)
        self._num_shards = table_format.num_shards

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Adds the steps."""
        if self._num_shards is None:
            return batches | "WriteRows" >> beam.ParDo(WriteRows(*self._where))
        directory, prefix, schema, _ = self._where
        written = batches | "WriteRows" >> beam.ParDo(WriteRows(directory, prefix, schema, MERGED_FORMAT))
        return written | "MergeShards" >> MergeShards(*self._where, num_shards=self._num_shards)


class WriteRejected(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`RejectedRows` to the files of a bundle; emits one `Tally`."""

    def __init__(
        self,
        directory: str,
        table_format: TableFormat,
        *,
        counted_as: Literal["rows_rejected", "draws_rejected"] = "rows_rejected",
    ) -> None:
        super().__init__()
        self._where = (directory, REJECTED_PREFIX, REJECTED_SCHEMA, table_format)
        self._counted_as = counted_as
        self._counter = Metrics.counter("beam_jobs", counted_as)
        self._shards = Shards(*self._where)

    def start_bundle(self) -> None:
        """Begins the files of this bundle."""
        self._shards = Shards(*self._where)
        self._kinds: Counter[str] = Counter()
        self._groups: Counter[str] = Counter()
        self._outside: Counter[str] = Counter()

    def process(self, rejected: RejectedRows) -> None:
        """Appends some rows."""
        self._shards.write(rejected.table)
        self._kinds.update(rejected.kinds)
        self._groups.update(rejected.groups)
        self._outside.update(rejected.out_of_range)
        self._counter.inc(len(rejected))
        count_rejected(len(rejected))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Completes the files."""
        if self._shards.rows:
            self._shards.close()
            draws = self._shards.rows if self._counted_as == "draws_rejected" else 0
            yield at_end(
                Tally(
                    rows_rejected=self._shards.rows - draws,
                    draws_rejected=draws,
                    rejected_by_kind=dict(self._kinds),
                    rejected_by_group=dict(self._groups),
                    out_of_range=dict(self._outside),
                    files=tuple(self._shards.paths),
                )
            )

    def teardown(self) -> None:
        """Closes the file of a bundle that failed."""
        self._shards.abandon()


def at_end(value: object) -> WindowedValue:
    """What a bundle emits when it is finished."""
    window = GlobalWindow()
    return WindowedValue(value, window.max_timestamp(), [window])
