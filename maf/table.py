"""Numeric columns of Parquet and CSV files, streamed as batches of rows."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from maf.errors import DataError

BATCH_ROWS = 65_536
PARQUET_SUFFIXES = (".parquet", ".pq")
CSV_SUFFIXES = (".csv", ".csv.gz", ".csv.bz2", ".csv.zst")


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Columns of files that were found to have them all, and numbers in them.

    Attributes:
      files: in the order in which they are read.
      columns: names of the K columns.
    """

    files: tuple[Path, ...]
    columns: tuple[str, ...]

    def batches(self) -> Iterator[np.ndarray[Any, np.dtype[np.float64]]]:
        """All rows, in order, as float64 batches `[n, K]`; a missing value is NaN. Holds one batch at a time."""
        for file in self.files:
            try:
                for batch in _record_batches(file, self.columns):
                    yield np.column_stack([_to_float(batch.column(name)) for name in self.columns])
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise DataError(_describe(file, self.columns, error)) from error


def open_table(patterns: Sequence[str], columns: Sequence[str]) -> Table:
    """The table of the files that `patterns` (paths or globs) name.

    Raises:
      DataError: naming the file and the column, if a pattern matches nothing, a file is of no kind known here or
        unreadable, or a column is not there or holds no numbers.
    """
    table = Table(tuple(_match(patterns)), tuple(columns))
    for file in table.files:
        try:
            schema = _schema(file)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise DataError(_describe(file, columns, error)) from error
        _check_columns(file, schema, columns)
    return table


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
        if not file.name.lower().endswith(PARQUET_SUFFIXES + CSV_SUFFIXES):
            raise DataError(f"{file} is of no known kind; expected a name that ends in .parquet or .csv")
    return files


def _is_parquet(file: Path) -> bool:
    return file.name.lower().endswith(PARQUET_SUFFIXES)


def _schema(file: Path) -> pa.Schema:
    if _is_parquet(file):
        return pa.parquet.read_schema(file)
    with pa.csv.open_csv(file) as reader:
        return reader.schema


def _check_columns(file: Path, schema: pa.Schema, columns: Sequence[str]) -> None:
    for name in columns:
        found = schema.names.count(name)
        if found != 1:
            what = "has no column" if not found else f"has {found} columns named"
            raise DataError(f"{file} {what} {name!r}; its columns: {', '.join(schema.names)}")
        kind = schema.field(name).type
        if not _is_numeric(kind):
            raise DataError(
                f"column {name!r} of {file} is {kind}; expected numbers: leave it out or encode it as numbers"
            )


def _is_numeric(kind: pa.DataType) -> bool:
    types = pa.types
    tests = (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean, types.is_null)
    return any(test(kind) for test in tests)


def _record_batches(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    if _is_parquet(file):
        with pa.parquet.ParquetFile(file) as parquet:
            yield from parquet.iter_batches(batch_size=BATCH_ROWS, columns=list(columns))
        return
    options = pa.csv.ConvertOptions(include_columns=list(columns), column_types=dict.fromkeys(columns, pa.float64()))
    with pa.csv.open_csv(file, convert_options=options) as reader:
        yield from reader


def _to_float(column: pa.Array) -> np.ndarray[Any, np.dtype[np.float64]]:
    values: np.ndarray[Any, np.dtype[np.float64]] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _describe(file: Path, columns: Sequence[str], error: Exception) -> str:
    """One line on why a file cannot be read."""
    if isinstance(error, OSError) and error.strerror:
        return f"{file} cannot be read: {error.strerror}"
    message = " ".join(str(error).split())
    if "conversion error to double" in message:
        value = message.rsplit("invalid value", 1)[-1].strip()
        return f"{file} has text, {value}, in one of the columns {', '.join(columns)}; expected numbers"
    return f"{file} cannot be read: {message}"
