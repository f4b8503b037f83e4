"""Rows that cannot be scored or drawn for: which, where they came from, and why."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from maf_serving.arrow_columns import Fault, describe
from maf_serving.condition_range import any_outside

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maf_serving.validation import ScoreableRows

_FIELDS = (("file", pa.string()), ("row", pa.int64()), ("reason", pa.string()))
WRONG_TYPE = "wrong type"
REJECTED_SCHEMA = pa.schema([pa.field(*field, nullable=False) for field in _FIELDS])


@dataclasses.dataclass(frozen=True, slots=True)
class RejectedRows:
    """Rows refused together.

    Attributes:
      table: `REJECTED_SCHEMA`; row numbers are int64, from 0 in their file.
      kinds: how many of them were refused for which kind of reason; sums to the number of rows.
      groups: how many of them are of which group, if that was asked for and is known.
      out_of_range: in which columns of the condition how many of them are out of range, if they are rejected for that.
    """

    table: pa.RecordBatch
    kinds: Mapping[str, int]
    groups: Mapping[str, int] = dataclasses.field(default_factory=dict)
    out_of_range: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def with_groups(self, groups: Mapping[str, int]) -> RejectedRows:
        """The same rows, of those groups."""
        return dataclasses.replace(self, groups=groups)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @property
    def last_row(self) -> int:
        """The number of the last of them."""
        return int(self.table["row"][-1].as_py())


def reject(file: str, rows: pa.Int64Array, reasons: Sequence[str], kinds: Mapping[str, int]) -> RejectedRows:
    """`RejectedRows` of one file: row numbers `[R]`, one reason for each, and the number of each kind."""
    columns = [_file_column(file, len(rows)), rows, pa.array(reasons, pa.string())]
    return RejectedRows(pa.RecordBatch.from_arrays(columns, schema=REJECTED_SCHEMA), dict(kinds))


def reject_all(file: str, first_row: int, rows: int, reason: str, kind: str) -> RejectedRows:
    """Consecutive rows of one file, all for the same reason."""
    columns = [_file_column(file, rows), pa.array(range(first_row, first_row + rows), pa.int64())]
    columns.append(pa.repeat(pa.scalar(reason, pa.string()), rows))
    return RejectedRows(pa.RecordBatch.from_arrays(columns, schema=REJECTED_SCHEMA), {kind: rows})


def split_outside(rows: ScoreableRows) -> tuple[ScoreableRows | None, RejectedRows | None]:
    """The rows in range, and those that are not, whose reason is the first column that is not."""
    outside = any_outside(rows.out_of_range)
    if not outside.any():
        return rows, None
    refused = rows.filter(outside)
    first = np.argmax(np.stack(list(refused.out_of_range.values()), axis=1), axis=1)
    names = list(refused.out_of_range)
    reasons = [
        describe(names[column], Fault.OUT_OF_RANGE, refused.columns.column(names[column])[row])
        for row, column in enumerate(first)
    ]
    rejected = reject(rows.file, refused.rows, reasons, {Fault.OUT_OF_RANGE.value: len(refused)})
    counts = {name: int(mask.sum()) for name, mask in refused.out_of_range.items()}
    rejected = dataclasses.replace(rejected, out_of_range={name: count for name, count in counts.items() if count})
    return (rows.filter(~outside) if not outside.all() else None), rejected


def _file_column(file: str, rows: int) -> pa.StringArray:
    """The path of the file, once per row."""
    return pa.repeat(pa.scalar(file, pa.string()), rows)
