"""What the scored output looks like, and the step from the model's answer to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from beam_jobs.rejection import file_column, reject
from beam_jobs.validation import REJECTED_TAG, ScoreableRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apache_beam.ml.inference.base import PredictionResult

RESULT_COLUMNS = ("file", "row", "log_prob")
NAN_LOG_PROB = "log_prob: NaN"
INFINITE_LOG_PROB = "log_prob: +infinite"


def scored_schema(kept: pa.Schema, dtype: str) -> pa.Schema:
    """`file`, `row`, `log_prob` in the model's dtype, and the kept columns."""
    own = [("file", pa.string()), ("row", pa.int64()), ("log_prob", pa.from_numpy_dtype(dtype))]
    return pa.schema([*own, *kept])


class ToScoredRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`PredictionResult` to a record batch of the scored schema.

    A density of zero is an answer: a log_prob of minus infinity is kept. NaN and plus infinity, from finite values,
    are failures of the model, and go to `REJECTED_TAG`.
    """

    def __init__(self, schema: pa.Schema) -> None:
        super().__init__()
        self._schema = schema

    def process(self, result: PredictionResult) -> Iterator[pa.RecordBatch | TaggedOutput]:
        """Assembles one batch."""
        batch: ScoreableRows = result.example
        log_prob = result.inference["log_prob"]
        columns = [file_column(batch.file, len(batch)), batch.rows, pa.array(log_prob)]
        kept = [field for field in self._schema if field.name not in RESULT_COLUMNS]
        columns += [batch.columns.column(field.name).cast(field.type) for field in kept]
        scored = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        failed = np.isnan(log_prob) | np.isposinf(log_prob)
        if failed.any():
            reasons = [NAN_LOG_PROB if np.isnan(value) else INFINITE_LOG_PROB for value in log_prob[failed]]
            kinds = {reason: reasons.count(reason) for reason in set(reasons)}
            refused = scored.column("row").filter(pa.array(failed))
            yield TaggedOutput(REJECTED_TAG, reject(batch.file, refused, reasons, kinds))
            scored = scored.filter(pa.array(~failed))
        if scored.num_rows:
            yield scored
