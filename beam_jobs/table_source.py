"""What the jobs ask of a table format, and the values that pass between reading and validation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from beam_jobs.rejection import RejectedRows


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkUnit:
    """A part of one file that one worker reads from beginning to end.

    Attributes:
      path: the file.
      format: its format, a key of `inputs.SOURCES`.
      start_row: number of the first row in the file, from 0.
      row_groups: for Parquet, the row groups, in order; empty for a format that is read whole.
      rows: how many rows it holds, or `None` where only reading tells.
    """

    path: str
    format: str
    start_row: int = 0
    row_groups: tuple[int, ...] = ()
    rows: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """What can be known of a file before its rows are read: names and types of its columns, and how to split it."""

    path: str
    schema: pa.Schema
    units: tuple[WorkUnit, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """Which columns to read: those the model needs, and those to carry through. One may be both.

    `batch_size` is the largest number of rows in a batch.
    """

    model_columns: tuple[str, ...]
    kept_columns: tuple[str, ...]
    batch_size: int

    @property
    def columns(self) -> list[str]:
        """Every column to read, once."""
        return list(dict.fromkeys((*self.model_columns, *self.kept_columns)))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InputBatch:
    """Consecutive rows of one file, as Arrow columns.

    Attributes:
      file: path of the file.
      rows: row numbers in the file, from 0; int64 `[B]`, ascending, with gaps where rows were rejected in reading.
      columns: the columns of a `ReadPlan`, of B rows. Columns of the model may be text that is still to be parsed.
    """

    file: str
    rows: pa.Int64Array
    columns: pa.RecordBatch

    def __len__(self) -> int:
        return len(self.rows)


class TableSource(Protocol):
    """A table format; the modules `parquet_source` and `csv_source` are two."""

    def inspect(self, path: str) -> InputFile:
        """Columns and work units of a file. Raises `UsageError` if it cannot be read as a table of this format."""

    def read(self, unit: WorkUnit, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows]:
        """Every row of the unit once, in a batch or rejected. Raises `JobError` if the file turns out damaged."""
