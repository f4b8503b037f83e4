"""An output directory that is there when it is complete, and not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from beam_jobs.options.job_options import is_elsewhere
from beam_jobs.output.local_output import LocalOutput
from beam_jobs.output.remote_output import RemoteOutput

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from beam_jobs.options.job_options import ExistingOutput
    from beam_jobs.output.table_format import TableFormat


class StagedOutput(Protocol):
    """The files of a job on their way: workers write them to `directory`, and `publish` makes them the output."""

    @property
    def directory(self) -> str:
        """Where workers write."""

    def take_text(self, name: str) -> str:
        """Reads a file that a step has written to `directory`, and that is not to be published."""

    def add_text(self, name: str, text: str) -> str:
        """Adds a file to the output; returns the name that it will have."""

    def name_shards(self, paths: Iterable[str], prefix: str, schema: pa.Schema, table_format: TableFormat) -> list[str]:
        """The names that the shards of one kind will have; an empty shard, of that schema, is added if there is none.

        Files of that kind which are not in `paths`, left by a bundle that was run again, are not published.
        """

    def keep_rejected(self, names: Iterable[str], summary: str) -> str:
        """Leaves those files and the summary beside the output, of a job that failed for the rows it rejected."""

    def hand_over(self) -> None:
        """From here on the pipeline publishes, on a worker, and this process may end. At a URL alone."""

    def held(self) -> AbstractContextManager[None]:
        """Keeps others from taking the directory for left over, on the worker that publishes, while the block runs.

        Raises `JobError` if somebody has: the launcher that cancelled the job, or another job.
        """

    def published(self) -> str | None:
        """The summary, if this output has been published."""

    def publish(self, summary: str) -> None:
        """Makes the named files and the summary the output. Raises `JobError` if something new is there by now."""

    def discard(self) -> None:
        """Deletes whatever has not been published."""


def stage_output(output: str, *, existing: ExistingOutput) -> StagedOutput:
    """Begins an output on this machine, or at a URL. Raises `UsageError` if it may not be written."""
    if is_elsewhere(output):
        return RemoteOutput(output, existing=existing)
    return LocalOutput(output, existing=existing)
