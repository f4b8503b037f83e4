"""The last steps of a job: rows to files of one bundle, and what was written to the tally."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from beam_jobs.jobs.summary import Tally
from beam_jobs.output.shards import MERGED_FORMAT, MergeShards, Shards
from beam_jobs.runner import progress
from maf_serving.rejection import REJECTED_SCHEMA, RejectedRows

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from beam_jobs.output.table_format import TableFormat

REJECTED_PREFIX = "_rejected"


class WriteRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """Record batches with a column `log_prob` to the files of a bundle; emits one `Tally`."""

    def __init__(self, directory: str, prefix: str, schema: pa.Schema, table_format: TableFormat) -> None:
        super().__init__()
        self._where = (directory, prefix, schema, table_format)
        self._rows_written = Metrics.counter("beam_jobs", "rows_written")
        self._shards = Shards(*self._where)

    def start_bundle(self) -> None:
        """Begins the files of this bundle."""
        self._shards = Shards(*self._where)
        self._finite_log_probs, self._log_prob_sum = 0, 0.0

    def process(self, batch: pa.RecordBatch) -> None:
        """Appends one batch."""
        self._shards.write(batch)
        log_prob = batch.column("log_prob").to_numpy()
        finite = np.isfinite(log_prob)
        self._finite_log_probs += int(finite.sum())
        self._log_prob_sum += float(np.sum(log_prob, where=finite, dtype=np.float64))
        self._rows_written.inc(batch.num_rows)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Completes the files."""
        if self._shards.rows:
            self._shards.close()
            yield at_end(
                Tally(
                    rows_written=self._shards.rows,
                    finite_log_probs=self._finite_log_probs,
                    log_prob_sum=self._log_prob_sum,
                    files=tuple(self._shards.paths),
                )
            )

    def teardown(self) -> None:
        """Closes the file of a bundle that failed."""
        self._shards.abandon()


class WriteTable(beam.PTransform):  # type: ignore[misc]  # Beam is untyped here
    """Record batches with a column `log_prob` to files, as many as the format asks for; a collection of `Tally`."""

    def __init__(self, directory: str, prefix: str, schema: pa.Schema, table_format: TableFormat) -> None:
        super().__init__()
        self._where = (directory, prefix, schema, table_format)
        self._num_shards = table_format.num_shards

    def expand(self, batches: beam.PCollection) -> beam.PCollection:
        """Adds the steps."""
        if self._num_shards is None:
            return batches | "WriteRows" >> beam.ParDo(WriteRows(*self._where))
        directory, prefix, schema, _ = self._where
        written = batches | "WriteRows" >> beam.ParDo(WriteRows(directory, prefix, schema, MERGED_FORMAT))
        return written | "MergeShards" >> MergeShards(*self._where, num_shards=self._num_shards)


class WriteRejected(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`RejectedRows` to the files of a bundle; emits one `Tally`."""

    def __init__(
        self,
        directory: str,
        table_format: TableFormat,
        *,
        counted_as: Literal["rows_rejected", "draws_rejected"] = "rows_rejected",
    ) -> None:
        super().__init__()
        self._where = (directory, REJECTED_PREFIX, REJECTED_SCHEMA, table_format)
        self._counted_as = counted_as
        self._counter = Metrics.counter("beam_jobs", counted_as)
        self._shards = Shards(*self._where)

    def start_bundle(self) -> None:
        """Begins the files of this bundle."""
        self._shards = Shards(*self._where)
        self._kinds: Counter[str] = Counter()
        self._groups: Counter[str] = Counter()

    def process(self, rejected: RejectedRows) -> None:
        """Appends some rows."""
        self._shards.write(rejected.table)
        self._kinds.update(rejected.kinds)
        self._groups.update(rejected.groups)
        self._counter.inc(len(rejected))
        progress.count_rejected(len(rejected))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Completes the files."""
        if self._shards.rows:
            self._shards.close()
            draws = self._shards.rows if self._counted_as == "draws_rejected" else 0
            yield at_end(
                Tally(
                    rows_rejected=self._shards.rows - draws,
                    draws_rejected=draws,
                    rejected_by_kind=dict(self._kinds),
                    rejected_by_group=dict(self._groups),
                    files=tuple(self._shards.paths),
                )
            )

    def teardown(self) -> None:
        """Closes the file of a bundle that failed."""
        self._shards.abandon()


def at_end(value: object) -> WindowedValue:
    """What a bundle emits when it is finished."""
    window = GlobalWindow()
    return WindowedValue(value, window.max_timestamp(), [window])
