"""The steps that make a number of files, of as many rows each, of whatever files the workers wrote.

Only names of files and ranges of rows are shuffled; the rows are read and written once more, a batch at a time.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import apache_beam as beam
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_jobs.errors import JobError
from beam_jobs.output.shard_writer import ROW_GROUP_ROWS, ShardWriter
from beam_jobs.output.table_format import TableFormat
from beam_jobs.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import pyarrow as pa


# Of the files that are merged, whatever the format of the result: it can be read from any row on.
MERGED_FORMAT = TableFormat(name="parquet", compression="lz4", rows_per_file=None)


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
            | "SplitRows" >> beam.FlatMap(split_rows, num_shards=self._num_shards)
            | "SpreadShards" >> beam.Reshuffle()
            | "MergeRows" >> beam.ParDo(_MergeRows(*self._where))
        )
        return (counted, merged) | "AllTallies" >> beam.Flatten()


def split_rows(files: Iterable[tuple[str, int]], *, num_shards: int) -> Iterator[list[RowRange]]:
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
