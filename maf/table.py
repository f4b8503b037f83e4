"""Columns of Parquet and CSV files, streamed as batches of rows."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from maf.category_codes import CategoryCodes
from maf.column_kind import NUMBER, column_kind, is_parquet
from maf.errors import DataError

BATCH_ROWS = 65_536
CSV_SUFFIXES = (".csv", ".csv.gz", ".csv.bz2", ".csv.zst")


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Columns of files that were found to have them all, and numbers or categories in them.

    Attributes:
      files: in the order in which they are read.
      columns: names of the K columns.
      categories: kinds of those that are categories, `"string"` or `"integer"`, by name.
    """

    files: tuple[Path, ...]
    columns: tuple[str, ...]
    categories: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def batches(
        self, codes: Mapping[str, CategoryCodes] = MappingProxyType({})
    ) -> Iterator[np.ndarray[Any, np.dtype[np.float64]]]:
        """All rows, in order, as float64 batches `[n, K]`; a missing value is NaN. Holds one batch at a time.

        Args:
          codes: of the categories, by name.
        """
        for file in self.files:
            try:
                for batch in _record_batches(file, self.columns, self.categories):
                    columns = [(name, batch.column(name)) for name in self.columns]
                    yield np.column_stack([codes.get(name, _to_float)(column) for name, column in columns])
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise DataError(_describe(file, self.columns, error)) from error


def open_table(
    patterns: Sequence[str],
    columns: Sequence[str],
    *,
    condition: Sequence[str] = (),
    categorical: Sequence[str] = (),
) -> Table:
    """The table of the files that `patterns` (paths or globs) name.

    Args:
      patterns: paths or globs.
      columns: names of the columns wanted.
      condition: those of them that may be categories: columns of text, or dictionaries of integers.
      categorical: those of them that are categories even if they are plain integers.

    Raises:
      DataError: naming the file and the column, if a pattern matches nothing, a file is of no kind known here or
        unreadable, or a column is not there, holds neither numbers nor categories, or not the same in all files.
    """
    files = tuple(_match(patterns))
    schemas = {}
    for file in files:
        try:
            schemas[file] = _schema(file)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(_describe(file, columns, error)) from error
        _check_columns(file, schemas[file], columns)
    kinds = {
        name: column_kind(name, schemas, may_be=name in condition, must_be=name in categorical) for name in columns
    }
    return Table(files, tuple(columns), {name: kind for name, kind in kinds.items() if kind != NUMBER})


def _match(patterns: Sequence[str]) -> list[Path]:
    files = []
    for pattern in patterns:
        matches = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise DataError(f"no file matches {pattern!r}; expected a Parquet or CSV file, or a glob of such files")
        files += [Path(match) for match in matches]
    for file in files:
        if file.is_dir():
            raise DataError(f"{file} is a directory; name its files, as in '{file}/*.parquet'")
        if not is_parquet(file) and not file.name.lower().endswith(CSV_SUFFIXES):
            raise DataError(f"{file} is of no known kind; expected a name that ends in .parquet or .csv")
    return files


def _schema(file: Path) -> pa.Schema:
    if is_parquet(file):
        return pa.parquet.read_schema(file)
    with pa.csv.open_csv(file) as reader:
        return reader.schema


def _check_columns(file: Path, schema: pa.Schema, columns: Sequence[str]) -> None:
    for name in columns:
        found = schema.names.count(name)
        if found != 1:
            what = "has no column" if not found else f"has {found} columns named"
            raise DataError(f"{file} {what} {name!r}; its columns: {', '.join(schema.names)}")


def _record_batches(file: Path, columns: Sequence[str], categories: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
    if is_parquet(file):
        with pa.parquet.ParquetFile(file) as parquet:
            yield from parquet.iter_batches(batch_size=BATCH_ROWS, columns=list(columns))
        return
    types = {name: pa.string() if categories.get(name) == "string" else pa.float64() for name in columns}
    if "integer" in categories.values():
        schema = _schema(file)
        types |= {name: schema.field(name).type for name, kind in categories.items() if kind == "integer"}
    options = pa.csv.ConvertOptions(include_columns=list(columns), column_types=types)
    with pa.csv.open_csv(file, convert_options=options) as reader:
        for batch in reader:
            yield _empty_to_null(batch)


def _empty_to_null(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Empty cells are missing; a text such as NA is none of them: it may be a country."""
    for index, column in enumerate(batch.columns):
        if pa.types.is_string(column.type):
            missing = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
            batch = batch.set_column(index, batch.schema.field(index).name, missing)
    return batch


def _to_float(column: pa.Array) -> np.ndarray[Any, np.dtype[np.float64]]:
    values: np.ndarray[Any, np.dtype[np.float64]] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _describe(file: Path, columns: Sequence[str], error: Exception) -> str:
    """One line on why a file cannot be read."""
    if isinstance(error, OSError) and error.strerror:
        return f"{file} cannot be read: {error.strerror}"
    message = " ".join(str(error).split())
    if "conversion error to double" in message or "conversion error to int64" in message:
        value = message.rsplit("invalid value", 1)[-1].strip()
        return f"{file} has text, {value}, in one of the columns {', '.join(columns)}; expected numbers"
    if "was truncated converting to int64" in message:
        return f"{file} has a number that is not whole in a categorical column; expected integers: {message}"
    return f"{file} cannot be read: {message}"
