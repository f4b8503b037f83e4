"""The step between reading and scoring: Arrow columns to the model's tensors, and bad rows to the rejected output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apache_beam as beam
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from beam_jobs.groups import count_groups
from maf_serving.validation import validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maf_serving.model_inputs import ModelInputs
    from maf_serving.rejection import RejectedRows
    from maf_serving.table_formats import InputBatch
    from maf_serving.validation import ScoreableRows

REJECTED_TAG = "rejected"


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
