"""A Parquet or CSV file, read a few rows at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from serving_config.client.options import ALL_COLUMNS, FORMATS
from serving_config.client.raw_condition import raw_condition_inputs
from serving_config.errors import InputError, JobError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from export.contract import ConditionColumn
    from serving_config.client.transport import Array, Arrays

# Arrow's own list, without the spellings of NaN: that is a number.
_NULLS = ["", "#N/A", "N/A", "NA", "NULL", "null", "n/a"]
_CATEGORIES = {"string": pa.string(), "integer": pa.int64()}


class TableInput:
    """Columns of a file. `names` are those there are, `rows` how many, where the file tells."""

    def __init__(self, path: Path) -> None:
        """Reads the head of the file. Raises `UsageError` if it is none."""
        self._path = path
        self._format = FORMATS[path.suffix.lower()]
        self.rows: int | None = None
        try:
            if self._format == "parquet":
                with pq.ParquetFile(path) as file:
                    self.names = list(file.schema_arrow.names)
                    self.rows = file.metadata.num_rows
            else:
                with pyarrow.csv.open_csv(path) as reader:
                    self.names = list(reader.schema.names)
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"--input {path} cannot be read: {_one_line(error)}") from error

    def check(self, columns: Sequence[str], keep: Sequence[str]) -> list[str]:
        """The names of the columns to carry through. Raises `UsageError` if one is not there."""
        kept = self.names if tuple(keep) == ALL_COLUMNS else list(keep)
        missing = [name for name in (*columns, *kept) if name not in self.names]
        if missing:
            raise UsageError(f"{self._path} lacks the column(s) {', '.join(missing)}; it has {', '.join(self.names)}")
        return kept

    def batches(
        self, columns: Sequence[str], keep: Sequence[str], *, batch_rows: int, categories: Mapping[str, str]
    ) -> Iterator[pa.RecordBatch]:
        """The rows, in batches of at most `batch_rows`; a file without rows is one batch without.

        Args:
          columns: names of those that go into the model.
          keep: names of those to carry through.
          batch_rows: rows of a batch at most.
          categories: which of `columns` hold no numbers: by name, `"string"` or `"integer"`. Empty text is null there.

        Raises:
          JobError: the file is broken.
        """
        wanted = list(dict.fromkeys([*columns, *keep]))
        empty = True
        try:
            schema = self._schema(columns, wanted, categories)
            for batch in self._read(schema, batch_rows, categories):
                for start in range(0, batch.num_rows, batch_rows):
                    empty = False
                    yield batch.slice(start, batch_rows)
            if empty:
                yield pa.RecordBatch.from_pylist([], schema=schema)
        except (OSError, pa.ArrowException) as error:
            raise JobError(f"{self._path} cannot be read: {_one_line(error)}") from error

    def _read(self, schema: pa.Schema, batch_rows: int, categories: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        if self._format == "parquet":
            with pq.ParquetFile(self._path) as file:
                yield from file.iter_batches(batch_size=batch_rows, columns=schema.names)
            return
        convert = pyarrow.csv.ConvertOptions(
            include_columns=schema.names, column_types=schema, null_values=_NULLS, strings_can_be_null=False
        )
        texts = [name for name, kind in categories.items() if kind == "string"]
        with pyarrow.csv.open_csv(self._path, convert_options=convert) as reader:
            for batch in reader:
                yield _empty_to_null(batch, texts)

    def _schema(self, columns: Sequence[str], wanted: Sequence[str], categories: Mapping[str, str]) -> pa.Schema:
        if self._format == "parquet":
            schema = pq.read_schema(self._path)
            return pa.schema([schema.field(name) for name in wanted])
        # Types are said, never guessed from the first block: text stays as it is, 007 too.
        types = dict.fromkeys(columns, pa.float64()) | {name: _CATEGORIES[kind] for name, kind in categories.items()}
        return pa.schema([(name, types.get(name, pa.string())) for name in wanted])

    def raw_condition(
        self, batch: pa.RecordBatch, condition_columns: Sequence[ConditionColumn], *, first_row: int
    ) -> Arrays:
        """The inputs of `encode_condition` for a batch. Raises `JobError` naming a row with a value of another kind."""
        columns = {column.name: batch.column(column.name).to_pylist() for column in condition_columns}
        try:
            return raw_condition_inputs(columns, condition_columns, first_row=first_row)
        except InputError as error:
            raise JobError(f"{self._path}: {error} (rows from 0)") from error

    def matrix(self, batch: pa.RecordBatch, columns: Sequence[str], *, first_row: int) -> Array:
        """The columns of a batch as `[B, columns]`. Raises `JobError` naming a row without a value."""
        arrays = [self._numbers(name, batch.column(name), first_row) for name in columns]
        return np.column_stack(arrays)

    def _numbers(self, name: str, column: Any, first_row: int) -> Array:
        kind = column.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
            raise JobError(f"column {name} of {self._path} is of type {kind}; expected numbers")
        if column.null_count:
            row = first_row + pc.index(pc.is_null(column), True).as_py()
            raise JobError(
                f"row {row} of {self._path} (from 0) has no {name}; fill it or leave the row out "
                "(NaN is a value, and gives NaN)"
            )
        if pa.types.is_decimal(kind):
            column = column.cast(pa.float64())
        values: Array = column.to_numpy(zero_copy_only=False)
        return values


def _empty_to_null(batch: pa.RecordBatch, texts: Sequence[str]) -> pa.RecordBatch:
    for name in texts:
        column = batch.column(name)
        filled = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
        batch = batch.set_column(batch.schema.get_field_index(name), name, filled)
    return batch


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
