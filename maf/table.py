"""Columns of Parquet and CSV files, streamed as batches of rows: what kind each is, and numbers for its categories."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from maf.errors import DataError
from maf_serving.arrow_columns import (
    Fault,
    Integers,
    Mask,
    column_in_words,
    describe,
    encoding_hint,
    find_faults,
    is_text,
    to_categories,
    to_floats,
    to_integers,
)
from maf_serving.columns import OTHER, TIMESTAMP
from maf_serving.errors import UsageError, did_you_mean
from maf_serving.rejection import RejectedRows
from maf_serving.table_files import READABLE, TableFile
from maf_serving.table_formats import (
    USUAL_CSV,
    CsvDialect,
    Damage,
    InputBatch,
    files_below,
    find_format,
    list_suffixes,
    partitions_of,
)
from maf_serving.timestamps import may_hold_time, to_seconds

Array = np.ndarray[Any, np.dtype[np.float64]]
BATCH_ROWS = 65_536
NUMBER, STRING, INTEGER = "number", "string", "integer"
AnyArray = np.ndarray[Any, Any]
MOST_DISTINCT = 100_000  # values that are kept in memory while they are counted
NULL_CODE = -1
_EXPECTED = {
    Fault.NOT_A_NUMBER: "numbers",
    Fault.NOT_UTF8: "text",
    Fault.NOT_A_TIME: "dates or timestamps, as 2024-03-01 or 2024-03-01T12:30:00Z,",
}


@dataclasses.dataclass(frozen=True, slots=True)
class Table:
    """Columns of files that were found to have them all, and numbers or categories in them.

    Attributes:
      files: in the order in which they are read.
      dialect: how those in CSV are written.
      columns: names of the K columns.
      categories: kinds of those that are categories, `"string"` or `"integer"`, by name.
      times: names of those that are points in time.
    """

    files: tuple[Path, ...]
    columns: tuple[str, ...]
    categories: Mapping[str, str] = dataclasses.field(default_factory=dict)
    dialect: CsvDialect = USUAL_CSV
    times: frozenset[str] = frozenset()

    def batches(self, codes: Mapping[str, CategoryCodes] = MappingProxyType({})) -> Iterator[Array]:
        """All rows, in order, as float64 batches `[n, K]`; a missing value is NaN. Holds one batch at a time.

        Args:
          codes: of the categories, by name.

        Raises:
          DataError: naming the file and the row, if one cannot be read, or has text where numbers are expected.
        """
        return (rows for rows, _ in self.batches_beside(codes, {}))

    def batches_beside(
        self, codes: Mapping[str, CategoryCodes], others: Mapping[str, str]
    ) -> Iterator[tuple[Array, InputBatch]]:
        """The same, each batch with the columns as the files have them, and `others` among them; see `parts`."""
        kinds = self.kinds
        for part in self.parts({**others, **kinds}):
            yield np.column_stack([_values(part, name, kind, codes.get(name)) for name, kind in kinds.items()]), part

    @property
    def kinds(self) -> dict[str, str]:
        """The kind of each column, by name: of `CONDITION_KINDS`."""
        return {name: TIMESTAMP if name in self.times else self.categories.get(name, NUMBER) for name in self.columns}

    def types_of(self, column: str) -> dict[Path, pa.DataType]:
        """Of a column, by file; it need not be one of the table's. Raises `DataError` if a file has no such column."""
        types = {}
        for file in self.files:
            schema = _open(file, self.dialect).schema
            _check_columns(file, schema, [column])
            types[file] = schema.field(column).type
        return types

    def parts(self, kinds: Mapping[str, str]) -> Iterator[InputBatch]:
        """All rows of some columns as Arrow has them, in order; `kinds` says as what the cells of CSV are read.

        Raises:
          DataError: naming the file and the row, if one cannot be read.
        """
        for file in self.files:
            for part in _open(file, self.dialect).rows(kinds, batch_rows=BATCH_ROWS):
                if isinstance(part, Damage):
                    raise DataError(f"{file} cannot be read from row {part.first_row} (from 0): {part.reason}")
                if isinstance(part, RejectedRows):
                    row, reason = part.table["row"][0], part.table["reason"][0]
                    raise DataError(f"{file}, row {row} (from 0): {reason}; mend the row or leave it out")
                yield part


