"""The step that turns work units into Arrow batches, and decides what becomes of a damaged file.

Categories that the model does not know are counted on the way.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from beam_jobs.errors import JobError
from beam_jobs.jobs.summary import Tally, UnreadableFile
from beam_jobs.output.lease import renew_lease
from beam_jobs.output.writing import at_end
from beam_jobs.rows.steps import REJECTED_TAG, Validate
from beam_jobs.runner import progress
from beam_jobs.sources.input_files import SOURCES
from maf_serving.rejection import RejectedRows, reject_all
from maf_serving.table_formats import Damage, InputBatch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from apache_beam.utils.windowed_value import WindowedValue

    from beam_jobs.jobs.job import JobPlan
    from beam_jobs.options.job_options import OnBadFile
    from beam_jobs.sources.table_source import ReadPlan, WorkUnit
    from maf_serving.validation import ScoreableRows

TALLY_TAG = "tally"
UNREADABLE = "unreadable"


class ReadRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`WorkUnit` to `InputBatch`es; rows that cannot even be read go to `REJECTED_TAG`, the row count to `TALLY_TAG`.

    The steps after it are fused with it: a batch is read, used and written before the next one is read.

    Where a damaged file says how many rows it has lost, each is rejected. Where it does not, the first row that cannot
    be read is rejected, and stands for all that may have followed it.
    """

    def __init__(self, plan: ReadPlan, *, on_bad_file: OnBadFile, staging: str) -> None:
        super().__init__()
        self._staging = staging
        self._plan = plan
        self._on_bad_file = on_bad_file
        self._rows_read = Metrics.counter("beam_jobs", "rows_read")

    def process(self, unit: WorkUnit) -> Iterator[InputBatch | TaggedOutput]:
        """Reads one unit from beginning to end. Raises `JobError` for damage, unless it is to be rejected."""
        rows = 0
        for part in self._parts(unit):
            if isinstance(part, UnreadableFile):
                yield TaggedOutput(TALLY_TAG, Tally(unreadable_files=(part,)))
                continue
            renew_lease(self._staging)
            rows += len(part)
            yield TaggedOutput(REJECTED_TAG, part) if isinstance(part, RejectedRows) else part
            self._rows_read.inc(len(part))
            progress.count_rows(len(part))
        yield TaggedOutput(TALLY_TAG, Tally(rows_read=rows))

    def _parts(self, unit: WorkUnit) -> Iterator[InputBatch | RejectedRows | UnreadableFile]:
        if unit.fault is not None:
            yield from self._reject(Damage(file=unit.path, first_row=0, rows=None, reason=unit.fault))
            return
        for part in SOURCES[unit.format].read(unit, self._plan):
            if isinstance(part, Damage):
                yield from self._reject(part)
            else:
                yield part

    def _reject(self, damage: Damage) -> Iterator[RejectedRows | UnreadableFile]:
        if self._on_bad_file == "fail":
            raise JobError(
                f"{damage.file} cannot be read from row {damage.first_row}: {damage.reason}; "
                "see --on_bad_file to reject what cannot be read"
            )
        yield UnreadableFile(file=damage.file, first_row=damage.first_row, rows_lost=damage.rows, reason=damage.reason)
        rows = 1 if damage.rows is None else damage.rows
        reach = "" if damage.rows is not None else " from here on"
        for start in range(0, rows, self._plan.batch_size):
            count = min(self._plan.batch_size, rows - start)
            reason = f"{UNREADABLE}{reach}: {damage.reason}"
            yield reject_all(damage.file, damage.first_row + start, count, reason, UNREADABLE)


class ReadTable(beam.PTransform):  # type: ignore[misc]  # Beam is untyped here
    """The rows of a planned job that the model can take.

    A dictionary of collections: `rows` of `ScoreableRows`; `unreadable` and `invalid` of `RejectedRows`; `tally`.
    """

    def __init__(self, plan: JobPlan, *, staging: str, group_column: str | None = None) -> None:
        """See the class.

        Args:
          plan: which rows, and what the model needs of them.
          staging: the directory that the job writes to: reading keeps it from being taken for left over.
          group_column: rejected rows are counted by the values of this column as well.
        """
        super().__init__()
        self._plan = plan
        self._staging = staging
        self._group_column = group_column

    def expand(self, pbegin: beam.pvalue.PBegin) -> dict[str, beam.PCollection]:
        """Adds the steps."""
        plan = self._plan
        reader = ReadRows(plan.read_plan, on_bad_file=plan.options.on_bad_file, staging=self._staging)
        read = (
            pbegin
            | "WorkUnits" >> beam.Create(plan.units)
            | "ReadRows" >> beam.ParDo(reader).with_outputs(REJECTED_TAG, TALLY_TAG, main="batches")
        )
        valid = read.batches | "Validate" >> beam.ParDo(
            Validate(plan.model.inputs, group_column=self._group_column)
        ).with_outputs(REJECTED_TAG, main="rows")
        tally = read[TALLY_TAG]
        categories = plan.model.inputs.categories
        if categories:
            unknown = valid.rows | "CountUnknown" >> beam.ParDo(CountUnknown(categories))
            tally = (tally, unknown) | "ReadTallies" >> beam.Flatten()
        return {
            "rows": valid.rows,
            "unreadable": read[REJECTED_TAG],
            "invalid": valid[REJECTED_TAG],
            "tally": tally,
        }


class CountUnknown(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`ScoreableRows` to one `Tally` of a bundle; also a metric `unknown_categories_<column>` for each column."""

    def __init__(self, columns: Iterable[str]) -> None:
        super().__init__()
        self._counters = {name: Metrics.counter("beam_jobs", f"unknown_categories_{name}") for name in columns}
        self._counts: Counter[str] = Counter()

    def start_bundle(self) -> None:
        """Begins to count."""
        self._counts = Counter()

    def process(self, rows: ScoreableRows) -> None:
        """Counts those of a batch."""
        for name, unknown in rows.unknown.items():
            count = int(unknown.sum())
            if count:
                self._counts[name] += count
                self._counters[name].inc(count)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Says how many there were."""
        if self._counts:
            yield at_end(Tally(unknown_categories=dict(self._counts)))
