r"""The text of CSV cells: what Arrow's reader does not bear, and what cells mean.

Arrow names a row of more or fewer fields than the header to a handler, on a thread of its own, but fails on one whose
text it cannot decode. So bytes that are not UTF-8 go through it as characters for private use: the byte 0xNN as U+F7NN.
Characters from U+F780 to U+F7FF that were there before become their three bytes, each escaped, so that nothing is lost
or mistaken.

>>> escape(b"caf\xe9")
b'caf\xef\x9f\xa9'
>>> unescape(escape(b"caf\xe9"))
b'caf\xe9'
"""

from __future__ import annotations

import io
import re
from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from maf_serving.arrow_columns import Fault, clean_text, is_boolean, is_number
from maf_serving.rejection import RejectedRows, reject

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from maf_serving.arrow_columns import Mask
    from maf_serving.byte_stream import WholeLines
    from maf_serving.table_formats import CsvDialect


RAGGED = "ragged row"
NOT_UTF8 = Fault.NOT_UTF8.value
BLOCK_BYTES = 4 << 20
_MARKED = re.compile(rb"\xef\x9e|\xef\x9f")  # how U+F780 to U+F7FF begin
_PRIVATE = re.compile("[\uf780-\uf7ff]")
# Python decodes the byte 0xNN that is not UTF-8 as U+DCNN.
_ESCAPED = {0xDC00 + byte: 0xF700 + byte for byte in range(0x80, 0x100)}
_RESTORED = {private: surrogate for surrogate, private in _ESCAPED.items()}
# Arrow's own list, without the spellings of NaN: that is a number.
NULLS = ("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN", "N/A", "NA", "NULL", "n/a", "null")
TRUE_WORDS, FALSE_WORDS = ("true", "True", "TRUE", "1"), ("false", "False", "FALSE", "0")
# An integer that is written in no other way: 007 is a text.
_CANONICAL_INTEGER = r"^(0|-?[1-9][0-9]{0,17})$"
_NOT_KEPT_BY_A_FLOAT = r"^[+-]?(0[0-9]|[0-9]{16,}$)"
_NO_DIGITS = r"(?i)^[+-]?(nan|inf|infinity)$"


class RaggedRows:
    """Those that Arrow has met, on a thread of its own, and that have not been rejected yet; row numbers ascend."""

    def __init__(self, path: str, lines: WholeLines) -> None:
        """See the class; `lines` are those of the file."""
        self._path = path
        self._lines = lines
        self._rows: deque[tuple[int, str]] = deque()
        self._short: set[int] = set()

    def note(self, row: pyarrow.csv.InvalidRow) -> str:
        """For Arrow's reader: which leaves the row out."""
        number = row.number - 2  # which counts the header as 1 and leaves out blank lines
        if row.actual_columns < row.expected_columns:
            self._short.add(number)
        self._rows.append((number, _describe(row)))
        return "skip"

    def numbers(self) -> list[int]:
        """Their row numbers."""
        return [number for number, _ in list(self._rows)]

    def take_passed(self, row: int) -> RejectedRows | None:
        """Removes and rejects those before `row`, and those that follow without a good row between.

        The last row of a file that lacks its line break stays: it may have been cut off.
        """
        passed: list[tuple[int, str]] = []
        while self._rows and self._rows[0][0] <= row:
            passed.append(self._rows.popleft())
            row = max(row, passed[-1][0] + 1)
        if passed and not self._rows and self._lines.unterminated and passed[-1][0] in self._short:
            self._rows.append(passed.pop())
        return self._reject(passed)

    def drop_cut_off(self, row: int) -> bool:
        """At the end, when all before `row` is used: whether the last row of the file was cut off. It is removed."""
        if not (self._rows and self._lines.unterminated):
            return False
        last, _ = self._rows[-1]
        if last < row or last not in self._short:
            return False
        self._rows.pop()
        return True

    def take_all(self) -> RejectedRows | None:
        """Removes and rejects all that are left."""
        rows = list(self._rows)
        self._rows.clear()
        return self._reject(rows)

    def _reject(self, rows: list[tuple[int, str]]) -> RejectedRows | None:
        if not rows:
            return None
        reasons = [f"{RAGGED}: {text}" for _, text in rows]
        return reject(self._path, pa.array([row for row, _ in rows], pa.int64()), reasons, {RAGGED: len(rows)})


