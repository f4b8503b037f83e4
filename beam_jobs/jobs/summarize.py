"""The summarizing job: the scoring job with another question, mean, standard deviation and quantiles of each row."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

from beam_jobs.jobs.job import plan_job
from beam_jobs.jobs.running import run_job
from beam_jobs.jobs.sample import check_keys, key_columns, make_identity
from beam_jobs.jobs.score import ScoreJob, answer_schema
from beam_jobs.jobs.summary import Summary, Tally
from beam_jobs.model.saved_model import plan_model
from beam_jobs.output.table_format import TableFormat
from beam_jobs.sources.input_files import find_sources
from maf_serving.answers import SUMMARIZE, summary_question

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.options.job_options import SummarizeOptions
    from beam_jobs.output.staging import StagedOutput
    from beam_jobs.sources.source import Source


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
    sources = sources or find_sources(options.inputs, input_format=options.input_format, dialect=options.csv)
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SummarizeJob(ScoreJob):
    """A planned summarizing job; see `ScoreJob`."""

    prefix: ClassVar[str] = "summaries"

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
