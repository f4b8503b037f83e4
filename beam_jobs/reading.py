"""The step that turns work units into Arrow batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from beam_jobs import progress
from beam_jobs.inputs import SOURCES
from beam_jobs.rejection import RejectedRows
from beam_jobs.tally import Tally
from beam_jobs.validation import REJECTED_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beam_jobs.table_source import InputBatch, ReadPlan, WorkUnit

TALLY_TAG = "tally"


class ReadRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`WorkUnit` to `InputBatch`es; rows that cannot even be read go to `REJECTED_TAG`, the row count to `TALLY_TAG`.

    The steps after it are fused with it: a batch is scored and written before the next one is read.
    """

    def __init__(self, plan: ReadPlan) -> None:
        super().__init__()
        self._plan = plan
        self._rows_read = Metrics.counter("beam_jobs", "rows_read")

    def process(self, unit: WorkUnit) -> Iterator[InputBatch | TaggedOutput]:
        """Reads one unit from beginning to end."""
        rows = 0
        for part in SOURCES[unit.format].read(unit, self._plan):
            rows += len(part)
            yield TaggedOutput(REJECTED_TAG, part) if isinstance(part, RejectedRows) else part
            self._rows_read.inc(len(part))
            progress.count_rows(len(part))
        yield TaggedOutput(TALLY_TAG, Tally(rows_read=rows))
