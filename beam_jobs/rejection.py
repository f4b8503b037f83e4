"""Rows that cannot be scored: which, where they came from, and why."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REJECTED_SCHEMA = pa.schema([("file", pa.string()), ("row", pa.int64()), ("reason", pa.string())])


@dataclasses.dataclass(frozen=True, slots=True)
class RejectedRows:
    """Rows refused together.

    Attributes:
      table: `REJECTED_SCHEMA`; row numbers are int64, from 0 in their file.
      kinds: how many of them were refused for which kind of reason; sums to the number of rows.
    """

    table: pa.RecordBatch
    kinds: Mapping[str, int]

    def __len__(self) -> int:
        return int(self.table.num_rows)


def reject(file: str, rows: pa.Int64Array, reasons: Sequence[str], kinds: Mapping[str, int]) -> RejectedRows:
    """`RejectedRows` of one file: row numbers `[R]`, one reason for each, and the number of each kind."""
    columns = [file_column(file, len(rows)), rows, pa.array(reasons, pa.string())]
    return RejectedRows(pa.RecordBatch.from_arrays(columns, schema=REJECTED_SCHEMA), dict(kinds))


def file_column(file: str, rows: int) -> pa.StringArray:
    """The path of the file, once per row."""
    return pa.repeat(pa.scalar(file, pa.string()), rows)
