"""What the jobs ask of a table format, and what they tell it to read."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from maf_serving.rejection import RejectedRows
    from maf_serving.table_formats import Damage, InputBatch


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class WorkUnit:
    """A part of one file that one worker reads from beginning to end.

    Attributes:
      path: the file.
      format: its format, a key of `input_files.SOURCES`.
      start_row: number of the first row in the file, from 0.
      row_groups: for Parquet, the row groups, in order; empty for a format that is read whole.
      rows_in_groups: how many rows each of them holds.
      rows: how many rows it holds, or `None` where only reading tells.
      fault: why the file is rejected without being read, or `None`.
      stream: for BigQuery, the stream of the table.
      stream_schema: the columns that it gives, as Arrow serializes them.
    """

    path: str
    format: str
    start_row: int = 0
    row_groups: tuple[int, ...] = ()
    rows_in_groups: tuple[int, ...] = ()
    rows: int | None = None
    fault: str | None = None
    stream: str | None = None
    stream_schema: bytes = b""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """What can be known of a file before its rows are read.

    Attributes:
      path: the file.
      schema: names and types of its columns.
      units: how it is split.
      untyped: columns whose type the file does not tell. Of CSV these are all, and `schema` has what each can be
        carried through as by its first rows; elsewhere those without a value where types are guessed, text in `schema`.
      open_ended: whether rows may have other columns than `schema`, and one that a row lacks is null.
    """

    path: str
    schema: pa.Schema
    units: tuple[WorkUnit, ...]
    untyped: frozenset[str] = frozenset()
    open_ended: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """Which columns to read: those the model needs, and those to carry through. One may be both.

    Attributes:
      model_columns: names, in the model's order.
      kept: names and types of the columns to carry through.
      batch_size: the largest number of rows in a batch.
      vectors: by name of an input of the model, the columns that it is made of: a format may hold them in one value.
      condition_kinds: the raw columns of the condition: by name, their kind of `CONDITION_KINDS`.
    """

    model_columns: tuple[str, ...]
    kept: pa.Schema
    batch_size: int
    vectors: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    condition_kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def kept_columns(self) -> tuple[str, ...]:
        """Names of the columns to carry through."""
        return tuple(self.kept.names)

    @property
    def columns(self) -> list[str]:
        """Every column to read, once."""
        return list(dict.fromkeys((*self.model_columns, *self.kept_columns)))


class TableSource(Protocol):
    """A table format; each module `*_source` is one."""

    def inspect(self, path: str) -> InputFile:
        """Columns and work units of a file. Raises `UnreadableFileError` if it is no table of this format."""

    def read(self, unit: WorkUnit, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """Every row of the unit once: in a batch, rejected, or in a `Damage` that says which rows are lost."""
