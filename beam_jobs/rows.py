"""The steps on either side of the model: rows are read and checked before it, and its answers made rows after it.

    work units -> ReadRows -> Validate -> (the model) -> ToScoredRows
                     |           |                           |
                     +-----------+---------------------------+---> rejected rows, with their reasons

`ReadTable` is what the three jobs begin with: it reads, validates, and counts categories that the model does not know.
What becomes of a damaged file is decided here. Rejected rows may be counted by group, the values of one column.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput

from beam_jobs.errors import JobError
from beam_jobs.jobs.summary import Tally, UnreadableFile, count_rows
from beam_jobs.output.writing import at_end, keep_staged
from maf_serving.arrow_columns import carry_through
from maf_serving.rejection import RejectedRows, file_column, is_failed, reject_all, reject_failed
from maf_serving.table_formats import Damage
from maf_serving.validation import ScoreableRows, validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from apache_beam.ml.inference.base import PredictionResult
    from apache_beam.utils.windowed_value import WindowedValue

    from beam_jobs.jobs.job import JobPlan
    from beam_jobs.options.job_options import OnBadFile
    from beam_jobs.sources.source import ReadPlan, WorkUnit
    from export.contract import Contract
    from maf_serving.model_inputs import ModelInputs
    from maf_serving.table_formats import InputBatch

TALLY_TAG = "tally"
UNREADABLE = "unreadable"
REJECTED_TAG = "rejected"
LOG_PROB = "log_prob"
Z_PREFIX = "z_"
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
