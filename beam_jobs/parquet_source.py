"""Parquet files as Arrow batches, split by row group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems

from beam_jobs.errors import JobError, UsageError
from beam_jobs.table_source import InputBatch, InputFile, ReadPlan, WorkUnit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beam_jobs.rejection import RejectedRows

# Row groups smaller than this are read together: a unit costs a shuffled element and an opened file.
MIN_UNIT_ROWS = 1 << 18


def inspect(path: str) -> InputFile:
    """See `TableSource.inspect`. Reads the footer alone."""
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            metadata = pq.read_metadata(stream)
            schema = metadata.schema.to_arrow_schema()
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"{path} cannot be read as Parquet: {_one_line(error)}; see --input_format") from error
    rows_in_groups = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    return InputFile(path=path, schema=schema, units=tuple(_split(path, rows_in_groups)))


def _split(path: str, rows_in_groups: list[int]) -> Iterator[WorkUnit]:
    groups: list[int] = []
    start = rows = 0
    for index, group_rows in enumerate(rows_in_groups):
        groups.append(index)
        rows += group_rows
        if rows >= MIN_UNIT_ROWS or index == len(rows_in_groups) - 1:
            if rows:
                yield WorkUnit(path=path, format="parquet", start_row=start, row_groups=tuple(groups), rows=rows)
            groups, start, rows = [], start + rows, 0


def read(unit: WorkUnit, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows]:
    """See `TableSource.read`. Memory: the compressed row group, and a decoded batch."""
    row = unit.start_row
    try:
        with (
            FileSystems.open(unit.path, compression_type=CompressionTypes.UNCOMPRESSED) as stream,
            pq.ParquetFile(stream, page_checksum_verification=True) as file,
        ):
            for batch in file.iter_batches(plan.batch_size, row_groups=unit.row_groups, columns=plan.columns):
                rows = pa.array(np.arange(row, row + batch.num_rows))
                row += batch.num_rows
                yield InputBatch(file=unit.path, rows=rows, columns=batch)
    except (OSError, pa.ArrowException) as error:
        raise JobError(f"{unit.path} cannot be read from row {row}: {_one_line(error)}") from error
    if row - unit.start_row != unit.rows:
        raise JobError(f"{unit.path} gave {row - unit.start_row} rows where its footer promised {unit.rows}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
