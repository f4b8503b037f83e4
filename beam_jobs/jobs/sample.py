"""The sampling job: its pipeline, and what becomes of the result.

    ReadTable -> Ask -> RunInference -> ToAnswers -> WriteSamples
        |                                   |
        +-----------------------------------+------> WriteRejected

As in `score.py`, all of it is one stage: a batch of rows is drawn for, at most `batch_size` draws at a time, before
the next one is read. A draw depends on its conditions, the job's seed and the row's identity alone; see
`maf_serving/row_seeds.py`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.inference.base import RunInference

from beam_jobs.errors import JobError
from beam_jobs.jobs.job import PLACE_FIELDS, JobPlan, check_keys, job_sources, key_columns, make_identity, plan_job
from beam_jobs.jobs.running import run_job
from beam_jobs.jobs.summary import Summary, Tally
from beam_jobs.model.saved_model import SavedModelHandler, plan_model
from beam_jobs.options.job_options import SampleOptions
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import WriteRejected, WriteTable
from beam_jobs.rows import REJECTED_TAG, TALLY_TAG, Ask, ReadTable, ToAnswers
from maf_serving.draws import DrawQuestion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.output.staging import StagedOutput
    from beam_jobs.sources.source import Source

SAMPLES_PREFIX = "samples"


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


def plan_sample(options: SampleOptions, sources: tuple[Source, ...] | None = None) -> SampleJob:
    """Finds the model and the files, and checks that they fit. Raises `UsageError`.

    Args:
      options: what was asked for.
      sources: what to read, where the files of the options are not looked for.
    """
    model = plan_model(options, signature_name=DrawQuestion.signature_name)
    sources = sources or job_sources(options, model.contract)
    question = DrawQuestion(
        inputs=model.inputs,
        event_columns=model.event_columns,
        num_samples=options.num_samples,
        identity=make_identity(options, sources),
        kept=pa.schema([]),
        draws_at_a_time=options.batch_size,
    )
    reserved = [*(field.name for field in PLACE_FIELDS), *question.answer_schema.names]
    plan = plan_job(options, model, sources, keep=options.keep, reserved=reserved, extra=key_columns(options))
    check_keys(options, plan)
    job = SampleJob(plan=plan, options=options, question=dataclasses.replace(question, kept=plan.carried))
    TableFormat.of(options).check(job.schema)
    return job


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SampleJob:
    """A planned sampling job; see `Job`.

    Attributes:
      plan: what was found and checked.
      options: what was asked for.
      question: what is asked of each row.
    """

    prefix: ClassVar[str] = SAMPLES_PREFIX
    plan: JobPlan
    options: SampleOptions
    question: DrawQuestion

    @property
    def schema(self) -> pa.Schema:
        """Of the drawn rows: where they come from, the columns carried through, the draw."""
        return pa.schema([*PLACE_FIELDS, *self.question.answer_schema])

    def build(self, pipeline: beam.Pipeline, directory: str, *, threads: int | None) -> Iterable[beam.PCollection]:
        """See `Job.build`."""
        table_format = TableFormat.of(self.options)
        handler = SavedModelHandler(
            self.plan.model.location, signature_name=self.question.signature_name, threads=threads
        )
        table = pipeline | "ReadTable" >> ReadTable(self.plan, staging=directory, identity=self.question.identity)
        asked = table["rows"] | "Ask" >> beam.ParDo(Ask(self.question)).with_outputs(TALLY_TAG, main="draws")
        drawn = (
            asked.draws
            | "Draw" >> RunInference(handler)
            | "ToDrawnRows"
            >> beam.ParDo(ToAnswers(self.question, self.schema, self.plan.carried)).with_outputs(
                REJECTED_TAG, main="rows"
            )
        )
        yield table["tally"]
        yield asked[TALLY_TAG]
        yield drawn.rows | "WriteSamples" >> WriteTable(directory, self.prefix, self.schema, table_format)
        # One writer for each step that rejects: flattened first, their rows would be held in memory by the runner.
        for name, rows in {"Unreadable": table["unreadable"], "Invalid": table["invalid"]}.items():
            yield rows | f"Write{name}" >> beam.ParDo(WriteRejected(directory, table_format))
        write_failed = WriteRejected(directory, table_format, counted_as="draws_rejected")
        yield drawn[REJECTED_TAG] | "WriteFailed" >> beam.ParDo(write_failed)

    def check(self, tally: Tally) -> None:
        """See `Job.check`."""
        tally.check_rows(tally.rows_used, "drawn for")
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
        samples = staged.name_shards(tally.files, self.prefix, self.schema, table_format)
        return SampleSummary(
            **{**common, "output_files": (*samples, *common["output_files"])},
            draws_written=tally.rows_written,
            draws_rejected=tally.draws_rejected,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SampleSummary(Summary):
    """Contents of `_summary.json`; see `Summary` for the rest.

    Attributes:
      draws_written: draws in the result files; with `draws_rejected`, `rows_scored` times the draws for each row.
      draws_rejected: draws that were not finite; their reasons, beside those of the rejected rows, name them.
    """

    draws_written: int
    draws_rejected: int

    def losses(self) -> list[tuple[str, int, int]]:
        """See `Summary.losses`."""
        drawn = self.draws_written + self.draws_rejected
        return [*super(SampleSummary, self).losses(), ("draws", self.draws_rejected, drawn)]

    def result_lines(self) -> list[str]:
        """See `Summary.result_lines`."""
        rejected = f", {self.draws_rejected:,} rejected" if self.draws_rejected else ""
        return [
            f"rows drawn on {self.rows_scored:>12,}",
            f"draws written {self.draws_written:>12,}{rejected}",
        ]
