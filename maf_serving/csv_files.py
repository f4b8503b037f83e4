"""CSV files as Arrow columns: one reader for training, batch jobs, the client and Python, in constant memory.

Comma separated, quoted as in RFC 4180, UTF-8 with or without a byte order mark, with a header line; or else as a
`CsvDialect` says, of which the rest of the toolkit sees nothing: text is UTF-8, and numbers are written as Python does,
once they have been read. A row is what follows the header, blank lines apart: row 0 is the first of them. Values may
hold line breaks inside quotes.

    column        null                                     else
    number        an empty cell, `NULLS`                   as Python writes numbers, `nan` and `inf` too; true and
                                                           false (in three cases) are 1 and 0
    integer       the same                                 whole numbers of 64 bits, 7.0 too
    text          an empty cell: NA may be a country       anything that is UTF-8
    timestamp     an empty cell, `NULLS`                   text, that `timestamps.to_seconds` takes

A row with more or fewer fields than the header is rejected alone; as the last one, with fewer and without its line
break, it says that the file was cut off. Files are read as if all was well, straight to numbers, until a cell is none:
then once more from the beginning, all cells as bytes, so that one value does not fail the rows around it.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from maf_serving.arrow_columns import Fault, describe, type_in_words
from maf_serving.byte_stream import ENDS_WITHIN_A_ROW, WholeLines, as_utf8
from maf_serving.columns import TIMESTAMP
from maf_serving.csv_text import (
    BLOCK_BYTES,
    FALSE_WORDS,
    NOT_UTF8,
    NULLS,
    TRUE_WORDS,
    RaggedRows,
    convert_cells,
    decode_cells,
    empty_to_null,
    escape,
    is_whole_text,
    open_csv,
    respell,
    restore_cells,
    spelled_to_null,
)
from maf_serving.errors import one_line
from maf_serving.rejection import WRONG_TYPE, RejectedRows, reject
from maf_serving.table_formats import USUAL_CSV, CsvDialect, Damage, InputBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import numpy.typing as npt

    from maf_serving.byte_stream import OpenChunks

NUMBER, INTEGER, STRING = "number", "integer", "string"

_OF_KINDS = {NUMBER: pa.float64(), INTEGER: pa.int64(), STRING: pa.string(), TIMESTAMP: pa.string()}
_HEAD_ROWS = 100  # of them it is seen whether a column spells its numbers true and false


class _Unusual(Exception):  # noqa: N818  # no error
    """A block that cannot be read straight to its types."""


def read_rows(
    open_chunks: OpenChunks,
    columns: Mapping[str, str | pa.DataType],
    *,
    file: str,
    batch_rows: int,
    dialect: CsvDialect = USUAL_CSV,
) -> Iterator[InputBatch | RejectedRows | Damage]:
    """Every row of a file once: in a batch, rejected, or in the damage that ends it; in order.

    Args:
      open_chunks: opens the file's bytes, decompressed; twice, if a cell is not what it should be.
      columns: which to read, and as what. `"number"`, `"integer"` and `"string"` are for the model: what such a column
        cannot hold is left in it as text or bytes, for `validation.validate` to judge. A type of Arrow, of `exact`, is
        for columns to carry through: a row with a value that is none of that type is rejected.
      file: what it is called in batches and reasons.
      batch_rows: rows of a batch at most.
      dialect: how the file is written. A number that is written in the usual way, which another one is read as in this
        dialect, as 1.5 with a decimal comma, is rejected.
    """
    reader = _Reader(as_utf8(open_chunks, dialect.encoding), dict(columns), file, batch_rows, dialect)
    next_row = 0
    try:
        for part in reader.read_plain():
            if not isinstance(part, Damage):
                rows = part.table["row"] if isinstance(part, RejectedRows) else part.rows
                next_row = max(next_row, rows[-1].as_py() + 1)
            yield part
    except _Unusual:
        yield from _from_row(next_row, reader.read_carefully())


def _from_row(
    first: int, parts: Iterator[InputBatch | RejectedRows | Damage]
) -> Iterator[InputBatch | RejectedRows | Damage]:
    """Those of the rows from `first` on."""
    for part in parts:
        if isinstance(part, Damage):
            yield part
            continue
        rows = part.table["row"] if isinstance(part, RejectedRows) else part.rows
        passed = pc.sum(pc.less(rows, first)).as_py()  # rows ascend
        if passed == 0:
            yield part
        elif passed < len(part) and isinstance(part, InputBatch):
            yield InputBatch(file=part.file, rows=rows[passed:], columns=part.columns[passed:])
        elif passed < len(part) and isinstance(part, RejectedRows):
            (kind,) = part.kinds  # a reader rejects for one reason at a time
            yield RejectedRows(part.table[passed:], {kind: len(part) - passed})


@dataclasses.dataclass(slots=True)
class _Reader:
    open_chunks: OpenChunks
    columns: dict[str, str | pa.DataType]
    file: str
    batch_rows: int
    dialect: CsvDialect

    def read_plain(self) -> Iterator[InputBatch | RejectedRows | Damage]:
        """As if every cell was what it should be. Raises `_Unusual` where one is not, after all rows before."""
        with self.open_chunks() as chunks:
            first = next(chunks, b"")
            types = _plain_types(self.columns, first, self.dialect)
            lines = WholeLines(itertools.chain([first], chunks), convert=_checked)
            yield from self._read(lines, types, self._finish_plain)

    def read_carefully(self) -> Iterator[InputBatch | RejectedRows | Damage]:
        """All cells as bytes: so none fails the others."""
        with self.open_chunks() as chunks:
            lines = WholeLines(chunks, convert=escape)
            yield from self._read(lines, dict.fromkeys(self.columns, pa.binary()), self._finish_carefully)

    def _read(
        self,
        lines: WholeLines,
        types: dict[str, pa.DataType],
        finish: Callable[[npt.NDArray[np.int64], pa.RecordBatch], Iterator[InputBatch | RejectedRows]],
    ) -> Iterator[InputBatch | RejectedRows | Damage]:
        row = 0
        damage: str | None = None
        ragged = RaggedRows(self.file, lines)
        try:
            for block in open_csv(lines, types, ragged.note, self.dialect, block_bytes=BLOCK_BYTES):
                rows = _number_rows(row, block.num_rows, ragged.numbers())
                starts = range(0, len(rows), self.batch_rows)
                parts = [
                    finish(rows[each : each + self.batch_rows], block[each : each + self.batch_rows]) for each in starts
                ]
                # All of a block before any of it is given: what has been given never has a gap.
                yield from list(itertools.chain.from_iterable(parts))
                row = int(rows[-1]) + 1 if len(rows) else row
                if passed := ragged.take_passed(row):
                    yield passed
                    row = max(row, passed.last_row + 1)
        except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
            if finish == self._finish_plain:
                raise _Unusual from error
            damage = _describe(error)
        if ragged.drop_cut_off(row):
            damage = damage or ENDS_WITHIN_A_ROW
        if left := ragged.take_all():
            yield left
            row = max(row, left.last_row + 1)
        damage = lines.damage or damage
        if damage is not None:
            yield Damage(file=self.file, first_row=row, rows=None, reason=damage)

    def _finish_plain(self, rows: npt.NDArray[np.int64], block: pa.RecordBatch) -> Iterator[InputBatch]:
        columns = []
        for name, kind in self.columns.items():
            column = block.column(name)
            if pa.types.is_string(column.type):
                column = spelled_to_null(column) if kind == TIMESTAMP else empty_to_null(column)
                column = column if _is_text(kind) else self._number(column, kind)
            columns.append(column)
        yield InputBatch(file=self.file, rows=pa.array(rows), columns=_batch(columns, self.columns))

    def _number(self, text: pa.StringArray, kind: str | pa.DataType) -> pa.Array:
        """What Arrow cannot read: integers to be carried through, and numbers of a dialect. Raises `_Unusual`."""
        column, other = respell(text, self.dialect)
        if isinstance(kind, str):
            column, wrong = spelled_to_null(column).cast(_OF_KINDS[kind]), other
        else:
            column, wrong = convert_cells(column, kind)
        if wrong.any() or other.any():
            raise _Unusual
        return column

    def _finish_carefully(
        self, rows: npt.NDArray[np.int64], block: pa.RecordBatch
    ) -> Iterator[InputBatch | RejectedRows]:
        found: dict[str, dict[int, str]] = {NOT_UTF8: {}, WRONG_TYPE: {}, Fault.NOT_A_NUMBER.value: {}}
        columns = []
        for name, kind in self.columns.items():
            cells = restore_cells(block.column(name))
            if isinstance(kind, str):
                columns.append(self._model_column(name, kind, cells, found[Fault.NOT_A_NUMBER.value]))
            else:
                columns.append(self._kept_column(name, kind, cells, found))
        refused: set[int] = set()
        for why, faults in found.items():
            left = sorted(faults.keys() - refused)
            refused |= faults.keys()
            if left:
                yield reject(self.file, pa.array(rows[left]), [faults[i] for i in left], {why: len(left)})
        batch = _batch(columns, self.columns)
        good = np.setdiff1d(np.arange(len(rows)), list(refused))
        if len(good) < len(rows):
            rows, batch = rows[good], batch.take(pa.array(good))
        if len(rows):
            yield InputBatch(file=self.file, rows=pa.array(rows), columns=batch)

    def _model_column(self, name: str, kind: str, cells: pa.BinaryArray, found: dict[int, str]) -> pa.BinaryArray:
        """What validation is to judge; into `found`, by index, what it would take for another number."""
        if _is_text(kind):
            return empty_to_null(cells) if kind == STRING else spelled_to_null(cells)
        column, other = respell(cells, self.dialect)
        for index in np.flatnonzero(other).tolist():
            found.setdefault(index, describe(name, Fault.NOT_A_NUMBER, cells[index]))
        if kind == INTEGER:
            column = pc.if_else(is_whole_text(column), column, cells)  # a reason shows what is in the file
        return spelled_to_null(column)

    def _kept_column(
        self, name: str, kind: pa.DataType, cells: pa.BinaryArray, found: dict[str, dict[int, str]]
    ) -> pa.Array:
        """The values that are carried through; into `found`, by index, where a cell is none."""
        text, broken = decode_cells(cells)
        for index in broken:
            found[NOT_UTF8].setdefault(index, describe(name, Fault.NOT_UTF8, cells[index]))
        other = np.zeros(len(cells), bool)
        if not _is_text(kind):
            text, other = respell(text, self.dialect)
        column, wrong = convert_cells(empty_to_null(text), kind)
        for index in np.flatnonzero(wrong | other).tolist():
            shown = cells[index].as_py().decode(errors="backslashreplace")
            told = f"{name}: {WRONG_TYPE}: expected {type_in_words(kind)}, got {shown!r}"
            found[WRONG_TYPE].setdefault(index, told)
        return column


def _batch(columns: list[pa.Array], names: Iterable[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(columns, list(names))


def _is_text(kind: str | pa.DataType) -> bool:
    return kind in {STRING, TIMESTAMP} if isinstance(kind, str) else kind in {pa.string(), pa.bool_()}


def _plain_types(columns: Mapping[str, str | pa.DataType], first: bytes, dialect: CsvDialect) -> dict[str, pa.DataType]:
    """As what Arrow is to read each column; numbers that the first rows spell true and false as booleans."""
    types = {name: _OF_KINDS[kind] if isinstance(kind, str) else kind for name, kind in columns.items()}
    # Whether an integer is written as 007 only its text says; and Arrow knows of no separators of thousands.
    as_text = [name for name, kind in columns.items() if not isinstance(kind, str) and kind == pa.int64()]
    as_text += [name for name, kind in columns.items() if dialect.thousands and not _is_text(kind)]
    types |= dict.fromkeys(as_text, pa.string())
    text = first[: first.rfind(b"\n") + 1].decode("utf-8-sig", "replace")
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=dialect.delimiter)
        rows = list(itertools.islice((row for row in lines if row), _HEAD_ROWS + 1))
    except csv.Error:
        return types
    header, *rows = rows or [[]]
    for name in (name for name, kind in columns.items() if isinstance(kind, str) and kind == NUMBER and name in header):
        place = header.index(name)
        cells = {row[place] for row in rows if len(row) > place} - set(NULLS)
        if cells <= {*TRUE_WORDS, *FALSE_WORDS} and not cells <= {"1", "0"}:
            types[name] = pa.bool_()
    return types


def _checked(data: bytes) -> bytes:
    """The same bytes; raises `UnicodeDecodeError` if they are not UTF-8."""
    if not data.isascii():
        data.decode()
    return data


def _describe(error: Exception) -> str:
    text = one_line(error)
    if "straddling" in text:
        return f"a row takes more than {BLOCK_BYTES:,} bytes: is a quote not closed?"
    return text


def _number_rows(first: int, count: int, ragged: list[int]) -> npt.NDArray[np.int64]:
    """The first `count` row numbers from `first` on that are not in `ragged`; int64 `[count]`."""
    candidates = np.arange(first, first + count + len(ragged))
    return candidates[~np.isin(candidates, ragged)][:count]
