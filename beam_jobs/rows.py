"""The steps on either side of the model: rows are read and checked before it, and its answers made rows after it.

    work units -> ReadRows -> Validate -> Ask -> (the model) -> ToAnswers
                     |           |                                  |
                     +-----------+----------------------------------+---> rejected rows, with their reasons

`ReadTable` is what all jobs begin with: it reads, validates, and counts what the model knows nothing of. What becomes
of a row is decided in `maf_serving/answers.py`: these are its steps as transforms. What becomes of a damaged file is
decided here. Rejected rows may be counted by group, the values of one column.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from beam_jobs.errors import JobError
from beam_jobs.jobs.summary import Tally, UnreadableFile, count_rows
from beam_jobs.output.writing import at_end, keep_staged
from maf_serving.answers import split_rows
from maf_serving.condition_range import OUT_OF_RANGE
from maf_serving.rejection import RejectedRows, reject_all
from maf_serving.table_formats import Damage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from apache_beam.ml.inference.base import PredictionResult
    from apache_beam.utils.windowed_value import WindowedValue

    from beam_jobs.jobs.job import JobPlan
    from beam_jobs.options.job_options import OnBadFile
    from beam_jobs.sources.source import ReadPlan, WorkUnit
    from maf_serving.answers import RowQuestion
    from maf_serving.draws import DrawQuestion, Draws
    from maf_serving.model_inputs import ModelInputs
    from maf_serving.row_seeds import Identity
    from maf_serving.table_formats import InputBatch
    from maf_serving.validation import ScoreableRows

TALLY_TAG = "tally"
UNREADABLE = "unreadable"
REJECTED_TAG = "rejected"
NULL_GROUP = "(null)"


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
            keep_staged(self._staging)
            rows += len(part)
            yield TaggedOutput(REJECTED_TAG, part) if isinstance(part, RejectedRows) else part
            self._rows_read.inc(len(part))
            count_rows(len(part))
        yield TaggedOutput(TALLY_TAG, Tally(rows_read=rows))

    def _parts(self, unit: WorkUnit) -> Iterator[InputBatch | RejectedRows | UnreadableFile]:
        for part in unit.read(self._plan):
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

    A dictionary of collections: `rows` of `ScoreableRows`; `unreadable` and `invalid` of `RejectedRows`; `tally`; and
    `batches` of `InputBatch`, the rows as they were read.
    """

    def __init__(
        self, plan: JobPlan, *, staging: str, identity: Identity | None = None, group_column: str | None = None
    ) -> None:
        """See the class.

        Args:
          plan: which rows, and what the model needs of them.
          staging: the directory that the job writes to: reading keeps it from being taken for left over.
          identity: what the rows' seeds are made of, where they have any.
          group_column: rejected rows are counted by the values of this column as well.
        """
        super().__init__()
        self._plan = plan
        self._staging = staging
        self._identity = identity
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
            Validate(plan.model.inputs, identity=self._identity, group_column=self._group_column)
        ).with_outputs(REJECTED_TAG, main="rows")
        tally = read[TALLY_TAG]
        inputs = plan.model.inputs
        if inputs.categories or inputs.ranges is not None:
            odd = valid.rows | "CountOdd" >> beam.ParDo(CountOdd())
            tally = (tally, odd) | "ReadTallies" >> beam.Flatten()
        return {
            "batches": read.batches,
            "rows": valid.rows,
            "unreadable": read[REJECTED_TAG],
            "invalid": valid[REJECTED_TAG],
            "tally": tally,
        }


class CountOdd(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`ScoreableRows` to one `Tally` of a bundle: values that the model knows nothing of.

    Also metrics `unknown_categories_<column>` and `out_of_range_<column>` for each column that has any.
    """

    def __init__(self) -> None:
        super().__init__()
        self._unknown: Counter[str] = Counter()
        self._outside: Counter[str] = Counter()

    def start_bundle(self) -> None:
        """Begins to count."""
        self._unknown, self._outside = Counter(), Counter()

    def process(self, rows: ScoreableRows) -> None:
        """Counts those of a batch."""
        counted = {
            "unknown_categories": (self._unknown, rows.unknown),
            OUT_OF_RANGE: (self._outside, rows.out_of_range),
        }
        for metric, (counts, masks) in counted.items():
            for name, mask in masks.items():
                count = int(mask.sum())
                if count:
                    counts[name] += count
                    Metrics.counter("beam_jobs", f"{metric}_{name}").inc(count)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        """Says how many there were."""
        if self._unknown or self._outside:
            yield at_end(Tally(unknown_categories=dict(self._unknown), out_of_range=dict(self._outside)))


class Validate(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`InputBatch` to `ScoreableRows`, at most one for each; the other rows as `RejectedRows` under `REJECTED_TAG`.

    See `maf_serving.answers.split_rows`.
    """

    def __init__(
        self, inputs: ModelInputs, *, identity: Identity | None = None, group_column: str | None = None
    ) -> None:
        super().__init__()
        self._inputs = inputs
        self._identity = identity
        self._group_column = group_column

    def process(self, batch: InputBatch) -> Iterator[ScoreableRows | TaggedOutput]:
        """Splits one batch."""
        rows, rejected = split_rows(
            batch.columns, rows=batch.rows, file=batch.file, inputs=self._inputs, identity=self._identity
        )
        for each in rejected:
            yield TaggedOutput(REJECTED_TAG, self._count_groups(batch, each))
        if rows is not None:
            yield rows

    def _count_groups(self, batch: InputBatch, rejected: RejectedRows) -> RejectedRows:
        if self._group_column is None:
            return rejected
        refused = pc.is_in(batch.rows, rejected.table["row"])
        return rejected.with_groups(count_groups(batch.columns.column(self._group_column).filter(refused)))


class Ask(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`ScoreableRows` to what the model is asked, `ScoreableRows` or `Draws` of so many at a time, in their order.

    A `Tally` of the rows goes to `TALLY_TAG`. Memory: one element at a time.
    """

    def __init__(self, question: RowQuestion | DrawQuestion) -> None:
        super().__init__()
        self._question = question
        self._rows_used = 0

    def start_bundle(self) -> None:
        """Begins to count."""
        self._rows_used = 0

    def process(self, rows: ScoreableRows) -> Iterator[ScoreableRows | Draws]:
        """Asks about the rows of a batch."""
        self._rows_used += len(rows)
        yield from self._question.asked(rows)

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        """Says of how many rows something was asked."""
        if self._rows_used:
            yield TaggedOutput(TALLY_TAG, at_end(Tally(rows_used=self._rows_used)))


class ToAnswers(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`PredictionResult` to a record batch of the schema; rows and draws that the model fails on to `REJECTED_TAG`."""

    def __init__(self, question: RowQuestion | DrawQuestion, schema: pa.Schema, kept: pa.Schema) -> None:
        super().__init__()
        self._question = question
        self._schema = schema
        self._kept = kept

    def process(self, result: PredictionResult) -> Iterator[pa.RecordBatch | TaggedOutput]:
        """Assembles one batch."""
        answers = self._question.read(result.example, result.inference)
        if answers.rejected is not None:
            yield TaggedOutput(REJECTED_TAG, answers.rejected)
        rows = answers.rows(result.example, self._schema, self._kept)
        if rows.num_rows:
            yield rows


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
