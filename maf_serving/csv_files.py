"""CSV files as Arrow columns: one reader for training, batch jobs, the client and Python, in constant memory.

Comma separated, quoted as in RFC 4180, UTF-8 with or without a byte order mark, with a header line. A row is what
follows the header, blank lines apart: row 0 is the first of them. Values may hold line breaks inside quotes.

    column        null                                     else
    number        an empty cell, `NULLS`                   as Python writes numbers, `nan` and `inf` too; true and
                                                           false (in three cases) are 1 and 0
    integer       the same                                 whole numbers of 64 bits, 7.0 too
    text          an empty cell: NA may be a country       anything that is UTF-8

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
import pyarrow.csv

from maf_serving.byte_stream import CHUNK_BYTES, ENDS_WITHIN_A_ROW, UNREADABLE, WholeLines
from maf_serving.csv_text import (
    FALSE_WORDS,
    NULLS,
    TRUE_WORDS,
    RaggedRows,
    are_numbers,
    convert_cells,
    decode_cells,
    empty_to_null,
    escape,
    exact_type,
    is_utf8,
    restore_cells,
    spelled_to_null,
)
from maf_serving.errors import one_line
from maf_serving.rejection import WRONG_TYPE, RejectedRows, reject
from maf_serving.table_formats import Damage, InputBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from contextlib import AbstractContextManager

    import numpy.typing as npt

    OpenChunks = Callable[[], AbstractContextManager[Iterator[bytes]]]

NUMBER, INTEGER, STRING = "number", "integer", "string"

NOT_UTF8 = "not UTF-8"

BLOCK_BYTES = 4 << 20

_HEAD_ROWS = 100  # of them it is seen whether a column spells its numbers true and false

_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class CsvError(Exception):
    """The head of a file is no CSV; the message says why, and does not name the file."""


class RepeatedNameError(CsvError):
    """A header names a column more than once."""


class _Unusual(Exception):  # noqa: N818  # no error
    """A block that cannot be read straight to its types."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CsvHead:
    """What the first chunk of a file says.

    Attributes:
      names: of its columns, in order; none if the file is empty.
      types: of the columns as Arrow guesses them, but that numbers may be spelled true and false among others; null
        where no cell has a value.
      exact: as what each column can be carried through, so that a number stays one and nothing is lost: int64 if
        all its values are written as integers are (007 is not), float64, bool, else string.
      has_rows: whether there is a row.
    """

    names: tuple[str, ...]
    types: pa.Schema
    exact: pa.Schema
    has_rows: bool


def read_head(open_chunks: OpenChunks) -> CsvHead:
    """What can be known of a file before its rows are read. Cost: a chunk of a megabyte.

    Args:
      open_chunks: opens the file's bytes, decompressed; see `byte_stream.decompress`.

    Raises:
      CsvError: it has no header, or one that is not UTF-8 or names a column twice; or it cannot be read.
    """
    try:
        with open_chunks() as chunks:
            first = next(chunks, b"")
            stream = WholeLines(itertools.chain([first], chunks))
            text = io.TextIOWrapper(
                io.BufferedReader(stream), encoding="utf-8-sig", errors="surrogateescape", newline=""
            )
            if first.startswith(_UTF16):  # its zero bytes are an error to the parser of Python 3.10
                raise CsvError(f"its header is {NOT_UTF8}: it is UTF-16; write the file as UTF-8")
            lines = (line for line in csv.reader(text) if line)
            header, first_row = next(lines, []), next(lines, None)
            damage = stream.damage if not header else None if _is_utf8(header) else f"its header is {NOT_UTF8}"
    except (*UNREADABLE, csv.Error) as error:
        damage = one_line(error)
    if damage is not None:
        raise CsvError(damage)
    repeated = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if repeated:
        raise RepeatedNameError(f"names column(s) {', '.join(repeated)} more than once; expected each name once")
    # Arrow refuses a header that ends without a line break.
    has_rows = first_row is not None or stream.damage is not None
    types, exact = _guess(first[: first.rfind(b"\n") + 1] if len(first) >= CHUNK_BYTES else first, header, has_rows)
    return CsvHead(names=tuple(header), types=types, exact=exact, has_rows=has_rows)


def _is_utf8(header: list[str]) -> bool:
    return is_utf8("".join(header).encode(errors="surrogateescape"))


def _guess(head: bytes, names: list[str], has_rows: bool) -> tuple[pa.Schema, pa.Schema]:  # noqa: FBT001
    """Types of the columns by their first rows: Arrow's, and what they can be carried through as."""
    columns, types = {}, {name: pa.null() for name in names}
    if has_rows:
        try:
            guessed, texts = (
                _open(io.BytesIO(escape(head)), each, lambda _: "skip").read_all()
                for each in (None, dict.fromkeys(names, pa.string()))
            )
        except pa.ArrowException:  # a row that has no end here, say; its reader will tell
            pass
        else:
            types = {name: guessed.schema.field(name).type for name in names}
            mixed = [name for name in names if pa.types.is_string(types[name])]
            types |= {name: pa.float64() for name in mixed if are_numbers(texts.column(name).combine_chunks())}
            columns = {name: column.combine_chunks() for name, column in zip(names, texts.columns, strict=True)}
    exact = {name: exact_type(columns[name]) if name in columns else pa.string() for name in names}
    return pa.schema(list(types.items())), pa.schema(list(exact.items()))


