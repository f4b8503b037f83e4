"""The step of the evaluation that takes rows in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from beam_jobs.evaluation.statistics import Statistics, finite_points
from beam_jobs.groups import Grouping, count_groups, group_names
from beam_jobs.output.writing import at_end
from beam_jobs.tally import Tally
from beam_jobs.validation import REJECTED_TAG
from maf_serving.rejection import is_failed, reject_failed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apache_beam.ml.inference.base import PredictionResult

    from maf_serving.validation import ScoreableRows

USED_TAG = "tally"


class Accumulate(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`PredictionResult` to one `Statistics` per bundle; rows for which the model failed go to `REJECTED_TAG`."""

    def __init__(self, dimensions: int, grouping: Grouping) -> None:
        super().__init__()
        self._dimensions = dimensions
        self._grouping = grouping
        self._rows_used = Metrics.counter("beam_jobs", "rows_evaluated")
        self._statistics = self._empty()

    def start_bundle(self) -> None:
        """Begins anew."""
        self._statistics = self._empty()

    def process(self, result: PredictionResult) -> Iterator[TaggedOutput]:
        """Takes in one batch."""
        batch: ScoreableRows = result.example
        log_prob, z = result.inference["log_prob"], result.inference["z"]
        column = self._grouping.column
        groups = None if column is None else group_names(batch.columns.column(column))
        rejected = reject_failed(batch.file, batch.rows, log_prob)
        if rejected is not None:
            failed = is_failed(log_prob)
            if groups is not None:
                rejected = rejected.with_groups(count_groups(groups.filter(pa.array(failed))))
                groups = groups.filter(pa.array(~failed))
            yield TaggedOutput(REJECTED_TAG, rejected)
            log_prob, z = log_prob[~failed], z[~failed]
        self._statistics.add(z, log_prob, groups)
        base_z = result.inference.get("base_z", np.empty((0, self._dimensions)))
        self._statistics.base_draws.add(finite_points(base_z))
        self._rows_used.inc(len(log_prob))

    def finish_bundle(self) -> Iterator[object]:
        """Emits the statistics, and how many rows are in them."""
        rows = self._statistics.overall.rows
        if rows or self._statistics.base_draws.rows:
            yield at_end(self._statistics)
            yield TaggedOutput(USED_TAG, at_end(Tally(rows_used=rows)))
        self._statistics = self._empty()

    def _empty(self) -> Statistics:
        return Statistics(self._dimensions, self._grouping)
