"""The last steps of a job: results to Parquet shards, and what was written to the tally."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from beam_jobs.rejection import REJECTED_SCHEMA, RejectedRows
from beam_jobs.shard_writer import ShardWriter
from beam_jobs.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa


class WriteScored(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """Scored record batches to one shard per bundle; emits a `Tally` for each shard."""

    def __init__(self, directory: str, schema: pa.Schema) -> None:
        super().__init__()
        self._directory = directory
        self._schema = schema
        self._rows_scored = Metrics.counter("beam_jobs", "rows_scored")
        self._shard: ShardWriter | None = None

    def start_bundle(self) -> None:
        """No file is created before there is a row."""
        self._shard = None
        self._finite_log_probs, self._log_prob_sum = 0, 0.0

    def process(self, batch: pa.RecordBatch) -> None:
        """Appends one batch."""
        if self._shard is None:
            self._shard = ShardWriter(self._directory, "scored", self._schema)
        self._shard.write(batch)
        log_prob = batch.column("log_prob").to_numpy()
        finite = np.isfinite(log_prob)
        self._finite_log_probs += int(finite.sum())
        self._log_prob_sum += float(np.sum(log_prob, where=finite, dtype=np.float64))
        self._rows_scored.inc(batch.num_rows)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Completes the shard."""
        if self._shard is not None:
            self._shard.close()
            tally = Tally(
                rows_scored=self._shard.rows,
                finite_log_probs=self._finite_log_probs,
                log_prob_sum=self._log_prob_sum,
                files=(self._shard.path,),
            )
            self._shard = None
            yield _at_end(tally)

    def teardown(self) -> None:
        """Closes the shard of a bundle that failed."""
        if self._shard is not None:
            self._shard.abandon()


class WriteRejected(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`RejectedRows` to one shard per bundle; emits a `Tally` for each shard."""

    def __init__(self, directory: str) -> None:
        super().__init__()
        self._directory = directory
        self._rows_rejected = Metrics.counter("beam_jobs", "rows_rejected")
        self._shard: ShardWriter | None = None

    def start_bundle(self) -> None:
        """No file is created before there is a row."""
        self._shard = None
        self._kinds: Counter[str] = Counter()

    def process(self, rejected: RejectedRows) -> None:
        """Appends some rows."""
        if self._shard is None:
            self._shard = ShardWriter(self._directory, "rejected", REJECTED_SCHEMA)
        self._shard.write(rejected.table)
        self._kinds.update(rejected.kinds)
        self._rows_rejected.inc(len(rejected))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Completes the shard."""
        if self._shard is not None:
            self._shard.close()
            tally = Tally(rows_rejected=self._shard.rows, rejected_by_kind=dict(self._kinds), files=(self._shard.path,))
            self._shard = None
            yield _at_end(tally)

    def teardown(self) -> None:
        """Closes the shard of a bundle that failed."""
        if self._shard is not None:
            self._shard.abandon()


def _at_end(tally: Tally) -> WindowedValue:
    window = GlobalWindow()
    return WindowedValue(tally, window.max_timestamp(), [window])
