"""JSON Lines files, one object a line, read whole. Blank lines are no rows: row 0 is the first line that is not.

A line that is no JSON object is rejected alone; as the last one, without its line break, it says that the file was cut
off. A key that is missing is null.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from beam_jobs.errors import UnreadableFileError
from beam_jobs.sources.records import GUESSED_FROM, guess_file, to_batches
from beam_jobs.sources.source import InputFile, ReadPlan, WholeFile
from beam_jobs.storage import open_chunks
from maf_serving.byte_stream import UNREADABLE, WholeLines
from maf_serving.errors import one_line
from maf_serving.rejection import RejectedRows, reject
from maf_serving.table_formats import Damage, InputBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NOT_AN_OBJECT = "not a JSON object"


class JsonLinesSource(WholeFile):
    """A JSON Lines file."""

    __slots__ = ()

    def inspect(self) -> InputFile:
        """See `Source.inspect`. Names and types are guessed from the first rows."""
        try:
            with open_chunks(self.path) as chunks:
                lines = WholeLines(chunks, is_whole=_is_object)
                head = list(itertools.islice(_rows(lines), GUESSED_FROM))
                damage = lines.damage
        except UNREADABLE as error:
            damage, head = one_line(error), []
        records = [record for line in head if (record := _parse(line)) is not None]
        if not records and (damage or head):
            reason = damage or f"none of its first {len(head)} lines is a JSON object"
            raise UnreadableFileError(
                f"{self.path} cannot be read as JSON Lines: {reason}; see --input_format and --on_bad_file"
            )
        units = (self,) if head else ()
        return guess_file(self.path, records, units)

    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """See `WorkUnit.read`."""
        row = 0
        with open_chunks(self.path) as chunks:
            lines = WholeLines(chunks, is_whole=_is_object)
            rows = _rows(lines)
            while chunk := list(itertools.islice(rows, plan.batch_size)):
                yield from _to_batches(self.path, row, chunk, plan)
                row += len(chunk)
        if lines.damage is not None:
            yield Damage(file=self.path, first_row=row, rows=None, reason=lines.damage)


def _rows(lines: WholeLines) -> Iterator[bytes]:
    return (line for chunk in lines.lines() for line in chunk if line.strip())


def _to_batches(path: str, row: int, lines: Sequence[bytes], plan: ReadPlan) -> Iterator[InputBatch | RejectedRows]:
    records: list[dict[str, Any]] = []
    rows: list[int] = []
    refused: list[int] = []
    for number, line in enumerate(lines, row):
        record = _parse(line)
        if record is None:
            refused.append(number)
        else:
            records.append(record)
            rows.append(number)
    if refused:
        reasons = [NOT_AN_OBJECT] * len(refused)
        yield reject(path, pa.array(refused, pa.int64()), reasons, {NOT_AN_OBJECT: len(refused)})
    if records:
        yield from to_batches(path, rows, records, plan)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_object(line: bytes) -> bool:
    return _parse(line) is not None
