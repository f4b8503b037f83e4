"""The steps on either side of the model: Arrow columns to its tensors, and its answers to scored rows.

What cannot go on is rejected with its reason, in both. Rows may be counted by group, the values of one column.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from maf_serving.arrow_columns import carry_through
from maf_serving.rejection import RejectedRows, file_column, is_failed, reject_failed
from maf_serving.validation import ScoreableRows, validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apache_beam.ml.inference.base import PredictionResult

    from export.contract import Contract
    from maf_serving.model_inputs import ModelInputs
    from maf_serving.table_formats import InputBatch

REJECTED_TAG = "rejected"
LOG_PROB = "log_prob"
Z_PREFIX = "z_"
NULL_GROUP = "(null)"


class Validate(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`InputBatch` to `ScoreableRows`, at most one for each; the other rows as `RejectedRows` under `REJECTED_TAG`.

    See `maf_serving.validation.validate`.
    """

    def __init__(self, inputs: ModelInputs, *, group_column: str | None = None) -> None:
        super().__init__()
        self._inputs = inputs
        self._group_column = group_column

    def process(self, batch: InputBatch) -> Iterator[ScoreableRows | TaggedOutput]:
        """Splits one batch."""
        rows, rejected = validate(batch.columns, rows=batch.rows, file=batch.file, inputs=self._inputs)
        if rejected is not None:
            yield TaggedOutput(REJECTED_TAG, self._count_groups(batch, rejected))
        if rows is not None:
            yield rows

    def _count_groups(self, batch: InputBatch, rejected: RejectedRows) -> RejectedRows:
        if self._group_column is None:
            return rejected
        refused = pc.is_in(batch.rows, rejected.table["row"])
        return rejected.with_groups(count_groups(batch.columns.column(self._group_column).filter(refused)))


def score_schema(contract: Contract, signature_name: str) -> pa.Schema:
    """The job's own columns: `file`, `row`, and those of `score_fields`. None of them is ever null."""
    place = [("file", pa.string()), ("row", pa.int64())]
    return pa.schema([*(pa.field(*each, nullable=False) for each in place), *score_fields(contract, signature_name)])


def score_fields(contract: Contract, signature_name: str) -> list[pa.Field]:
    """What scoring adds to a row: `log_prob`; and of `inverse`, `z_<event column>`; both in the model's dtype."""
    names = [LOG_PROB]
    if "z" in contract.signature(signature_name).outputs:
        names += [f"{Z_PREFIX}{name}" for name in contract.event_columns]
    return [pa.field(name, pa.from_numpy_dtype(contract.dtype), nullable=False) for name in names]


class ToScoredRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`PredictionResult` to a record batch of the scored schema.

    A density of zero is an answer: a log_prob of minus infinity is kept. NaN and plus infinity, from finite values,
    are failures of the model, and go to `REJECTED_TAG`.
    """

    def __init__(self, own: pa.Schema, kept: pa.Schema) -> None:
        super().__init__()
        self._schema = pa.schema([*own, *kept])
        self._kept = kept

    def process(self, result: PredictionResult) -> Iterator[pa.RecordBatch | TaggedOutput]:
        """Assembles one batch."""
        batch: ScoreableRows = result.example
        log_prob = result.inference["log_prob"]
        columns = [file_column(batch.file, len(batch)), batch.rows, pa.array(log_prob)]
        columns += [pa.array(dimension) for dimension in result.inference.get("z", np.empty((len(batch), 0))).T]
        columns += [carry_through(batch.columns.column(field.name), field.type) for field in self._kept]
        scored = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        rejected = reject_failed(batch.file, batch.rows, log_prob)
        if rejected is not None:
            yield TaggedOutput(REJECTED_TAG, rejected)
            scored = scored.filter(pa.array(~is_failed(log_prob)))
        if scored.num_rows:
            yield scored


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Which column makes groups, or `None` for no groups, and the largest number of groups."""

    column: str | None
    max_groups: int


def group_names(column: pa.Array) -> pa.StringArray:
    """The values of a column as names of groups; null stays null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.string())


def count_groups(column: pa.Array) -> dict[str, int]:
    """How many values each group has."""
    counted = pc.value_counts(group_names(column).fill_null(NULL_GROUP))
    return {entry["values"]: entry["counts"] for entry in counted.to_pylist()}