def _describe(row: pyarrow.csv.InvalidRow) -> str:
    lines = row.text.count("\n") + 1
    hint = f", over {lines} lines: is a quote not closed?" if lines > 1 else ""
    return f"{row.actual_columns} fields where the header has {row.expected_columns}{hint}"


def escape(data: bytes) -> bytes:
    """Valid UTF-8; the same bytes if they are that already and hold nothing that `unescape` would take for escaped."""
    if not _MARKED.search(data) and is_utf8(data):
        return data
    text = data.decode("utf-8", "surrogateescape")
    text = _PRIVATE.sub(lambda found: found.group().encode().decode("ascii", "surrogateescape"), text)
    return text.translate(_ESCAPED).encode()


def unescape(data: bytes) -> bytes:
    """What `escape` was given."""
    if not _MARKED.search(data):
        return data
    return data.decode().translate(_RESTORED).encode("utf-8", "surrogateescape")


def is_marked(data: memoryview) -> bool:
    """Whether there is anything to unescape."""
    return _MARKED.search(data) is not None


def is_utf8(data: bytes) -> bool:
    """Whether the bytes are text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def are_numbers(column: pa.Array) -> bool:
    """Whether all values are numbers, or true or false."""
    text = clean_text(spelled_to_null(column)).drop_null()
    return bool(len(text)) and pc.all(pc.or_(is_number(text), is_boolean(text))).as_py()


def exact_type(column: pa.Array) -> pa.DataType:
    """As what the cells can be carried through, so that nothing is lost; see `CsvHead.exact`."""
    text = clean_text(spelled_to_null(column)).drop_null()
    if not len(text):
        return pa.string()
    if pc.all(pc.match_substring_regex(text, _CANONICAL_INTEGER)).as_py():
        return pa.int64()
    if pc.all(is_boolean(text)).as_py():
        return pa.bool_()
    lossy = pc.match_substring_regex(text, _NOT_KEPT_BY_A_FLOAT)
    return pa.float64() if pc.all(pc.and_not(is_number(text), lossy)).as_py() else pa.string()


def restore_cells(column: pa.BinaryArray) -> pa.BinaryArray:
    """The column with the bytes of the file."""
    buffer = column.buffers()[2]
    marked = buffer is not None and is_marked(memoryview(buffer))
    return pa.array(map(unescape, column.to_pylist()), pa.binary()) if marked else column


def empty_to_null(column: pa.Array) -> pa.Array:
    """Text, or bytes, with null for what is empty."""
    empty = pc.equal(pc.binary_length(column), 0)
    return pc.if_else(empty, pa.scalar(None, column.type), column) if pc.any(empty).as_py() else column


def spelled_to_null(column: pa.Array) -> pa.Array:
    """Cells of a column of numbers, with null for those that spell it."""
    null = pc.is_in(clean_text(column), pa.array(NULLS, pa.string()))
    return pc.if_else(null, pa.scalar(None, column.type), column)


def decode_cells(column: pa.BinaryArray) -> tuple[pa.StringArray, list[int]]:
    """The column as text, null where bytes are none; and where that is."""
    try:
        return column.cast(pa.string()), []
    except pa.ArrowInvalid:
        values = column.to_pylist()
    broken = [index for index, value in enumerate(values) if not is_utf8(value)]
    return pa.array([value if is_utf8(value) else None for value in values], pa.string()), broken


def convert_cells(text: pa.StringArray, kind: pa.DataType) -> tuple[pa.Array, Mask]:
    """The values of a column that is carried through, and where there is text that is none: a mask `[B]`."""
    if kind == pa.string():
        return text, np.zeros(len(text), bool)
    text = clean_text(spelled_to_null(text))
    if kind == pa.bool_():
        right = is_boolean(text)
        values = pc.is_in(text, pa.array(TRUE_WORDS, pa.string()))
        column = pc.if_else(right, values, pa.scalar(None, pa.bool_()))
    else:
        integer = pc.match_substring_regex(text, _CANONICAL_INTEGER)
        right = (
            integer
            if kind == pa.int64()
            else pc.and_not(is_number(text), pc.match_substring_regex(text, _NOT_KEPT_BY_A_FLOAT))
        )
        column = pc.if_else(right, text, pa.scalar(None, pa.string())).cast(kind)
    wrong = pc.invert(right).fill_null(fill_value=False)
    return column, wrong.to_numpy(zero_copy_only=False)


def respell(column: pa.Array, dialect: CsvDialect) -> tuple[pa.Array, Mask]:
    """Numbers as Arrow and Python write them, and where a text would be taken for another number: a mask `[B]`.

        >>> from maf_serving.table_formats import CsvDialect
        >>> column, other = respell(pa.array(["1.234,5", "1.5", "-7", "x"]), CsvDialect(thousands=".", decimal=","))
        >>> column.to_pylist(), other.tolist()
        (['1234.5', '1.5', '-7', 'x'], [False, True, False, False])

    Text that is no number, and bytes that are no text, stay as they are.

    Args:
      column: text or bytes.
      dialect: how the file writes its numbers.
    """
    if dialect.decimal == "." and not dialect.thousands:
        return column, np.zeros(len(column), bool)
    text = clean_text(column)
    point = re.escape(dialect.decimal)
    whole = r"\d+"
    if dialect.thousands:
        whole = rf"(\d{{1,3}}({_escaped(dialect.thousands)}\d{{3}})+|\d+)"
    number = rf"^[+-]?({whole}({point}\d*)?|{point}\d+)([eE][+-]?\d+)?$"
    right = pc.match_substring_regex(text, number).fill_null(fill_value=False)
    digits = pc.and_not(is_number(text), pc.match_substring_regex(text, _NO_DIGITS)).fill_null(fill_value=False)
    spelled = pc.replace_substring(text, dialect.thousands, "") if dialect.thousands else text
    spelled = pc.replace_substring(spelled, dialect.decimal, ".")
    respelled = pc.if_else(right, spelled.cast(column.type), column)
    return respelled, pc.and_not(digits, right).to_numpy(zero_copy_only=False)


def partition_type(value: str | None) -> pa.DataType:
    """As what the value of a partition column can be carried through."""
    return exact_type(pa.array([value], pa.string()))


def partition_column(value: str | None, kind: pa.DataType | None, rows: int) -> pa.Array:
    """A partition column of so many rows.

    Args:
      value: of all of them, as the text that a directory's name is, which means what a CSV cell does.
      kind: as what it is carried through; `None` for text, to be judged in validation.
      rows: how many.
    """
    column = pa.array([value], pa.string())
    if kind is not None and pa.types.is_string(kind):
        kind = None
    elif kind is not None:
        exact = partition_type(value)
        column, _ = convert_cells(column, exact)
        column = column.cast(kind)
    return pa.repeat(column[0], rows)


def is_whole_text(column: pa.Array) -> pa.BooleanArray:
    """Where text, or bytes, is a whole number, 7.0 and 1e3 too."""
    return pc.match_substring_regex(clean_text(column), r"^[+-]?\d+(\.0*)?([eE]\+?\d+)?$").fill_null(fill_value=False)


def _escaped(character: str) -> str:
    return character if character in {"'", "_"} else re.escape(character)


def open_csv(
    stream: io.RawIOBase | io.BytesIO,
    types: Mapping[str, pa.DataType] | None,
    handle: Callable[[pyarrow.csv.InvalidRow], str],
    dialect: CsvDialect,
    *,
    block_bytes: int = BLOCK_BYTES,
) -> pyarrow.csv.CSVStreamingReader:
    """Arrow's reader of those columns; of all, with types of its own, without `types`."""
    return pyarrow.csv.open_csv(
        stream,
        # Only a single-threaded reader knows the number of an invalid row.
        read_options=pyarrow.csv.ReadOptions(block_size=block_bytes, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(
            delimiter=dialect.delimiter, newlines_in_values=True, invalid_row_handler=handle
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=list(types or ()),
            column_types=types,
            decimal_point=dialect.decimal,
            null_values=list(NULLS),
            true_values=list(TRUE_WORDS),
            false_values=list(FALSE_WORDS),
            strings_can_be_null=False,
        ),
    )
