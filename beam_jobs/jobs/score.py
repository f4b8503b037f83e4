"""The jobs that ask one question of each row, score and summarize: their pipeline, and what becomes of the result.

    ReadTable -> (Ask) -> RunInference -> ToAnswers -> WriteScored
        |                                     |
        +-------------------------------------+------> WriteRejected

An element is an Arrow batch, and everything in the picture is fused into one stage: a batch is read, scored and
written before the next one is read, so memory does not grow with the data. Only work units and tallies are shuffled.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.inference.base import RunInference

from beam_jobs.jobs.job import PLACE_FIELDS, JobPlan, check_keys, job_sources, key_columns, make_identity, plan_job
from beam_jobs.jobs.running import run_job
from beam_jobs.jobs.summary import Summary, Tally
from beam_jobs.model.endpoint import EndpointHandler
from beam_jobs.model.saved_model import PlannedModel, SavedModelHandler, plan_model
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import WriteRejected, WriteTable
from beam_jobs.rows import REJECTED_TAG, TALLY_TAG, Ask, ReadTable, ToAnswers
from maf_serving.answers import SUMMARIZE, RowQuestion, row_question, summary_question
from maf_serving.model_inputs import ENCODE_CONDITION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.options.endpoint_options import EndpointOptions
    from beam_jobs.options.job_options import ScoreOptions, SummarizeOptions
    from beam_jobs.output.staging import StagedOutput
    from beam_jobs.sources.source import Source

SCORED_PREFIX = "scored"
SUMMARIES_PREFIX = "summaries"


def score_table(options: ScoreOptions, pipeline_options: PipelineOptions | None = None) -> ScoreSummary:
    """Scores every row of the input; the directory `options.output` appears when all is done.

        >>> options = ScoreOptions(model="models/sales", input_patterns=("new-0.parquet",), output="out/new")
        >>> summary = score_table(options)
        >>> summary.rows_read, summary.rows_rejected
        (300, 0)

    Raises:
      UsageError: something does not fit, seen before the pipeline started.
      JobError: the pipeline failed.
    """
    return run_job(plan_score, options, pipeline_options)


def plan_score(options: ScoreOptions, sources: tuple[Source, ...] | None = None) -> ScoreJob:
    """Finds the model and the files, and checks that they fit.

    Args:
      options: what was asked for.
      sources: what to read, where the files of the options are not looked for.

    Raises:
      UsageError: they do not.
      EndpointBusyError: the model server cannot be reached.
    """
    model = plan_model(options, signature_name=options.signature_name)
    question = row_question(model.contract, model.signature_name, inputs=model.inputs)
    plan = plan_job(
        options,
        model,
        sources or job_sources(options, model.contract),
        keep=options.keep,
        reserved=answer_schema(question).names,
    )
    question = dataclasses.replace(question, rows_at_a_time=options.batch_size)
    job = ScoreJob(plan=plan, question=question, endpoint=options.endpoint)
    TableFormat.of(options).check(job.schema)
    if options.endpoint is not None:
        check_endpoint(model, options.endpoint)
    return job


def summarize_table(options: SummarizeOptions, pipeline_options: PipelineOptions | None = None) -> SummarizeSummary:
    """Summarizes p(x | c) for every row of the input; the directory `options.output` appears when all is done.

        >>> options = SummarizeOptions(model="models/sales", input_patterns=("new-0.parquet",), output="out/summaries")
        >>> summarize_table(options).quantile_levels
        (0.05, 0.25, 0.5, 0.75, 0.95)

    Raises:
      UsageError: something does not fit, seen before the pipeline started.
      JobError: the pipeline failed.
    """
    return run_job(plan_summarize, options, pipeline_options)


def plan_summarize(options: SummarizeOptions, sources: tuple[Source, ...] | None = None) -> SummarizeJob:
    """Finds the model and the files, and checks that they fit. Raises `UsageError`.

    Args:
      options: what was asked for.
      sources: what to read, where the files of the options are not looked for.
    """
    model = plan_model(options, signature_name=SUMMARIZE)
    sources = sources or job_sources(options, model.contract)
    question = summary_question(
        model.contract,
        identity=make_identity(options, sources),
        inputs=model.inputs,
        event_columns=model.event_columns,
    )
    question = dataclasses.replace(question, rows_at_a_time=min(question.rows_at_a_time, options.batch_size))
    reserved = answer_schema(question).names
    plan = plan_job(options, model, sources, keep=options.keep, reserved=reserved, extra=key_columns(options))
    check_keys(options, plan)
    job = SummarizeJob(plan=plan, question=question)
    TableFormat.of(options).check(job.schema)
    return job


def answer_schema(question: RowQuestion) -> pa.Schema:
    """The columns that a job writes beside those that are kept: `file`, `row` and the answers; none is ever null."""
    return pa.schema([*PLACE_FIELDS, *question.answer_schema])


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoreJob:
    """A planned scoring job; see `Job`.

    Attributes:
      plan: what was found and checked.
      question: what is asked of each row.
      endpoint: a model server that scores, or `None` for workers that do.
    """

    prefix: ClassVar[str] = SCORED_PREFIX
    plan: JobPlan
    question: RowQuestion
    endpoint: EndpointOptions | None = None

    @property
    def schema(self) -> pa.Schema:
        """Of the scored rows."""
        return pa.schema([*answer_schema(self.question), *self.plan.carried])

    def build(self, pipeline: beam.Pipeline, directory: str, *, threads: int | None) -> Iterable[beam.PCollection]:
        """See `Job.build`."""
        table_format = TableFormat.of(self.plan.options)
        handler = make_score_handler(self.plan.model, self.endpoint, threads=threads)
        identity = self.question.identity
        table = pipeline | "ReadTable" >> ReadTable(self.plan, staging=directory, identity=identity)
        rows = table["rows"]
        if identity is not None:  # or the question has no more inputs, and is as long as the batches
            asked = rows | "Ask" >> beam.ParDo(Ask(self.question)).with_outputs(TALLY_TAG, main="rows")
            rows = asked.rows
        scored = (
            rows
            | "Score" >> RunInference(handler)
            | "ToScoredRows"
            >> beam.ParDo(ToAnswers(self.question, self.schema, self.plan.carried)).with_outputs(
                REJECTED_TAG, main="rows"
            )
        )
        yield table["tally"]
        yield scored.rows | "WriteScored" >> WriteTable(directory, self.prefix, self.schema, table_format)
        # One writer for each step that rejects: flattened first, their rows would be held in memory by the runner.
        rejected = {"Unreadable": table["unreadable"], "Invalid": table["invalid"], "Failed": scored[REJECTED_TAG]}
        for name, refused in rejected.items():
            yield refused | f"Write{name}" >> beam.ParDo(WriteRejected(directory, table_format))

    def check(self, tally: Tally) -> None:
        """See `Job.check`."""
        tally.check_rows(tally.rows_written, "scored")

    def read_summary(self, text: str) -> ScoreSummary:
        """See `Job.read_summary`."""
        return ScoreSummary.from_json(text)

    def finish(self, tally: Tally, staged: StagedOutput, common: dict[str, Any]) -> ScoreSummary:
        """See `Job.finish`."""
        finite = tally.finite_log_probs
        return ScoreSummary(
            **self.name_results(tally, staged, common),
            mean_log_prob=tally.log_prob_sum / finite if finite else None,
            rows_with_zero_density=tally.rows_written - finite,
        )

    def name_results(self, tally: Tally, staged: StagedOutput, common: dict[str, Any]) -> dict[str, Any]:
        """The fields of every summary, with the names of the result files."""
        table_format = TableFormat.of(self.plan.options)
        scored = staged.name_shards(tally.files, self.prefix, self.schema, table_format)
        return {**common, "output_files": (*scored, *common["output_files"])}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSummary(Summary):
    """Contents of `_summary.json`; see `Summary` for the rest.

    Attributes:
      mean_log_prob: in nats, over the scored rows whose log_prob is finite; `None` if there is none.
      rows_with_zero_density: scored rows whose log_prob is minus infinity.
    """

    mean_log_prob: float | None
    rows_with_zero_density: int

    def result_lines(self) -> list[str]:
        """See `Summary.result_lines`."""
        mean = "" if self.mean_log_prob is None else f", mean log_prob {self.mean_log_prob:.4f} nats"
        return [f"rows scored   {self.rows_scored:>12,}{mean}"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SummarizeJob(ScoreJob):
    """A planned summarizing job; see `ScoreJob`."""

    prefix: ClassVar[str] = SUMMARIES_PREFIX

    def read_summary(self, text: str) -> SummarizeSummary:  # type: ignore[override]  # another kind of job
        """See `Job.read_summary`."""
        return SummarizeSummary.from_json(text)

    def finish(  # type: ignore[override]
        self, tally: Tally, staged: StagedOutput, common: dict[str, Any]
    ) -> SummarizeSummary:
        """See `Job.finish`."""
        answers = self.plan.model.contract.answers
        return SummarizeSummary(
            **self.name_results(tally, staged, common),
            quantile_levels=answers.quantile_levels if answers else (),
            num_draws=answers.num_draws if answers else None,
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SummarizeSummary(Summary):
    """Contents of `_summary.json`; see `Summary` for the rest.

    Attributes:
      quantile_levels: of the quantiles that were written, ascending: `0.05` is the column `<event column>_q05`.
      num_draws: of each row that its summary was made of; `None` where it is exact.
    """

    quantile_levels: tuple[float, ...]
    num_draws: int | None

    def result_lines(self) -> list[str]:
        """See `Summary.result_lines`."""
        how = "exact" if self.num_draws is None else f"of {self.num_draws:,} draws each"
        return [f"summarized    {self.rows_scored:>12,}  {how}"]


def make_score_handler(
    model: PlannedModel, endpoint: EndpointOptions | None, *, threads: int | None
) -> SavedModelHandler | EndpointHandler:
    """The handler of the endpoint, or of the model itself without one."""
    if endpoint is None:
        return SavedModelHandler(model.location, signature_name=model.signature_name, threads=threads)
    return _make_endpoint_handler(model, endpoint)


def check_endpoint(model: PlannedModel, endpoint: EndpointOptions) -> None:
    """Asks the server for a row. Raises as `EndpointHandler.probe`."""
    _make_endpoint_handler(model, endpoint).probe()


def _make_endpoint_handler(model: PlannedModel, endpoint: EndpointOptions) -> EndpointHandler:
    names = [model.signature_name, *([ENCODE_CONDITION] if model.inputs.condition else [])]
    signatures = {name: model.contract.signature(name) for name in names}
    return EndpointHandler(endpoint, signature_name=model.signature_name, signatures=signatures)
