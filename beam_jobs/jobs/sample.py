"""The sampling job: its pipeline, and what becomes of the result.

    ReadTable -> AskForDraws -> RunInference -> ToDrawnRows -> WriteSamples
        |             |                              |
        +-------------+------------------------------+------> WriteRejected

As in `score.py`, all of it is one stage: a batch of rows is drawn for, at most `batch_size` draws at a time, before
the next one is read. A draw depends on its conditions, the job's seed and the row's identity alone; see
`maf_serving/row_seeds.py`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.ml.inference.base import RunInference
from apache_beam.pvalue import TaggedOutput

from beam_jobs.errors import JobError, UsageError
from beam_jobs.jobs.job import JobPlan, plan_job
from beam_jobs.jobs.running import run_job
from beam_jobs.jobs.summary import Summary, Tally
from beam_jobs.model.saved_model import SavedModelHandler, plan_model
from beam_jobs.options.job_options import SampleOptions
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import WriteRejected, WriteTable, at_end
from beam_jobs.rows import REJECTED_TAG, ReadTable
from beam_jobs.sources.input_files import find_sources
from maf_serving.arrow_columns import Floats, carry_through
from maf_serving.draws import Draws, ask_for_draws
from maf_serving.rejection import file_column, reject
from maf_serving.row_seeds import Words, file_names, is_one_input, row_keys, row_keys_in_file, row_keys_of_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from apache_beam.ml.inference.base import PredictionResult
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.output.staging import StagedOutput
    from beam_jobs.sources.source import Source
    from maf_serving.validation import ScoreableRows

SIGNATURE_NAME = "sample_with_seed"
SAMPLES_PREFIX = "samples"
IDENTITY_FIELDS = (("file", pa.string()), ("row", pa.int64()), ("draw", pa.int64()))
DRAWN_TAG = "tally"
NULL_KEY = "null key"
NOT_FINITE = "not finite"


def sample_table(options: SampleOptions, pipeline_options: PipelineOptions | None = None) -> SampleSummary:
    """Draws for every row of the input; the directory `options.output` appears when all is done.

        >>> options = SampleOptions(
        ...     model="models/sales", input_patterns=("new-0.parquet",), output="out/draws", num_samples=2, seed=7
        ... )
        >>> sample_table(options).draws_written
        600

    Raises:
      UsageError: something does not fit, seen before the pipeline started.
      JobError: the pipeline failed.
    """
    return run_job(plan_sample, options, pipeline_options)


def plan_sample(options: SampleOptions) -> SampleJob:
    """Finds the model and the files, and checks that they fit. Raises `UsageError`."""
    model = plan_model(options, signature_name=SIGNATURE_NAME)
    number = pa.from_numpy_dtype(model.contract.dtype)
    drawn = [(name, number) for name in (*model.event_columns, "log_prob")]
    reserved = [name for name, _ in (*IDENTITY_FIELDS, *drawn)]
    extra = {} if options.key_column is None else {options.key_column: "--key_column"}
    sources = find_sources(options.inputs, input_format=options.input_format, dialect=options.csv)
    _check_positions(options, sources)
    plan = plan_job(options, model, sources, keep=options.keep, reserved=reserved, extra=extra)
    identified, drawn_fields = ([pa.field(*each, nullable=False) for each in part] for part in (IDENTITY_FIELDS, drawn))
    schema = pa.schema([*identified, *plan.kept, *drawn_fields])
    TableFormat.of(options).check(schema)
    found_by = {each.path: str(each.found_by or each.path) for each in sources}
    identity = RowIdentity(
        seed=options.seed,
        file_names=None if extra or is_one_input(found_by) else file_names(found_by),
        key_column=options.key_column,
    )
    for name in extra:
        _check_key(name, plan.read.field(name).type)
    return SampleJob(plan=plan, options=options, identity=identity, schema=schema)


def _check_positions(options: SampleOptions, sources: Iterable[Source]) -> None:
    tables = [each for each in sources if not each.has_positions]
    if tables and options.key_column is None:
        raise UsageError(
            f"--input {tables[0].path}: rows of BigQuery have no position that the next job finds again, so their "
            "draws would be others; name a --key_column"
        )


def _check_key(name: str, column_type: pa.DataType) -> None:
    value_type = column_type.value_type if pa.types.is_dictionary(column_type) else column_type
    tests = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if not any(test(value_type) for test in tests):
        raise UsageError(f"--key_column {name} is {column_type}; expected whole numbers or text")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SampleJob:
    """A planned sampling job; see `Job`.

    Attributes:
      plan: what was found and checked.
      options: what was asked for.
      identity: what tells the rows apart.
      schema: of the drawn rows: where they come from, the columns carried through, the draw.
    """

    plan: JobPlan
    options: SampleOptions
    identity: RowIdentity
    schema: pa.Schema

    def build(self, pipeline: beam.Pipeline, directory: str, *, threads: int | None) -> Iterable[beam.PCollection]:
        """See `Job.build`."""
        table_format = TableFormat.of(self.options)
        ask = AskForDraws(
            self.identity,
            num_samples=self.options.num_samples,
            max_draws=self.options.batch_size,
            kept=tuple(self.plan.kept.names),
        )
        handler = SavedModelHandler(self.plan.model.location, signature_name=SIGNATURE_NAME, threads=threads)
        table = pipeline | "ReadTable" >> ReadTable(self.plan, staging=directory)
        asked = table["rows"] | "AskForDraws" >> beam.ParDo(ask).with_outputs(REJECTED_TAG, DRAWN_TAG, main="draws")
        drawn = (
            asked.draws
            | "Draw" >> RunInference(handler)
            | "ToDrawnRows" >> beam.ParDo(ToDrawnRows(self.schema)).with_outputs(REJECTED_TAG, main="rows")
        )
        yield table["tally"]
        yield asked[DRAWN_TAG]
        yield drawn.rows | "WriteSamples" >> WriteTable(directory, SAMPLES_PREFIX, self.schema, table_format)
        # One writer for each step that rejects: flattened first, their rows would be held in memory by the runner.
        rejected = {"Unreadable": table["unreadable"], "Invalid": table["invalid"], "Keyless": asked[REJECTED_TAG]}
        for name, rows in rejected.items():
            yield rows | f"Write{name}" >> beam.ParDo(WriteRejected(directory, table_format))
        write_failed = WriteRejected(directory, table_format, counted_as="draws_rejected")
        yield drawn[REJECTED_TAG] | "WriteFailed" >> beam.ParDo(write_failed)

    def check(self, tally: Tally) -> None:
        """See `Job.check`."""
        if tally.rows_read != tally.rows_used + tally.rows_rejected:
            raise JobError(
                f"{tally.rows_read} rows were read, but {tally.rows_used} drawn for and {tally.rows_rejected} rejected"
            )
        expected = tally.rows_used * self.options.num_samples
        if expected != tally.rows_written + tally.draws_rejected:
            raise JobError(
                f"{expected} draws were asked for, but {tally.rows_written} written and {tally.draws_rejected} rejected"
            )

    def read_summary(self, text: str) -> SampleSummary:
        """See `Job.read_summary`."""
        return SampleSummary.from_json(text)

    def finish(self, tally: Tally, staged: StagedOutput, common: dict[str, Any]) -> SampleSummary:
        """See `Job.finish`."""
        table_format = TableFormat.of(self.options)
        samples = staged.name_shards(tally.files, SAMPLES_PREFIX, self.schema, table_format)
        return SampleSummary(
            **{**common, "output_files": (*samples, *common["output_files"])},
            draws_written=tally.rows_written,
            draws_rejected=tally.draws_rejected,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowIdentity:
    """What a row's draws depend on, beside its conditions.

    Attributes:
      seed: of the job.
      file_names: what each of several files is called, by its path; `None` for a single one, whose rows need no more
        than their number.
      key_column: the column that identifies a row instead of file and row number, or `None`.
    """

    seed: int
    file_names: Mapping[str, str] | None
    key_column: str | None

    def keys(self, batch: ScoreableRows) -> Words:
        """Keys `[B]` of the rows; no key is null."""
        if self.key_column is not None:
            values = batch.columns.column(self.key_column)
            return row_keys_of_values(self.seed, values.cast(pa.string()).to_pylist())
        rows = batch.rows.to_numpy()
        if self.file_names is None:
            return row_keys(self.seed, rows)
        return row_keys_in_file(self.seed, self.file_names[batch.file], rows)


class AskForDraws(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`ScoreableRows` to `Draws` of at most `max_draws` each, in the order of the rows.

    Rows without a key go to `REJECTED_TAG`; a `Tally` of the others to `DRAWN_TAG`. Memory: one element at a time.
    """

    def __init__(self, identity: RowIdentity, *, num_samples: int, max_draws: int, kept: tuple[str, ...]) -> None:
        super().__init__()
        self._identity = identity
        self._num_samples = num_samples
        self._max_draws = max_draws
        self._kept = list(kept)
        self._rows_used = 0

    def start_bundle(self) -> None:
        """Begins to count."""
        self._rows_used = 0

    def process(self, batch: ScoreableRows) -> Iterator[Draws | TaggedOutput]:
        """Asks for all draws of the rows of a batch."""
        key_column = self._identity.key_column
        if key_column is not None and batch.columns.column(key_column).null_count:
            null = batch.columns.column(key_column).is_null()
            reasons = [f"{key_column}: {NULL_KEY}"] * null.true_count
            yield TaggedOutput(
                REJECTED_TAG, reject(batch.file, batch.rows.filter(null), reasons, {NULL_KEY: null.true_count})
            )
            batch = batch.filter(~null.to_numpy(zero_copy_only=False))
        self._rows_used += len(batch)
        yield from ask_for_draws(
            batch,
            self._identity.keys(batch),
            num_samples=self._num_samples,
            max_draws=self._max_draws,
            kept=self._kept,
        )

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        """Says how many rows were drawn for."""
        if self._rows_used:
            yield TaggedOutput(DRAWN_TAG, at_end(Tally(rows_used=self._rows_used)))


class ToDrawnRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`PredictionResult` of `Draws` to a record batch of the schema; draws that are not finite go to `REJECTED_TAG`."""

    def __init__(self, schema: pa.Schema) -> None:
        super().__init__()
        self._schema = schema

    def process(self, result: PredictionResult) -> Iterator[pa.RecordBatch | TaggedOutput]:
        """Assembles one batch."""
        draws: Draws = result.example
        x: Floats = result.inference["x"]
        log_prob: Floats = result.inference["log_prob"]
        columns = [file_column(draws.file, len(draws)), draws.rows, pa.array(draws.numbers)]
        kept = list(self._schema)[len(columns) : len(columns) + draws.columns.num_columns]
        columns += [carry_through(draws.columns.column(field.name), field.type) for field in kept]
        columns += [*(pa.array(dimension) for dimension in x.T), pa.array(log_prob)]
        drawn = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        failed = ~(np.isfinite(x).all(axis=1) & np.isfinite(log_prob))
        if failed.any():
            reasons = [f"draw {number}: {NOT_FINITE}" for number in draws.numbers[failed]]
            refused = draws.rows.filter(pa.array(failed))
            yield TaggedOutput(REJECTED_TAG, reject(draws.file, refused, reasons, {NOT_FINITE: len(reasons)}))
            drawn = drawn.filter(pa.array(~failed))
        if drawn.num_rows:
            yield drawn


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SampleSummary(Summary):
    """Contents of `_summary.json`; see `Summary` for the rest.

    Attributes:
      draws_written: draws in the result files; with `draws_rejected`, `rows_scored` times the draws for each row.
      draws_rejected: draws that were not finite; their reasons, beside those of the rejected rows, name them.
    """

    draws_written: int
    draws_rejected: int

    def result_lines(self) -> list[str]:
        """See `Summary.result_lines`."""
        rejected = f", {self.draws_rejected:,} rejected" if self.draws_rejected else ""
        return [
            f"rows drawn on {self.rows_scored:>12,}",
            f"draws written {self.draws_written:>12,}{rejected}",
        ]
