"""An output directory that appears when it is complete, and not before."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from beam_jobs.errors import JobError, UsageError
from beam_jobs.output.held_directory import HeldDirectory, delete_abandoned

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from beam_jobs.options.job_options import ExistingOutput
    from beam_jobs.output.table_format import TableFormat

SUMMARY_NAME = "summary.json"
_STAGING = "staging"


class StagedOutput:
    """Files of a job are written to `directory`, beside the output, and become the output by one rename.

    A job that fails or is interrupted calls `discard`. One that is killed leaves the staging directory behind, under a
    name that no other job uses; the next job with the same output deletes it.
    """

    def __init__(self, output: str, *, existing: ExistingOutput) -> None:
        """Creates the staging directory. Raises `UsageError` if the output may not be written."""
        if "://" in output:
            raise UsageError(f"--output {output} is not a local path; expected a directory on this machine")
        self._output = Path(output).absolute()
        self._existing = existing
        _check_existing(self._output, output, existing)
        delete_abandoned(self._output, _STAGING)
        try:
            self._held = HeldDirectory(self._output, _STAGING)
        except OSError as error:
            raise UsageError(f"--output {output} cannot be written: {error.strerror}: {error.filename}") from error
        self.directory = self._held.path

    def name_shards(self, paths: Iterable[str], prefix: str, schema: pa.Schema, table_format: TableFormat) -> list[str]:
        """Gives the shards of one kind their final names; an empty one, of that schema, if there is none.

        Files of that kind which are not in `paths`, left by a bundle that was run again, are deleted.
        """
        shards = sorted(Path(path) for path in paths if Path(path).name.startswith(f"{prefix}-"))
        for stray in set(self.directory.glob(f"{prefix}-*")) - set(shards):
            stray.unlink()
        if not shards:
            shards = [self._write_empty(prefix, schema, table_format)]
        extension = table_format.name
        names = [f"{prefix}-{index:05d}-of-{len(shards):05d}.{extension}" for index in range(len(shards))]
        for shard, name in zip(shards, names, strict=True):
            shard.rename(self.directory / name)
        return names

    def _write_empty(self, prefix: str, schema: pa.Schema, table_format: TableFormat) -> Path:
        path = self.directory / f"{prefix}-empty.{table_format.name}"
        with path.open("wb") as stream:
            writer = table_format.open(stream, schema)
            writer.write_table(schema.empty_table())
            writer.close()
        return path

    def keep_rejected(self, names: Iterable[str], summary: str) -> Path:
        """Leaves those files and the summary beside the output, of a job that failed for the rows it rejected."""
        kept = set(names)
        for entry in self.directory.iterdir():
            if entry.name not in kept:
                entry.unlink()
        (self.directory / SUMMARY_NAME).write_text(summary, encoding="utf-8")
        path = self._output.with_name(f"{self._output.name}.rejected-{uuid.uuid4().hex[:8]}")
        self.directory.rename(path)
        self._held.release()
        return path

    def publish(self, summary: str) -> Path:
        """Writes the summary and makes the directory the output. Raises `JobError` if something new is there by now."""
        (self.directory / SUMMARY_NAME).write_text(summary, encoding="utf-8")
        try:
            _check_existing(self._output, str(self._output), self._existing)
            if self._output.exists():
                self._replace()
            else:
                self.directory.rename(self._output)
        except (OSError, UsageError) as error:
            raise JobError(f"the result could not be moved to its place: {error}") from error
        self._held.release()
        return self._output

    def _replace(self) -> None:
        earlier = self._output.with_name(f"{self._output.name}.replaced-{uuid.uuid4().hex[:8]}")
        self._output.rename(earlier)
        try:
            self.directory.rename(self._output)
        except BaseException:
            earlier.rename(self._output)
            raise
        shutil.rmtree(earlier, ignore_errors=True)

    def discard(self) -> None:
        """Deletes the staging directory, if it is still there."""
        # Under another name first: worker threads that are still writing can open no more files in it.
        closed = self.directory.with_name(f"{self.directory.name}.discarded")
        with contextlib.suppress(FileNotFoundError):
            self.directory.rename(closed)
        shutil.rmtree(closed, ignore_errors=True)
        self._held.release()


def _check_existing(path: Path, output: str, existing: ExistingOutput) -> None:
    if not path.exists():
        return
    if existing == "refuse":
        raise UsageError(f"--output {output} exists; name a directory that does not, or add --overwrite to replace it")
    if not (path / SUMMARY_NAME).is_file():
        raise UsageError(
            f"--output {output} exists and holds no {SUMMARY_NAME}, so it was not written by this command; "
            "it is not replaced: name another directory"
        )
