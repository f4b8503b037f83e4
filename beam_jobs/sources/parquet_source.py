"""Parquet files as Arrow batches, split by row group."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_jobs.errors import UnreadableFileError
from beam_jobs.sources.source import InputFile, ReadPlan, Source
from maf_serving.errors import one_line
from maf_serving.table_formats import Damage, InputBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maf_serving.rejection import RejectedRows

# Row groups smaller than this are read together: a unit costs a shuffled element and an opened file.
MIN_UNIT_ROWS = 1 << 18
_UNREADABLE = (OSError, pa.ArrowException)


class ParquetSource(Source):
    """A Parquet file. Its row groups are its work units, small ones together."""

    __slots__ = ()

    def inspect(self) -> InputFile:
        """See `Source.inspect`. Reads the footer alone."""
        try:
            with FileSystems.open(self.path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
                metadata = pq.read_metadata(stream)
                schema = metadata.schema.to_arrow_schema()
        except _UNREADABLE as error:
            raise UnreadableFileError(
                f"{self.path} cannot be read as Parquet: {one_line(error)}; see --input_format and --on_bad_file"
            ) from error
        rows_in_groups = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
        return InputFile(path=self.path, schema=schema, units=tuple(_group_rows(self.path, rows_in_groups)))


def _group_rows(path: str, rows_in_groups: list[int]) -> Iterator[RowGroups]:
    groups: list[int] = []
    start = rows = 0
    for index, group_rows in enumerate(rows_in_groups):
        groups.append(index)
        rows += group_rows
        if rows >= MIN_UNIT_ROWS or index == len(rows_in_groups) - 1:
            if rows:
                yield RowGroups(
                    path=path,
                    start_row=start,
                    groups=tuple(groups),
                    rows_in_groups=tuple(rows_in_groups[group] for group in groups),
                    rows=rows,
                )
            groups, start, rows = [], start + rows, 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowGroups:
    """Some consecutive row groups of a file; see `WorkUnit`.

    Attributes:
      path: the file.
      start_row: number of their first row in the file, from 0.
      groups: their numbers, in order.
      rows_in_groups: how many rows each of them holds.
      rows: the sum of those.
    """

    path: str
    start_row: int
    groups: tuple[int, ...]
    rows_in_groups: tuple[int, ...]
    rows: int

    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """See `WorkUnit.read`. Memory: the compressed row group, and a decoded batch.

        Damage costs the rest of its row group: row groups are read together, and one by one after the first error.
        """
        row = self.start_row
        try:
            for batch in self._read_groups(self.groups, plan):
                yield _number(self.path, row, batch)
                row += batch.num_rows
        except _UNREADABLE:
            yield from self._read_one_by_one(plan, row)
            return
        lost = self.start_row + self.rows - row
        if lost:
            yield Damage(file=self.path, first_row=row, rows=lost, reason="fewer rows than its footer promises")

    def _read_groups(self, groups: tuple[int, ...], plan: ReadPlan) -> Iterator[pa.RecordBatch]:
        with (
            FileSystems.open(self.path, compression_type=CompressionTypes.UNCOMPRESSED) as stream,
            pq.ParquetFile(stream, page_checksum_verification=True) as file,
        ):
            yield from file.iter_batches(plan.batch_size, row_groups=groups, columns=plan.columns)

    def _read_one_by_one(self, plan: ReadPlan, next_row: int) -> Iterator[InputBatch | Damage]:
        """The rows from `next_row` on, group by group: what comes before the damage in each, and how much is lost."""
        start = self.start_row
        for group, rows_in_group in zip(self.groups, self.rows_in_groups, strict=True):
            end, row = start + rows_in_group, start
            if end > next_row:
                try:
                    for batch in self._read_groups((group,), plan):
                        fresh = batch.slice(min(batch.num_rows, max(0, next_row - row)))
                        row += batch.num_rows
                        if fresh.num_rows:
                            yield _number(self.path, row - fresh.num_rows, fresh)
                except _UNREADABLE as error:
                    first = max(row, next_row)
                    yield Damage(file=self.path, first_row=first, rows=end - first, reason=one_line(error))
            start = end


def _number(path: str, row: int, batch: pa.RecordBatch) -> InputBatch:
    return InputBatch(file=path, rows=pa.array(np.arange(row, row + batch.num_rows)), columns=batch)
