"""The end of a job: counts checked, files named, and the output published, by the launcher or by the pipeline."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, Any, TypeVar

import apache_beam as beam

from beam_jobs.errors import JobError
from beam_jobs.output.bigquery_load import load_table
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import REJECTED_PREFIX
from beam_jobs.sources.file_state import check_unchanged
from beam_jobs.summary import Summary
from maf_serving.rejection import REJECTED_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beam_jobs.job import Job
    from beam_jobs.options.job_options import JobOptions
    from beam_jobs.output.staging import StagedOutput
    from beam_jobs.tally import Tally

SummaryT = TypeVar("SummaryT", bound=Summary)


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
    names = [name for name in summary.output_files if not name.startswith(f"{REJECTED_PREFIX}-")]
    load_table(options, names)


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
    check_unchanged(plan.input_files, plan.states)
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
    if summary.rows_rejected <= allowed * summary.rows_read:
        return
    kept = staged.keep_rejected(rejected_files, summary.to_json())
    share = summary.rows_rejected / summary.rows_read
    raise JobError(
        f"{summary.rows_rejected:,} of {summary.rows_read:,} rows ({share:.2%}) were rejected; --max_rejected allows "
        f"{allowed:.2%}; nothing was published: the rejected rows and their reasons are in {kept}"
    )
