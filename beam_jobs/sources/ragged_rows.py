"""Rows of a CSV file with more or fewer fields than its header, from Arrow's reader to the rejected ones."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.csv

from maf_serving.rejection import RejectedRows, reject

if TYPE_CHECKING:
    from beam_jobs.sources.byte_stream import WholeLines

RAGGED = "ragged row"


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