def read_rows(
    open_chunks: OpenChunks, columns: Mapping[str, str | pa.DataType], *, file: str, batch_rows: int
) -> Iterator[InputBatch | RejectedRows | Damage]:
    """Every row of a file once: in a batch, rejected, or in the damage that ends it; in order.

    Args:
      open_chunks: opens the file's bytes, decompressed; twice, if a cell is not what it should be.
      columns: which to read, and as what. `"number"`, `"integer"` and `"string"` are for the model: what such a column
        cannot hold is left in it as text or bytes, for `validation.validate` to judge. A type of Arrow, of `exact`, is
        for columns to carry through: a row with a value that is none of that type is rejected.
      file: what it is called in batches and reasons.
      batch_rows: rows of a batch at most.
    """
    reader = _Reader(open_chunks, dict(columns), file, batch_rows)
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

    def read_plain(self) -> Iterator[InputBatch | RejectedRows | Damage]:
        """As if every cell was what it should be. Raises `_Unusual` where one is not, after all rows before."""
        with self.open_chunks() as chunks:
            first = next(chunks, b"")
            types = _plain_types(self.columns, first)
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
            for block in _open(lines, types, ragged.note):
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
                column = empty_to_null(column)
            if not isinstance(kind, str) and kind == pa.int64():
                column, wrong = convert_cells(column, kind)
                if wrong.any():
                    raise _Unusual
            columns.append(column)
        yield InputBatch(file=self.file, rows=pa.array(rows), columns=_batch(columns, self.columns))

    def _finish_carefully(
        self, rows: npt.NDArray[np.int64], block: pa.RecordBatch
    ) -> Iterator[InputBatch | RejectedRows]:
        columns = []
        not_utf8: dict[int, str] = {}
        wrong_type: dict[int, str] = {}
        for name, kind in self.columns.items():
            column = restore_cells(block.column(name))
            if isinstance(kind, str):
                column = empty_to_null(column) if kind == STRING else spelled_to_null(column)
            else:
                column, broken = decode_cells(column)
                not_utf8 |= {index: f"{name}: {NOT_UTF8}" for index in broken if index not in not_utf8}
                column, wrong = convert_cells(empty_to_null(column), kind)
                for index in np.flatnonzero(wrong).tolist():
                    shown = block.column(name)[index].as_py().decode(errors="backslashreplace")
                    wrong_type.setdefault(index, f"{name}: {WRONG_TYPE}: expected {kind}, got {shown!r}")
            columns.append(column)
        for index in not_utf8:
            wrong_type.pop(index, None)
        for faults, why in ((not_utf8, NOT_UTF8), (wrong_type, WRONG_TYPE)):
            if faults:
                refused = sorted(faults)
                yield reject(self.file, pa.array(rows[refused]), [faults[i] for i in refused], {why: len(refused)})
        batch = _batch(columns, self.columns)
        good = np.setdiff1d(np.arange(len(rows)), [*not_utf8, *wrong_type])
        if len(good) < len(rows):
            rows, batch = rows[good], batch.take(pa.array(good))
        if len(rows):
            yield InputBatch(file=self.file, rows=pa.array(rows), columns=batch)


def _batch(columns: list[pa.Array], names: Iterable[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(columns, list(names))


def _plain_types(columns: Mapping[str, str | pa.DataType], first: bytes) -> dict[str, pa.DataType]:
    """As what Arrow is to read each column; numbers that the first rows spell true and false as booleans."""
    of_kinds = {NUMBER: pa.float64(), INTEGER: pa.int64(), STRING: pa.string()}
    types = {name: of_kinds[kind] if isinstance(kind, str) else kind for name, kind in columns.items()}
    # Whether an integer is written as 007 only its text says.
    types |= {name: pa.string() for name, kind in columns.items() if not isinstance(kind, str) and kind == pa.int64()}
    text = first[: first.rfind(b"\n") + 1].decode("utf-8-sig", "replace")
    try:
        rows = list(itertools.islice((row for row in csv.reader(io.StringIO(text, newline="")) if row), _HEAD_ROWS + 1))
    except csv.Error:
        return types
    header, *rows = rows or [[]]
    for name in (name for name, kind in columns.items() if isinstance(kind, str) and kind == NUMBER and name in header):
        place = header.index(name)
        cells = {row[place] for row in rows if len(row) > place} - set(NULLS)
        if cells <= {*TRUE_WORDS, *FALSE_WORDS} and not cells <= {"1", "0"}:
            types[name] = pa.bool_()
    return types


def _open(
    stream: io.RawIOBase | io.BytesIO,
    types: Mapping[str, pa.DataType] | None,
    handle: Callable[[pyarrow.csv.InvalidRow], str],
) -> pyarrow.csv.CSVStreamingReader:
    """Arrow's reader of those columns; of all, with types of its own, without `types`."""
    return pyarrow.csv.open_csv(
        stream,
        # Only a single-threaded reader knows the number of an invalid row.
        read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=handle),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=list(types or ()),
            column_types=types,
            null_values=list(NULLS),
            true_values=list(TRUE_WORDS),
            false_values=list(FALSE_WORDS),
            strings_can_be_null=False,
        ),
    )


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
