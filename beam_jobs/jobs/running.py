"""How a job is run and ends: the pipeline into a staging directory, counts checked, files named and published.

The output is published by the launcher, or by the pipeline where the launcher does not wait.
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Any, TypeVar

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems

from beam_jobs.errors import ChangedInputError, JobError
from beam_jobs.jobs.summary import AddTallies, Summary, Tally, progress_bar
from beam_jobs.options.job_options import JobOptions, RowOptions
from beam_jobs.output.bigquery_load import check_table, load_table
from beam_jobs.output.staging import StagedOutput, stage_output
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import REJECTED_PREFIX, create_file, naming_failures
from beam_jobs.runner.options import (
    check_places,
    make_pipeline,
    parse_beam_flags,
    runs_here,
    runs_in_process,
    tensorflow_threads,
)
from beam_jobs.runner.submission import Submission
from maf_serving.command import unwinding, when_interrupted
from maf_serving.rejection import REJECTED_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.jobs.job import Job, JobPlan

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
    if isinstance(options, RowOptions) and options.engine == "spark":
        summary: SummaryT = run_on_spark(plan, options)
        return summary
    pipeline_options = pipeline_options or parse_beam_flags([])
    job, staged = prepare_job(plan, options, pipeline_options)
    submission = Submission()
    try:
        result = run_staged(job, staged, pipeline_options, submission)
        publish_job(result, staged, job.plan.options)
    except BaseException:
        if not submission.goes_on:
            staged.discard()
        raise
    return result


def run_on_spark(plan: Callable[..., Any], options: RowOptions) -> Any:
    """Plans a job of rows and runs it on Spark; see `run_job`.

    A command that is interrupted deletes what is written.
    """
    from beam_jobs.runner.spark import start_engine  # noqa: PLC0415  # of Spark alone

    start = time.time()
    with start_engine(options) as engine:
        job = plan(options, engine.sources)
        staged = stage_output(options.output, existing=options.existing_output)

        def clean_up(_number: int) -> None:
            engine.cancel()
            staged.discard()

        try:
            with when_interrupted(clean_up):
                tally = engine.run(job, staged.directory)
                summary = finish_job(job, staged, tally, known_rows=None, start=start)
            with unwinding(f"{options.output} is whole, as it was or as it is to be"):
                publish_job(summary, staged, options)
        except BaseException:
            staged.discard()
            raise
    return summary


def prepare_job(
    plan: Callable[[OptionsT], Job[SummaryT]], options: OptionsT, pipeline_options: PipelineOptions
) -> tuple[Job[SummaryT], StagedOutput]:
    """Plans a job and begins its output; nothing has been run yet. Raises `UsageError`."""
    # Otherwise only a pipeline says with which credentials files are to be read.
    FileSystems.set_options(pipeline_options)
    check_places(options, pipeline_options)
    job = plan(options if runs_here(pipeline_options) else options.with_absolute_paths())
    if options.loaded_table is not None:
        check_table(options.loaded_table, existing=options.existing_output)
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
    pipeline = make_pipeline(pipeline_options)
    publishes = not runs_here(pipeline_options) and staged.is_remote
    if publishes:
        staged.hand_over()
    tally = add_steps(job, pipeline, staged, threads=tensorflow_threads(pipeline_options))
    if publishes:
        tally | "Publish" >> Publish(job, staged, start=start)
    else:
        tally | "WriteTally" >> beam.Map(_write_tally, FileSystems.join(staged.directory, _TALLY_NAME))
    in_process = runs_in_process(pipeline_options)
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
                plan.check_inputs()
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


class Publish(beam.PTransform):  # type: ignore[misc]  # Beam is untyped here
    """The last step: the one `Tally` of a job to its published output.

    A runner may run it again, after a worker was lost for example; each time does the same.
    """

    def __init__(self, job: Job[Any], staged: StagedOutput, *, start: float) -> None:
        """See the class; `start` is when the job did, in seconds since the epoch."""
        super().__init__()
        self._known_rows = job.plan.known_rows
        # Of the plan, what names the work is the largest part and not needed any more.
        self._job = dataclasses.replace(job, plan=dataclasses.replace(job.plan, units=()))  # type: ignore[type-var]
        self._staged = staged
        self._start = start

    def expand(self, tally: beam.PCollection) -> beam.PCollection:
        """Adds the step."""
        return tally | "PublishOutput" >> beam.Map(_publish, self._job, self._staged, self._known_rows, self._start)


def _publish(tally: Tally, job: Job[Any], staged: StagedOutput, known_rows: int | None, start: float) -> None:
    if staged.published() is not None:  # by a worker that was lost before it could say so
        staged.discard()
        load_results(job.read_summary(read_published(staged, job.plan.options.output)), job.plan.options)
        return
    with staged.held():
        summary = finish_job(job, staged, tally, known_rows=known_rows, start=start)
        publish_job(summary, staged, job.plan.options)


def publish_job(summary: Summary, staged: StagedOutput, options: JobOptions) -> None:
    """Makes the files the output, and loads them into a table if one is asked for. Raises `JobError`."""
    staged.publish(summary.to_json())
    load_results(summary, options)


def load_results(summary: Summary, options: JobOptions) -> None:
    """The result files of a published output, into the table that is asked for. Raises `JobError`."""
    if options.loaded_table is None:
        return
    names = [name for name in summary.output_files if not name.startswith(f"{REJECTED_PREFIX}-")]
    load_table(options.loaded_table, options, names)


def finish_job(
    job: Job[SummaryT], staged: StagedOutput, tally: Tally, *, known_rows: int | None, start: float
) -> SummaryT:
    """Checks the input files and the counts, and names the files.

    Args:
      job: the job.
      staged: its output.
      tally: what became of every row.
      known_rows: rows in the input files, where their format says so.
      start: when the job did, in seconds since the epoch.

    Raises:
      ChangedInputError: an input file is not what it was.
      JobError: a row got lost, or more were rejected than may be.
    """
    plan = job.plan
    # The clocks of two machines may differ, and the clock of one be set back.
    seconds = max(0.0, round(time.time() - start, 3))
    plan.check_inputs()
    with naming_output(plan.options.output):
        if known_rows is not None and tally.rows_read != known_rows:
            raise JobError(f"{tally.rows_read} rows were read of {known_rows} in the input files")
        job.check(tally)
        rejected = staged.name_shards(tally.files, REJECTED_PREFIX, REJECTED_SCHEMA, TableFormat.of(plan.options))
        summary = job.finish(tally, staged, plan.summary_fields(tally, rejected, seconds))
        _check_rejected(summary, plan.options.max_rejected, staged, rejected)
    return summary


@contextlib.contextmanager
def naming_output(output: str) -> Iterator[None]:
    """Whatever a disk raises in the block, as a `JobError` that names the output."""
    try:
        yield
    except OSError as error:
        raise JobError(f"the result could not be written to {output}: {error}") from error


def read_published(staged: StagedOutput, output: str) -> str:
    """The summary that the pipeline has published. Raises `JobError` if there is none."""
    text = staged.published()
    if text is None:
        raise JobError(f"the job ended, but {output} holds no summary of it; expected its last step to write that")
    return text


def _check_rejected(summary: Summary, allowed: float, staged: StagedOutput, rejected_files: list[str]) -> None:
    """Raises `JobError` if too large a share was rejected; leaves the rejected rows where its message says."""
    lost = [(noun, rejected, of) for noun, rejected, of in summary.losses() if rejected > allowed * of]
    if not lost:
        return
    noun, rejected, of = lost[0]
    kept = staged.keep_rejected(rejected_files, summary.to_json())
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in summary.rejected_by_kind.items())
    raise JobError(
        f"{rejected:,} of {of:,} {noun} ({rejected / of:.2%}) were rejected; --max_rejected allows "
        f"{allowed:.2%}; nothing was published: mend the rows or allow more; they and their reasons ({kinds}) are in "
        f"{kept}"
    )
