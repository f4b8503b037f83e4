"""The sampling job: its pipeline, and what becomes of the result.

    ReadTable -> AskForDraws -> RunInference -> ToDrawnRows -> WriteSamples
        |             |                              |
        +-------------+------------------------------+------> WriteRejected

As in `scoring.py`, all of it is one stage: a batch of rows is drawn for, at most `batch_size` draws at a time, before
the next one is read. A draw depends on its conditions, the job's seed and the row's identity alone; see
`maf_serving/row_seeds.py`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.inference.base import RunInference

from beam_jobs.draws import DRAWN_TAG, AskForDraws, RowIdentity, ToDrawnRows
from beam_jobs.errors import JobError, UsageError
from beam_jobs.job_plan import JobPlan, plan_job
from beam_jobs.model_handler import SavedModelHandler
from beam_jobs.options.bigquery_table import BigQueryTable
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import WriteRejected, WriteTable
from beam_jobs.planned_model import find_model
from beam_jobs.reading import ReadTable
from beam_jobs.running import run_job
from beam_jobs.sample_summary import SampleSummary
from beam_jobs.validation import REJECTED_TAG
from maf_serving.row_seeds import file_names, is_one_input

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.options.sample_options import SampleOptions
    from beam_jobs.output.staging import StagedOutput
    from beam_jobs.tally import Tally

SIGNATURE_NAME = "sample_with_seed"
SAMPLES_PREFIX = "samples"
IDENTITY_FIELDS = (("file", pa.string()), ("row", pa.int64()), ("draw", pa.int64()))


def sample_table(options: SampleOptions, pipeline_options: PipelineOptions | None = None) -> SampleSummary:
    """Draws for every row of the input; the directory `options.output` appears when all is done.

    Raises:
      UsageError: something does not fit, seen before the pipeline started.
      JobError: the pipeline failed.
    """
    return run_job(plan_sample, options, pipeline_options)


def plan_sample(options: SampleOptions) -> SampleJob:
    """Finds the model and the files, and checks that they fit. Raises `UsageError`."""
    model = find_model(options, signature_name=SIGNATURE_NAME)
    number = pa.from_numpy_dtype(model.contract.dtype)
    drawn = [(name, number) for name in (*model.event_columns, "log_prob")]
    reserved = [name for name, _ in (*IDENTITY_FIELDS, *drawn)]
    extra = {} if options.key_column is None else {options.key_column: "--key_column"}
    _check_positions(options)
    plan = plan_job(options, model, keep=options.keep, reserved=reserved, extra=extra)
    identified, drawn_fields = ([pa.field(*each, nullable=False) for each in part] for part in (IDENTITY_FIELDS, drawn))
    schema = pa.schema([*identified, *plan.kept, *drawn_fields])
    TableFormat.of(options).check(schema)
    identity = RowIdentity(
        seed=options.seed,
        file_names=None if extra or is_one_input(plan.input_files) else file_names(plan.input_files),
        key_column=options.key_column,
    )
    for name in extra:
        _check_key(name, plan.read.field(name).type)
    return SampleJob(plan=plan, options=options, identity=identity, schema=schema)


def _check_positions(options: SampleOptions) -> None:
    tables = [each for each in options.input_patterns if BigQueryTable.parse(each)]
    if tables and options.key_column is None:
        raise UsageError(
            f"--input {tables[0]}: rows of BigQuery have no position that the next job finds again, so their draws "
            "would be others; name a --key_column"
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
