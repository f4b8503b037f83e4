"""Tables as data scientists hold them: in as Arrow record batches, out as what came in.

Arrow tables, record batches and their readers, pandas and Polars DataFrames, mappings of columns, and whatever else has
Arrow's PyCapsule interface (`__arrow_c_stream__`: DuckDB, Ibis, arro3, ...). Neither pandas nor Polars is imported
here: who hands in a DataFrame has it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from maf_serving.errors import UsageError, did_you_mean, one_line

Kind = Literal["arrow", "pandas", "polars"]
_GROUP_ROWS = 131_072


@dataclasses.dataclass(frozen=True, slots=True)
class InputTable:
    """A table that somebody has handed in.

    Attributes:
      data: the table itself.
      kind: what it is, and what is given back.
      names: of its columns that have a text for a name.
    """

    data: Any
    kind: Kind
    names: tuple[str, ...]

    def read(self, columns: Sequence[str]) -> pa.RecordBatchReader:
        """Some of the columns.

        Raises:
          UsageError: a column cannot be read as Arrow.
        """
        if self.kind == "pandas":
            return _from_pandas(self.data, columns).to_reader()
        if isinstance(self.data, pa.Table):
            return self.data.select(list(columns)).to_reader()
        reader = pa.RecordBatchReader.from_stream(self.data)
        schema = pa.schema([(name, _plain_type(reader.schema.field(name).type)) for name in columns])
        return pa.RecordBatchReader.from_batches(schema, (_plain(batch, schema) for batch in reader))

    def require(self, columns: Sequence[str]) -> None:
        """Raises `UsageError` naming the first of these columns that is not there, or there twice."""
        for name in columns:
            if name not in self.names:
                close = did_you_mean(name, self.names)
                hint = "" if close is None else f"did you mean {close!r}? "
                raise UsageError(f"the table has no column {name!r}; {hint}its columns: {', '.join(self.names)}")
            if self.names.count(name) > 1:
                raise UsageError(f"the table has {self.names.count(name)} columns {name!r}; expected each name once")

    def column(self, values: pa.ChunkedArray, name: str) -> Any:
        """A column with a value for each row: a Series with the index of the rows, or Arrow's own."""
        if self.kind == "pandas":
            series = values.to_pandas().rename(name)
            series.index = self.data.index
            return series
        return _to_polars(values).alias(name) if self.kind == "polars" else values

    def table(self, table: pa.Table, *, rows_each: int = 1) -> Any:
        """A table with so many rows for each row: a DataFrame whose index is that of the rows, or Arrow's own."""
        if self.kind == "pandas":
            frame = table.to_pandas()
            frame.index = self.data.index.repeat(rows_each)
            return frame
        return _to_polars(table) if self.kind == "polars" else table


def column_names(names: Sequence[str] | str) -> tuple[str, ...]:
    """The names, of which one may stand alone."""
    return (names,) if isinstance(names, str) else tuple(names)


def open_table(data: Any) -> InputTable:
    """The table that somebody has handed in.

    Raises:
      UsageError: it is none.
    """
    origin = type(data).__module__.partition(".")[0]
    if origin == "pandas" and hasattr(data, "columns"):
        return InputTable(data, "pandas", tuple(name for name in data.columns if isinstance(name, str)))
    if origin == "polars" and hasattr(data, "collect") and not hasattr(data, "to_arrow"):
        raise UsageError("the table is a LazyFrame of Polars, which has not been computed; hand in its collect()")
    if isinstance(data, Mapping):
        data = _from_mapping(data)
    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, (pa.Table, pa.RecordBatchReader)):
        return InputTable(data, "arrow", tuple(data.schema.names))
    if hasattr(data, "__arrow_c_stream__") and hasattr(data, "columns"):
        if origin == "polars":
            return InputTable(data, "polars", tuple(data.columns))
        return open_table(pa.RecordBatchReader.from_stream(data))
    raise UsageError(
        f"the table is a {type(data).__name__}; expected a DataFrame of pandas or Polars, an Arrow table, or a mapping "
        "from names to columns"
    )


def table_paths(table: Any) -> tuple[str, ...] | None:
    """Paths and globs, if that is what `table` is."""
    if isinstance(table, (str, Path)):
        return (str(table),)
    if isinstance(table, (list, tuple)) and table and all(isinstance(each, (str, Path)) for each in table):
        return tuple(map(str, table))
    return None


def write_parquet(reader: pa.RecordBatchReader, path: Path) -> None:
    """Writes all rows; under the path there is either the whole file or none."""
    partial = path.with_name(path.name + ".partial")
    try:
        with pq.ParquetWriter(partial, reader.schema, compression="zstd") as writer:
            for batch in of_size(reader, _GROUP_ROWS):
                writer.write_batch(batch)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _from_mapping(data: Mapping[str, Any]) -> pa.Table:
    try:
        return pa.table({str(name): values for name, values in data.items()})
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UsageError(f"the mapping is no table: {' '.join(str(error).split())}") from error


def _from_pandas(frame: Any, columns: Sequence[str]) -> pa.Table:
    """The columns; NaN is null. One at a time where something is wrong, to name it."""
    try:
        return pa.Table.from_pandas(frame[list(columns)], preserve_index=False)
    except (pa.ArrowException, TypeError, ValueError):
        for name in columns:
            try:
                pa.Array.from_pandas(frame[name])
            except (pa.ArrowException, TypeError, ValueError) as error:
                message = one_line(error)
                raise UsageError(
                    f"column {name!r} of the DataFrame ({frame[name].dtype}) holds values of several types: {message}; "
                    "make it numbers or text"
                ) from error
        raise


def _to_polars(data: pa.Table | pa.ChunkedArray) -> Any:
    import polars as pl  # noqa: PLC0415  # the caller has handed in one of its DataFrames

    return pl.from_arrow(data)


def _plain_type(column_type: pa.DataType) -> pa.DataType:
    """The type without views of text, which Polars exports and few of Arrow's functions take."""
    if pa.types.is_dictionary(column_type):
        return pa.dictionary(column_type.index_type, _plain_type(column_type.value_type), ordered=column_type.ordered)
    if pa.types.is_string_view(column_type):
        return pa.large_string()
    return pa.large_binary() if pa.types.is_binary_view(column_type) else column_type


def _plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The columns of the schema, in its types."""
    columns = []
    for field in schema:
        column = batch.column(field.name)
        if column.type != field.type and pa.types.is_dictionary(field.type):
            values = column.dictionary.cast(field.type.value_type)
            column = pa.DictionaryArray.from_arrays(column.indices, values, ordered=field.type.ordered)
        columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def of_size(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of that many: small ones are put together, large ones are cut."""
    waiting: list[pa.RecordBatch] = []
    held = 0
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            piece = batch.slice(start, rows - held)
            waiting.append(piece)
            start += piece.num_rows
            held += piece.num_rows
            if held == rows:
                yield _joined(waiting)
                waiting, held = [], 0
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return batches[0] if len(batches) == 1 else pa.concat_batches(batches)