def open_files(
    patterns: Sequence[str],
    columns: Sequence[str],
    *,
    condition: Sequence[str] = (),
    categorical: Collection[str] = (),
    times: Collection[str] = (),
    dialect: CsvDialect = USUAL_CSV,
) -> Table:
    """The table of the files that `patterns` (paths or globs) name.

    Args:
      patterns: paths or globs.
      columns: names of the columns wanted.
      condition: those of them that may be categories: columns of text, or dictionaries of integers.
      categorical: those of them that are categories even if they are plain integers.
      times: those of them that are points in time.
      dialect: how files in CSV are written.

    Raises:
      DataError: naming the file and the column, if a pattern matches nothing, a file is of no kind known here or
        unreadable, or a column is not there, holds neither numbers nor categories, or not the same in all files.
    """
    files = tuple(_match(patterns))
    schemas = {}
    for file in files:
        opened = _open(file, dialect)
        schemas[file] = opened.schema
        _check_columns(file, schemas[file], columns)
        for name in columns:
            if name in times:
                _check_time(file, name, opened.schema.field(name).type)
                continue
            if name in opened.lookalikes and name not in categorical:
                raise DataError(f"column {name!r} of {file} is {opened.lookalikes[name]}")
            if is_text(opened.schema.field(name).type) and name not in condition and name not in opened.partitions:
                raise _not_numbers(opened, name)
    kinds = {
        name: column_kind(name, schemas, may_be=name in condition, must_be=name in categorical)
        for name in columns
        if name not in times
    }
    categories = {name: kind for name, kind in kinds.items() if kind != NUMBER}
    return Table(files, tuple(columns), categories, dialect, frozenset(times))


def _check_time(file: Path, name: str, kind: pa.DataType) -> None:
    if not may_hold_time(kind):
        raise DataError(
            f"column {name!r} of {file} holds {column_in_words(kind)}; --date expects dates, timestamps, ISO 8601 text "
            "or seconds since 1970"
        )


def _match(patterns: Sequence[str]) -> list[Path]:
    files = []
    for pattern in patterns:
        matches = [pattern] if Path(pattern).exists() else sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise DataError(f"no file matches {pattern!r}; expected a Parquet or CSV file, or a glob of such files")
        for match in map(Path, matches):
            files += _below(match) if match.is_dir() else [match]
    for file in files:
        if find_format(file.name) not in READABLE:
            raise DataError(f"{file} is of no known kind; expected a name that ends in {list_suffixes(READABLE)}")
    return files


def _below(directory: Path) -> list[Path]:
    found = files_below(directory, READABLE)
    if not found:
        raise DataError(f"directory {directory} has no file that ends in {list_suffixes(READABLE)}")
    return found


def _open(file: Path, dialect: CsvDialect) -> TableFile:
    try:
        return TableFile(file, dialect)
    except UsageError as error:
        raise DataError(str(error)) from error


def _not_numbers(file: TableFile, name: str) -> DataError:
    """The error that a column of text is which is to be numbers; it names the first value that is none."""
    for part in file.rows({name: NUMBER}, batch_rows=BATCH_ROWS):
        if isinstance(part, RejectedRows):
            row, reason = part.table["row"][0], part.table["reason"][0]
            return DataError(f"{file.path}, row {row} (from 0): {reason}; expected numbers in that column")
        if isinstance(part, InputBatch):
            column = part.columns.column(name)
            floats = to_floats(column)
            wrong = find_faults(column, floats, floats)[Fault.NOT_A_NUMBER]
            if wrong.any():
                index = int(np.flatnonzero(wrong)[0])
                reason = describe(name, Fault.NOT_A_NUMBER, column[index])
                return DataError(
                    f"{file.path}, row {part.rows[index]} (from 0): {reason}; expected numbers in that column"
                )
    return DataError(f"column {name!r} of {file.path} is text; expected numbers: write them as such")


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
    if kind == TIMESTAMP:
        times = to_seconds(column)
        raise_fault(batch, name, {Fault.NOT_A_TIME: times.faults[Fault.NOT_A_TIME]})
        return times.values.astype(np.float64, copy=False)
    if codes is None:
        floats = to_floats(column)
        if is_text(column.type):
            raise_fault(batch, name, {Fault.NOT_A_NUMBER: find_faults(column, floats, floats)[Fault.NOT_A_NUMBER]})
        return floats.astype(np.float64, copy=False)
    read = to_integers(column) if kind == "integer" else to_categories(column, kind)
    raise_fault(batch, name, {fault: mask for fault, mask in read.faults.items() if fault is not Fault.NAN})
    return codes(read.values if isinstance(read, Integers) else read.text)


def raise_fault(batch: InputBatch, name: str, faults: Mapping[Fault, Mask]) -> None:
    """Raises `DataError` naming the first row with one of these faults of a column, if there is one."""
    for fault, mask in faults.items():
        if mask.any():
            index = int(np.flatnonzero(mask)[0])
            reason = describe(name, fault, batch.columns.column(name)[index], "int64")
            expected = _EXPECTED.get(fault, "integers")
            hint = "; say the file's --csv_encoding, such as latin-1" if fault is Fault.NOT_UTF8 else ""
            raise DataError(
                f"{batch.file}, row {batch.rows[index]} (from 0): {reason}; expected {expected} in that column{hint}"
            )


