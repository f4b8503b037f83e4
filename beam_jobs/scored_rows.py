"""What the scored output looks like, and the step from the model's answer to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from beam_jobs.validation import REJECTED_TAG
from maf_serving.arrow_columns import carry_through
from maf_serving.rejection import file_column, is_failed, reject_failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apache_beam.ml.inference.base import PredictionResult

    from export.contract import Contract
    from maf_serving.validation import ScoreableRows

LOG_PROB = "log_prob"
Z_PREFIX = "z_"


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
