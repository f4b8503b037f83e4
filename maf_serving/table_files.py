"""Parquet and CSV files of this machine as Arrow batches, in constant memory: for training, the client and Python."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from maf_serving.byte_stream import decompress
from maf_serving.csv_files import read_rows
from maf_serving.csv_head import CsvError, RepeatedNameError, read_head
from maf_serving.csv_text import partition_column, partition_type
from maf_serving.errors import UsageError, one_line
from maf_serving.table_formats import (
    USUAL_CSV,
    CsvDialect,
    Damage,
    InputBatch,
    find_compression,
    find_format,
    list_suffixes,
    partitions_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from maf_serving.rejection import RejectedRows

READABLE = ("parquet", "csv")


class TableFile:
    """A table that was found to be one; its rows are read by `rows`.

        >>> table = TableFile(path)  # doctest: +SKIP
        >>> table.schema.names  # doctest: +SKIP
        ['price', 'season']
        >>> [len(part) for part in table.rows({"price": "number"}, batch_rows=1000)]  # doctest: +SKIP
        [1000, 1000, 37]

    Attributes:
      path: the file.
      schema: names and types of its columns; of CSV guessed from the first rows, null where those have no value.
      exact: as what a column can be carried through, so that nothing is lost; of Parquet its own type.
      num_rows: how many rows, where the file says so.
      is_typed: whether the types are the file's own, and not guessed.
      partitions: columns that are not in the file and that its directories are named for, `region=north`, and their
        values.
      lookalikes: by name, what columns of text look like that may be numbers of another `CsvDialect`.
    """

    def __init__(self, path: Path, dialect: CsvDialect = USUAL_CSV) -> None:
        """Reads the head of the file, which is written in the dialect if it is CSV.

        Raises:
          UsageError: it has none, or the file's name says that it is something else.
        """
        self.path = path
        self.lookalikes: Mapping[str, str] = {}
        self._dialect = dialect
        self.num_rows: int | None = None
        kind = find_format(path.name)
        if kind not in READABLE:
            raise UsageError(f"{path} is of no known kind; expected a name that ends in {list_suffixes(READABLE)}")
        self.is_typed = kind == "parquet"
        try:
            if self.is_typed:
                with pq.ParquetFile(path) as file:
                    self.schema = self.exact = file.schema_arrow
                    self.num_rows = file.metadata.num_rows
            else:
                head = read_head(self._open_chunks, dialect)
                self.schema, self.exact, self.lookalikes = head.types, head.exact, head.lookalikes
                self._has_rows = head.has_rows
        except RepeatedNameError as error:
            raise UsageError(f"{path} {error}") from error
        except (OSError, pa.ArrowException, CsvError) as error:
            raise UsageError(f"{path} cannot be read: {_why(error)}") from error
        self.partitions = {
            name: value for name, value in partitions_of(str(path)).items() if name not in self.schema.names
        }
        if not self.schema.names:
            raise UsageError(f"{path} cannot be read: it has no column; expected a header line")
        for name, value in self.partitions.items():
            field = pa.field(name, partition_type(value))
            self.schema, self.exact = self.schema.append(field), self.exact.append(field)

    def rows(
        self, columns: Mapping[str, str | pa.DataType], *, batch_rows: int
    ) -> Iterator[InputBatch | RejectedRows | Damage]:
        """Every row once, in order: in a batch of at most `batch_rows`, rejected, or in the damage that ends the file.

        Args:
          columns: which to read, by name, and as what; see `csv_files.read_rows`. Parquet has types of its own.
          batch_rows: of a batch.
        """
        own = {name: kind for name, kind in columns.items() if name not in self.partitions}
        if len(own) < len(columns):  # one of the file's own, since something has to say how many rows there are
            for part in self._rows(own or {self.schema.names[0]: "string"}, batch_rows):
                yield self._with_partitions(part, columns) if isinstance(part, InputBatch) else part
        else:
            yield from self._rows(own, batch_rows)

    def _with_partitions(self, part: InputBatch, columns: Mapping[str, str | pa.DataType]) -> InputBatch:
        made = [
            partition_column(self.partitions[name], None if isinstance(kind, str) else kind, len(part))
            if name in self.partitions
            else part.columns.column(name)
            for name, kind in columns.items()
        ]
        return dataclasses.replace(part, columns=pa.RecordBatch.from_arrays(made, list(columns)))

    def _rows(
        self, columns: Mapping[str, str | pa.DataType], batch_rows: int
    ) -> Iterator[InputBatch | RejectedRows | Damage]:
        if self.is_typed:
            yield from self._parquet_rows(list(columns), batch_rows)
        elif self._has_rows:
            yield from read_rows(
                self._open_chunks, columns, file=str(self.path), batch_rows=batch_rows, dialect=self._dialect
            )

    def _parquet_rows(self, columns: list[str], batch_rows: int) -> Iterator[InputBatch | Damage]:
        row = 0
        try:
            with pq.ParquetFile(self.path) as file:
                for batch in file.iter_batches(batch_size=batch_rows, columns=columns):
                    rows = pa.array(np.arange(row, row + batch.num_rows))
                    yield InputBatch(file=str(self.path), rows=rows, columns=batch.select(columns))
                    row += batch.num_rows
        except (OSError, pa.ArrowException) as error:
            yield Damage(file=str(self.path), first_row=row, rows=None, reason=_why(error))

    @contextlib.contextmanager
    def _open_chunks(self) -> Iterator[Iterator[bytes]]:
        with self.path.open("rb", buffering=0) as stream:
            yield decompress(stream, find_compression(self.path.name))


def _why(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