def column_kind(name: str, schemas: Mapping[Path, pa.Schema], *, may_be: bool, must_be: bool) -> str:
    """`"number"`, `"string"` or `"integer"`.

    Args:
      name: of the column.
      schemas: of the files.
      may_be: whether the column may be a category.
      must_be: whether integers are categories too.

    Raises:
      DataError: if the column is of no such kind, or of one in one file and of another in the next.
    """
    found: dict[str, Path] = {}
    for file, schema in schemas.items():
        kind = _kind(file, name, schema.field(name).type, may_be=may_be, must_be=must_be)
        if kind is not None:
            found.setdefault(kind, file)
    if STRING in found:  # what looks like numbers in a text file can be read as text
        found = {kind: file for kind, file in found.items() if kind == STRING or has_type(file, name)}
    if len(found) > 1:
        (first, file), (second, other) = list(found.items())[:2]
        raise DataError(
            f"column {name!r} is a {first} in {file} and a {second} in {other}; expected the same in all files"
        )
    return next(iter(found), NUMBER)


def has_type(file: Path, column: str) -> bool:
    """Whether the file says of what type the column is: not one of text, nor where a directory's name is its value."""
    return find_format(file.name) == "parquet" and column not in partitions_of(str(file))


def _kind(file: Path, name: str, kind: pa.DataType, *, may_be: bool, must_be: bool) -> str | None:
    """`None` for a column of nulls alone, which says nothing."""
    types = pa.types
    plain = kind.value_type if may_be and types.is_dictionary(kind) else kind
    if types.is_null(plain):
        return None
    if may_be and (types.is_string(plain) or types.is_large_string(plain) or types.is_string_view(plain)):
        return STRING
    if may_be and types.is_integer(plain) and (must_be or plain is not kind):
        return INTEGER
    if must_be and (types.is_floating(plain) or types.is_decimal(plain)):
        return INTEGER  # integers with missing values often come as floats
    if not must_be and _is_numeric(plain):
        return NUMBER
    expected = "integers or text" if must_be else "numbers or text" if may_be else "numbers"
    if may_be and (types.is_timestamp(plain) or types.is_date(plain)):
        raise DataError(
            f"column {name!r} of {file} holds {column_in_words(plain)}; say --date {name}=hour,weekday,month,trend, or "
            "those of hour, weekday, day, month, yearday and trend that matter"
        )
    raise DataError(
        f"column {name!r} of {file} holds {column_in_words(plain)}; expected {expected}: {encoding_hint(plain)}"
    )


def _is_numeric(kind: pa.DataType) -> bool:
    types = pa.types
    return any(test(kind) for test in (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean))


class CategoryCodes:
    """Codes of the values of one column: of a vocabulary, or in the order in which values first come.

    With a vocabulary every other value has one code, the one after its last. Without, a column of more than
    `MOST_DISTINCT` values is refused: what is different in nearly every row is no category, and would fill the memory.
    """

    def __init__(self, name: str, kind: str, vocabulary: Sequence[Any] | None = None) -> None:
        """`kind` is `"string"` or `"integer"`."""
        self._name = name
        self._kind = kind
        self._codes: dict[Any, int] = {value: code for code, value in enumerate(vocabulary or ())}
        self._other = None if vocabulary is None else len(vocabulary)

    def __call__(self, column: pa.Array) -> AnyArray:
        """`[n]` float64, NaN for null. What is no value of the kind is one: `Table` has refused it before."""
        clean = to_integers(column).values if self._kind == "integer" else to_categories(column, self._kind).text
        encoded = clean.dictionary_encode()
        codes = np.array([self._code(value) for value in encoded.dictionary.to_pylist()], np.float64)
        indices = encoded.indices.fill_null(len(codes)).to_numpy(zero_copy_only=False)
        of_rows: AnyArray = np.append(codes, np.nan)[indices]
        return of_rows

    def choose(self, counts: AnyArray, *, most: int, least: int) -> tuple[tuple[Any, ...], AnyArray]:
        """The values worth an entry of their own, most frequent first, and what the codes so far become.

        Args:
          counts: by code, how many training rows have it; codes past its end have none.
          most: values to keep.
          least: training rows that a value needs.

        Returns:
          The vocabulary, and the place in it of each code so far; the one after its last for all others.
        """
        candidates = [
            (-int(counts[code]), value)
            for value, code in self._codes.items()
            if code < len(counts) and counts[code] >= least and value != OTHER  # the name of all others
        ]
        vocabulary = tuple(value for _, value in sorted(candidates)[:most])
        if not vocabulary:
            raise DataError(
                f"no value of conditional column {self._name!r} is in {least} training rows; leave the column out, "
                "group its values, or lower --min_category_rows"
            )
        places = {value: place for place, value in enumerate(vocabulary)}
        return vocabulary, np.array([places.get(value, len(vocabulary)) for value in self._codes])

    def _code(self, value: Any) -> int:
        if self._other is not None:
            return self._codes.get(value, self._other)
        code = self._codes.setdefault(value, len(self._codes))
        if code >= MOST_DISTINCT:
            raise DataError(
                f"conditional column {self._name!r} has more than {MOST_DISTINCT:,} different values; a category is "
                "one of few: leave the column out, or group its values"
            )
        return code
