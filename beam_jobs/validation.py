"""The step between reading and scoring: Arrow columns to the model's tensors, and bad rows to the rejected output."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from beam_jobs.groups import count_groups
from beam_jobs.numeric_columns import Floats, Mask, describe, find_faults, to_floats
from beam_jobs.rejection import RejectedRows, reject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from beam_jobs.model_inputs import ModelInputs
    from beam_jobs.sources.table_source import InputBatch

REJECTED_TAG = "rejected"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoreableRows:
    """Rows of one file that the model can take.

    Attributes:
      file: path of the file.
      rows: row numbers in the file, from 0; int64 `[B]`.
      inputs: by name of the signature's input, numbers `[B, size]` in the model's dtype, all finite.
      columns: the columns as they were read, of B rows.
    """

    file: str
    rows: pa.Int64Array
    inputs: Mapping[str, Floats]
    columns: pa.RecordBatch

    def __len__(self) -> int:
        return len(self.rows)


class Validate(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`InputBatch` to `ScoreableRows`, at most one for each; the other rows as `RejectedRows` under `REJECTED_TAG`.

    A row is refused for its first column, in the model's order, that holds null, NaN, an infinite value, one that
    overflows the model's dtype, or text that is no number.
    """

    def __init__(self, inputs: ModelInputs, *, group_column: str | None = None) -> None:
        super().__init__()
        self._inputs = inputs
        self._group_column = group_column

    def process(self, batch: InputBatch) -> Iterator[ScoreableRows | TaggedOutput]:
        """Splits one batch. Cost: one pass over the columns; a second where something is wrong."""
        floats = {name: to_floats(batch.columns.column(name)) for name in self._inputs.names}
        tensors = {name: self._stack(floats, columns, len(batch)) for name, columns in self._inputs.columns.items()}
        if all(np.isfinite(tensor).all() for tensor in tensors.values()):
            yield ScoreableRows(file=batch.file, rows=batch.rows, inputs=tensors, columns=batch.columns)
            return
        finite = np.logical_and.reduce([np.isfinite(tensor).all(axis=1) for tensor in tensors.values()])
        yield TaggedOutput(REJECTED_TAG, self._reject(batch, floats, ~finite))
        if finite.any():
            mask = pa.array(finite)
            yield ScoreableRows(
                file=batch.file,
                rows=batch.rows.filter(mask),
                inputs={name: tensor[finite] for name, tensor in tensors.items()},
                columns=batch.columns.filter(mask),
            )

    def _stack(self, floats: Mapping[str, Floats], columns: tuple[str, ...], rows: int) -> Floats:
        tensor = np.empty((rows, len(columns)), self._inputs.dtype)
        # A number too large for float32 becomes infinite, and is rejected for it.
        with np.errstate(over="ignore"):
            for index, name in enumerate(columns):
                tensor[:, index] = floats[name]
        return tensor

    def _reject(self, batch: InputBatch, floats: Mapping[str, Floats], bad: Mask) -> RejectedRows:
        reasons: dict[int, str] = {}
        kinds: Counter[str] = Counter()
        for name in self._inputs.names:
            column = batch.columns.column(name)
            with np.errstate(over="ignore"):
                converted = floats[name].astype(self._inputs.dtype)
            for fault, mask in find_faults(column, floats[name], converted).items():
                for index in np.flatnonzero(mask & bad):
                    reasons[int(index)] = describe(name, fault, column[int(index)], self._inputs.dtype)
                    kinds[fault.value] += 1
            bad = bad & np.isfinite(converted)
        refused = sorted(reasons)
        index = pa.array(refused, pa.int64())
        rejected = reject(batch.file, batch.rows.take(index), [reasons[i] for i in refused], kinds)
        if self._group_column is None:
            return rejected
        return rejected.with_groups(count_groups(batch.columns.column(self._group_column).take(index)))
