"""The first lines of a CSV file: names and types of its columns, and whether it is written as it is said to be.

Where it is not, the message says what the lines look like, and the flags that say so.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from maf_serving.arrow_columns import first_not_utf8, is_number
from maf_serving.byte_stream import CHUNK_BYTES, UNREADABLE, WholeLines, as_utf8
from maf_serving.csv_text import (
    NOT_UTF8,
    are_numbers,
    escape,
    exact_type,
    is_utf8,
    open_csv,
    respell,
    spelled_to_null,
)
from maf_serving.errors import one_line
from maf_serving.table_formats import USUAL_CSV, CsvDialect

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maf_serving.byte_stream import OpenChunks

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
# What the numbers of a column of text may be written with, the likelier first, for a message to name it.
_SPELLINGS = (
    {"thousands": ",", "decimal": "."},
    {"thousands": "", "decimal": ","},
    {"thousands": ".", "decimal": ","},
    *({"thousands": each, "decimal": "."} for each in ("'", " ", "\u00a0", "\u202f", "_")),
    *({"thousands": each, "decimal": ","} for each in ("'", " ", "\u00a0", "\u202f")),
    {"thousands": "", "decimal": "."},
)
_DELIMITERS = (";", "\t", "|", ",")
_SHOWN_ROWS = 20


class CsvError(Exception):
    """The head of a file is no CSV; the message says why, and does not name the file."""


class RepeatedNameError(CsvError):
    """A header names a column more than once."""


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
      lookalikes: by name of a column of text, what it looks like if its values are numbers as another dialect writes
        them.
    """

    names: tuple[str, ...]
    types: pa.Schema
    exact: pa.Schema
    has_rows: bool
    lookalikes: Mapping[str, str]


def read_head(open_chunks: OpenChunks, dialect: CsvDialect = USUAL_CSV) -> CsvHead:
    """What can be known of a file before its rows are read. Cost: a chunk of a megabyte.

    Args:
      open_chunks: opens the file's bytes, decompressed; see `byte_stream.decompress`.
      dialect: how the file is written.

    Raises:
      CsvError: it has no header, or one that is not UTF-8, names a column twice or has several where one is read; or
        it cannot be read.
    """
    try:
        with as_utf8(open_chunks, dialect.encoding)() as chunks:
            first = next(chunks, b"")
            stream = WholeLines(itertools.chain([first], chunks))
            text = io.TextIOWrapper(
                io.BufferedReader(stream), encoding="utf-8-sig", errors="surrogateescape", newline=""
            )
            if first.startswith(_UTF16):  # its zero bytes are an error to the parser of Python 3.10
                raise CsvError(f"its header is {NOT_UTF8}: it is UTF-16; say --csv_encoding utf-16")
            lines = (line for line in csv.reader(text, delimiter=dialect.delimiter) if line)
            header, first_row = next(lines, []), next(lines, None)
            damage = _describe_header(header, first, dialect) if header else stream.damage
    except (*UNREADABLE, csv.Error) as error:
        damage = one_line(error)
    if damage is not None:
        raise CsvError(damage)
    repeated = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if repeated:
        raise RepeatedNameError(f"names column(s) {', '.join(repeated)} more than once; expected each name once")
    # Arrow refuses a header that ends without a line break.
    has_rows = first_row is not None or stream.damage is not None
    head = first[: first.rfind(b"\n") + 1] if len(first) >= CHUNK_BYTES else first
    return _guess(head, header, dialect) if has_rows else _guess(b"", header, dialect)


def _describe_header(header: list[str], first: bytes, dialect: CsvDialect) -> str | None:
    """What is wrong with it, if something is."""
    for name in header:
        data = name.encode(errors="surrogateescape")
        if not is_utf8(data):
            byte, shown = first_not_utf8(data), data.decode(errors="backslashreplace")
            return f"its header is {NOT_UTF8}: byte 0x{byte:02X} in '{shown}'; say its --csv_encoding, such as latin-1"
    lines = first[: first.rfind(b"\n") + 1] or first
    return find_delimiter(header, lines.decode("utf-8-sig", "replace"), dialect)


