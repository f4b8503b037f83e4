"""What a job is, to those who run one and publish what it made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from beam_jobs.summary import Summary

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apache_beam as beam

    from beam_jobs.job_plan import JobPlan
    from beam_jobs.output.staging import StagedOutput
    from beam_jobs.tally import Tally

SummaryT_co = TypeVar("SummaryT_co", bound=Summary, covariant=True)


class Job(Protocol[SummaryT_co]):
    """A planned job."""

    @property
    def plan(self) -> JobPlan:
        """What it found and checked."""

    def build(self, pipeline: beam.Pipeline, directory: str, *, threads: int | None) -> Iterable[beam.PCollection]:
        """Adds the steps of the job to a pipeline.

        Args:
          pipeline: an empty one.
          directory: to write files to.
          threads: of TensorFlow, in a worker process.

        Returns:
          Collections of `Tally`, whose sum says what became of every row.
        """

    def check(self, tally: Tally) -> None:
        """Raises `JobError` unless every row that was read came out once."""

    def finish(self, tally: Tally, staged: StagedOutput, common: dict[str, Any]) -> SummaryT_co:
        """Names the result files; `common` are the fields that every summary has, rejected files included."""

    def read_summary(self, text: str) -> SummaryT_co:
        """The summary of a `_summary.json` that this kind of job has written."""
