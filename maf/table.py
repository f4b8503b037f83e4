"""Columns of Parquet and CSV files, streamed as batches of rows."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from maf.category_codes import CategoryCodes
from maf.column_kind import NUMBER, column_kind
from maf.errors import DataError
from maf_serving.arrow_columns import (
    Fault,
    Integers,
    describe,
    find_faults,
    is_text,
    to_categories,
    to_floats,
    to_integers,
)
from maf_serving.errors import UsageError, did_you_mean
from maf_serving.rejection import RejectedRows
from maf_serving.table_files import READABLE, TableFile
from maf_serving.table_formats import Damage, InputBatch, find_format, list_suffixes

if TYPE_CHECKING:
    import pyarrow as pa

    from maf_serving.arrow_columns import Mask

Array = np.ndarray[Any, np.dtype[np.float64]]
BATCH_ROWS = 65_536


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

    def batches(self, codes: Mapping[str, CategoryCodes] = MappingProxyType({})) -> Iterator[Array]:
        """All rows, in order, as float64 batches `[n, K]`; a missing value is NaN. Holds one batch at a time.

        Args:
          codes: of the categories, by name.

        Raises:
          DataError: naming the file and the row, if one cannot be read, or has text where numbers are expected.
        """
        kinds = {name: self.categories.get(name, NUMBER) for name in self.columns}
        for file in self.files:
            for part in _open(file).rows(kinds, batch_rows=BATCH_ROWS):
                if isinstance(part, Damage):
                    raise DataError(f"{file} cannot be read from row {part.first_row} (from 0): {part.reason}")
                if isinstance(part, RejectedRows):
                    row, reason = part.table["row"][0], part.table["reason"][0]
                    raise DataError(f"{file}, row {row} (from 0): {reason}; mend the row or leave it out")
                yield np.column_stack([_values(part, name, kind, codes.get(name)) for name, kind in kinds.items()])


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
        schemas[file] = _open(file).schema
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
        if find_format(file.name) not in READABLE:
            raise DataError(f"{file} is of no known kind; expected a name that ends in {list_suffixes(READABLE)}")
    return files


def _open(file: Path) -> TableFile:
    try:
        return TableFile(file)
    except UsageError as error:
        raise DataError(str(error)) from error


def _check_columns(file: Path, schema: pa.Schema, columns: Sequence[str]) -> None:
    for name in columns:
        found = schema.names.count(name)
        if found != 1:
            what = "has no column" if not found else f"has {found} columns named"
            close = None if found else did_you_mean(name, schema.names)
            hint = "" if close is None else f"did you mean {close!r}? "
            raise DataError(f"{file} {what} {name!r}; {hint}its columns: {', '.join(schema.names)}")


def _values(batch: InputBatch, name: str, kind: str, codes: CategoryCodes | None) -> Array:
    """The column as numbers `[n]`, those of `codes` for a category; NaN where there is no value."""
    column = batch.columns.column(name)
    if codes is None:
        floats = to_floats(column)
        if is_text(column.type):
            _refuse(batch, name, {Fault.NOT_A_NUMBER: find_faults(column, floats, floats)[Fault.NOT_A_NUMBER]})
        return floats.astype(np.float64, copy=False)
    read = to_integers(column) if kind == "integer" else to_categories(column, kind)
    _refuse(batch, name, {fault: mask for fault, mask in read.faults.items() if fault is not Fault.NAN})
    return codes(read.values if isinstance(read, Integers) else read.text)


def _refuse(batch: InputBatch, name: str, faults: Mapping[Fault, Mask]) -> None:
    for fault, mask in faults.items():
        if mask.any():
            index = int(np.flatnonzero(mask)[0])
            reason = describe(name, fault, batch.columns.column(name)[index], "int64")
            expected = "numbers" if fault is Fault.NOT_A_NUMBER else "text" if fault is Fault.NOT_UTF8 else "integers"
            raise DataError(
                f"{batch.file}, row {batch.rows[index]} (from 0): {reason}; expected {expected} in that column"
            )