def _guess(head: bytes, names: list[str], dialect: CsvDialect) -> CsvHead:
    """What the first rows say: types of the columns as Arrow has them, and what they can be carried through as."""
    types, exact = dict.fromkeys(names, pa.null()), dict.fromkeys(names, pa.string())
    lookalikes: dict[str, str] = {}
    try:
        guessed, texts = (
            open_csv(io.BytesIO(escape(head)), each, lambda _: "skip", dialect).read_all()
            for each in (None, dict.fromkeys(names, pa.string()))
        )
    except pa.ArrowException:  # no row; or one that has no end here, say: its reader will tell
        pass
    else:
        for name, column in zip(names, texts.columns, strict=True):
            text = column.combine_chunks()
            respelled, other = respell(text, dialect)
            exact[name] = pa.string() if other.any() else exact_type(respelled)
            types[name] = guessed.schema.field(name).type
            if pa.types.is_string(types[name]) and are_numbers(respelled):
                types[name] = pa.float64()
            elif pa.types.is_string(types[name]) and (told := find_lookalike(text, dialect)) is not None:
                lookalikes[name] = told
    return CsvHead(
        names=tuple(names),
        types=pa.schema(list(types.items())),
        exact=pa.schema(list(exact.items())),
        has_rows=bool(head),
        lookalikes=lookalikes,
    )


def find_delimiter(header: list[str], lines: str, dialect: CsvDialect) -> str | None:
    r"""What the first lines of a file of one column look like if other characters delimit columns; and how to say so.

    >>> find_delimiter(["x;y"], "x;y\n10,20;4\n", CsvDialect())
    "its header 'x;y' is one column, and its lines look like several; say --csv_delimiter ';' --csv_decimal ','"
    """
    if len(header) != 1:
        return None
    for delimiter in (each for each in _DELIMITERS if each != dialect.delimiter and each in header[0]):
        try:
            reader = csv.reader(io.StringIO(lines, newline=""), delimiter=delimiter)
            names, *rows = itertools.islice((row for row in reader if row), _SHOWN_ROWS)
        except csv.Error:
            continue
        if any(len(row) != len(names) for row in rows):
            continue
        comma = any(re.fullmatch(r"[+-]?\d+,\d+", cell.strip()) for row in rows for cell in row)
        other = dataclasses.replace(dialect, delimiter=delimiter, decimal="," if comma else dialect.decimal)
        return f"its header {header[0]!r} is one column, and its lines look like several; say {other.flags}"
    return None


def find_lookalike(text: pa.StringArray, dialect: CsvDialect) -> str | None:
    """What a column of text looks like if its values are numbers as another dialect writes them, and how to say so.

    >>> find_lookalike(pa.array(["20,000.00", "7"]), CsvDialect())
    "text that looks like numbers with thousands separators, such as '20,000.00'; say --csv_thousands ','"
    """
    values = pc.drop_null(spelled_to_null(text))
    if not len(values) or are_numbers(values):
        return None
    for spelling in _SPELLINGS:
        other = dataclasses.replace(dialect, **spelling)
        numbers, wrong = respell(values, other)
        if other == dialect or wrong.any() or not pc.all(is_number(numbers)).as_py():
            continue
        shown = values.filter(pc.invert(is_number(values)))[0].as_py()
        changed = {name: value for name, value in spelling.items() if getattr(dialect, name) != value}
        what = (
            "thousands separators" if changed.get("thousands") else f"{'a comma' if other.decimal == ',' else 'a dot'}"
        )
        what += "" if changed.get("thousands") else " before the fraction"
        flags = CsvDialect(**{name: changed.get(name, "" if name == "thousands" else ".") for name in spelling}).flags
        if "," in changed.get("thousands", "") and not pc.any(pc.match_substring_regex(values, r",.*[,.]")).as_py():
            flags += ", or --csv_decimal ',' if it is before the fraction"
        return f"text that looks like numbers with {what}, such as {shown!r}; say {flags or '--csv_decimal .'}"
    return None
