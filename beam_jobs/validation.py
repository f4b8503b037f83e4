"""The step between reading and scoring: Arrow columns to the model's tensors, and bad rows to the rejected output."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from beam_jobs.condition_reader import read_condition
from beam_jobs.groups import count_groups
from beam_jobs.numeric_columns import Floats, Mask, describe, find_faults, to_floats
from beam_jobs.rejection import RejectedRows, reject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from beam_jobs.condition_reader import Faults, ReadCondition
    from beam_jobs.model_inputs import ModelInputs
    from beam_jobs.raw_condition import RawCondition
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
      condition: what the model is to make `conditional_input` of, where that is not among the inputs.
      unknown: by name of a column of categories, where its value is none of the model's: a mask `[B]`.
    """

    file: str
    rows: pa.Int64Array
    inputs: Mapping[str, Floats]
    columns: pa.RecordBatch
    condition: RawCondition | None = None
    unknown: Mapping[str, Mask] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def filter(self, mask: Mask) -> ScoreableRows:
        """The rows where the mask `[B]` is true."""
        chosen = pa.array(mask)
        return ScoreableRows(
            file=self.file,
            rows=self.rows.filter(chosen),
            inputs={name: tensor[mask] for name, tensor in self.inputs.items()},
            columns=self.columns.filter(chosen),
            condition=None if self.condition is None else self.condition.filter(mask),
            unknown={name: unknown[mask] for name, unknown in self.unknown.items()},
        )


class Validate(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`InputBatch` to `ScoreableRows`, at most one for each; the other rows as `RejectedRows` under `REJECTED_TAG`.

    A row is refused for its first column, in the model's order, that holds null, NaN, an infinite value, one that
    overflows the model's dtype, or text that is no number. Of raw columns of the condition, null and NaN are values
    where the contract says nullable; a category that the model does not know is one too.
    """

    def __init__(self, inputs: ModelInputs, *, group_column: str | None = None) -> None:
        super().__init__()
        self._inputs = inputs
        self._group_column = group_column

    def process(self, batch: InputBatch) -> Iterator[ScoreableRows | TaggedOutput]:
        """Splits one batch. Cost: one pass over the columns; a second where something is wrong."""
        floats = {name: to_floats(batch.columns.column(name)) for name in self._inputs.numeric_names}
        tensors = {name: self._stack(floats, columns, len(batch)) for name, columns in self._inputs.columns.items()}
        raw = self._read_condition(batch)
        rows = ScoreableRows(
            file=batch.file,
            rows=batch.rows,
            inputs=tensors,
            columns=batch.columns,
            condition=None if raw is None else raw.condition,
            unknown={} if raw is None else raw.unknown,
        )
        if all(np.isfinite(tensor).all() for tensor in tensors.values()) and (raw is None or not raw.faults):
            yield rows
            return
        usable = [np.isfinite(tensor).all(axis=1) for tensor in tensors.values()]
        good = np.logical_and.reduce(usable if raw is None else [*usable, *raw.usable()])
        yield TaggedOutput(REJECTED_TAG, self._reject(batch, self._find_faults(batch, floats, raw), ~good))
        if good.any():
            yield rows.filter(good)

    def _read_condition(self, batch: InputBatch) -> ReadCondition | None:
        if not self._inputs.condition:
            return None
        return read_condition(batch.columns, self._inputs.condition, self._inputs.dtype)

    def _stack(self, floats: Mapping[str, Floats], columns: tuple[str, ...], rows: int) -> Floats:
        tensor = np.empty((rows, len(columns)), self._inputs.dtype)
        # A number too large for float32 becomes infinite, and is rejected for it.
        with np.errstate(over="ignore"):
            for index, name in enumerate(columns):
                tensor[:, index] = floats[name]
        return tensor

    def _find_faults(
        self, batch: InputBatch, floats: Mapping[str, Floats], raw: ReadCondition | None
    ) -> Iterator[tuple[str, Faults]]:
        """What is wrong in each column, in the model's order."""
        for name in self._inputs.numeric_names:
            with np.errstate(over="ignore"):
                converted = floats[name].astype(self._inputs.dtype)
            yield name, find_faults(batch.columns.column(name), floats[name], converted)
        if raw is not None:
            yield from raw.faults.items()

    def _reject(self, batch: InputBatch, faults: Iterator[tuple[str, Faults]], bad: Mask) -> RejectedRows:
        reasons: dict[int, str] = {}
        kinds: Counter[str] = Counter()
        for name, found in faults:
            column = batch.columns.column(name)
            dtype = "int64" if self._inputs.categories.get(name) == "integer" else self._inputs.dtype
            for fault, mask in found.items():
                for index in np.flatnonzero(mask & bad):
                    reasons[int(index)] = describe(name, fault, column[int(index)], dtype)
                    kinds[fault.value] += 1
            bad = bad & ~np.logical_or.reduce(list(found.values()))
        refused = sorted(reasons)
        index = pa.array(refused, pa.int64())
        rejected = reject(batch.file, batch.rows.take(index), [reasons[i] for i in refused], kinds)
        if self._group_column is None:
            return rejected
        return rejected.with_groups(count_groups(batch.columns.column(self._group_column).take(index)))
