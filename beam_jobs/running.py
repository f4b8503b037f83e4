"""How a job is run: the pipeline into a staging directory, the counts checked, the files named and published."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, TypeVar

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from beam_jobs import beam_options
from beam_jobs.errors import ChangedInputError, JobError
from beam_jobs.options.job_options import JobOptions, is_elsewhere
from beam_jobs.output.bigquery_load import check_table
from beam_jobs.output.shard_writer import create_file, naming_failures
from beam_jobs.output.staging import stage_output
from beam_jobs.progress import progress_bar
from beam_jobs.publishing import Publish, finish_job, naming_output, publish_job, read_published
from beam_jobs.sources.file_state import check_unchanged
from beam_jobs.submission import Submission
from beam_jobs.summary import Summary
from beam_jobs.tally import AddTallies, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.job import Job
    from beam_jobs.job_plan import JobPlan
    from beam_jobs.output.staging import StagedOutput

_TALLY_NAME = "tally.json"

SummaryT = TypeVar("SummaryT", bound=Summary)
OptionsT = TypeVar("OptionsT", bound=JobOptions)


def run_job(
    plan: Callable[[OptionsT], Job[SummaryT]], options: OptionsT, pipeline_options: PipelineOptions | None = None
) -> SummaryT:
    """Plans a job and runs it; the output directory appears when all is done.

    Raises:
      UsageError: something does not fit, or the output may not be written, or the runner lacks an option it needs.
      JobError: the job failed.
    """
    pipeline_options = pipeline_options or beam_options.parse_beam_flags([])
    job, staged = prepare_job(plan, options, pipeline_options)
    submission = Submission()
    try:
        summary = run_staged(job, staged, pipeline_options, submission)
        publish_job(summary, staged, job.plan.options)
    except BaseException:
        if not submission.goes_on:
            staged.discard()
        raise
    return summary


def prepare_job(
    plan: Callable[[OptionsT], Job[SummaryT]], options: OptionsT, pipeline_options: PipelineOptions
) -> tuple[Job[SummaryT], StagedOutput]:
    """Plans a job and begins its output; nothing has been run yet. Raises `UsageError`."""
    # Otherwise only a pipeline says with which credentials files are to be read.
    FileSystems.set_options(pipeline_options)
    beam_options.check_places(options, pipeline_options)
    job = plan(options if beam_options.runs_here(pipeline_options) else options.with_absolute_paths())
    check_table(options)
    return job, stage_output(options.output, existing=options.existing_output)


def run_staged(
    job: Job[SummaryT], staged: StagedOutput, pipeline_options: PipelineOptions, submission: Submission
) -> SummaryT:
    """Runs the pipeline into the staging directory, checks the counts and names the files.

    Where workers are elsewhere and the output is at a URL, the pipeline itself publishes as its last step, so that
    nothing depends on this process any more.

    Raises:
      ChangedInputError: an input file is not what it was when the job was planned.
      JobError: the pipeline failed, a row got lost, or more were rejected than may be.
      UsageError: the runner lacks an option it needs.
      SubmittedError: the job was written as a template: there is nothing to wait for.
    """
    plan = job.plan
    start = time.time()
    pipeline = beam_options.make_pipeline(pipeline_options)
    publishes = not beam_options.runs_here(pipeline_options) and is_elsewhere(plan.options.output)
    if publishes:
        staged.hand_over()
    tally = add_steps(job, pipeline, staged, threads=beam_options.tensorflow_threads(pipeline_options))
    if publishes:
        tally | "Publish" >> Publish(job, staged, start=start)
    else:
        tally | "WriteTally" >> beam.Map(_write_tally, FileSystems.join(staged.directory, _TALLY_NAME))
    in_process = beam_options.runs_in_process(pipeline_options)
    with progress_bar(plan.known_rows) if in_process else contextlib.nullcontext():
        _submit(submission, pipeline, plan, publishes=publishes)
    if publishes:
        return job.read_summary(read_published(staged, plan.options.output))
    with naming_output(plan.options.output):
        written = Tally.from_json(staged.take_text(_TALLY_NAME))
    return finish_job(job, staged, written, known_rows=plan.known_rows, start=start)


def _submit(submission: Submission, pipeline: beam.Pipeline, plan: JobPlan, *, publishes: bool) -> None:
    """Runs the pipeline; of a failure after an input file changed, says that and not what the reader made of it."""
    try:
        submission.run(pipeline, publishes=publishes)
    except JobError as failure:
        if not submission.goes_on:
            try:
                check_unchanged(plan.input_files, plan.states)
            except ChangedInputError as changed:
                raise changed from failure
            except JobError:  # the failure itself says more
                pass
        raise


def add_steps(job: Job[Any], pipeline: beam.Pipeline, staged: StagedOutput, *, threads: int | None) -> beam.PCollection:
    """The steps of a job, which write to the staging directory, and the sum of what became of every row."""
    tallies = job.build(pipeline, staged.directory, threads=threads)
    tally: beam.PCollection = (
        tuple(tallies) | "AllTallies" >> beam.Flatten() | "AddTallies" >> beam.CombineGlobally(AddTallies())
    )
    return tally


def _write_tally(tally: Tally, path: str) -> None:
    with naming_failures(path), create_file(path) as stream:
        stream.write(tally.to_json().encode())
