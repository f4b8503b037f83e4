"""What Arrow's CSV reader does not bear: rows of more or fewer fields than the header, and bytes that are not UTF-8.

It names such a row to a handler, on a thread of its own, but fails on one whose text it cannot decode. So bytes that
are not UTF-8 go through it as characters for private use: the byte 0xNN as U+F7NN. Characters from U+F780 to U+F7FF
that were there before become their three bytes, each escaped, so that nothing is lost or mistaken.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv

from maf_serving.rejection import RejectedRows, reject

if TYPE_CHECKING:
    from maf_serving.byte_stream import WholeLines

RAGGED = "ragged row"
_MARKED = re.compile(rb"\xef\x9e|\xef\x9f")  # how U+F780 to U+F7FF begin
_PRIVATE = re.compile("[\uf780-\uf7ff]")
# Python decodes the byte 0xNN that is not UTF-8 as U+DCNN.
_ESCAPED = {0xDC00 + byte: 0xF700 + byte for byte in range(0x80, 0x100)}
_RESTORED = {private: surrogate for surrogate, private in _ESCAPED.items()}


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
    """Valid UTF-8; the same bytes if they are that already and hold nothing that `restore` would take for escaped."""
    if not _MARKED.search(data) and is_utf8(data):
        return data
    text = data.decode("utf-8", "surrogateescape")
    text = _PRIVATE.sub(lambda found: found.group().encode().decode("ascii", "surrogateescape"), text)
    return text.translate(_ESCAPED).encode()


def restore(data: bytes) -> bytes:
    """What `escape` was given."""
    if not _MARKED.search(data):
        return data
    return data.decode().translate(_RESTORED).encode("utf-8", "surrogateescape")


def is_marked(data: memoryview) -> bool:
    """Whether there is anything to restore."""
    return _MARKED.search(data) is not None


def is_utf8(data: bytes) -> bool:
    """Whether the bytes are text."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
