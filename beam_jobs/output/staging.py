"""An output directory that is there when it is complete, and not before.

    stage_output() -> <output>.staging-<unique>/   workers write here; it is locked while the job lives
                           | publish()             renamed, or exchanged with the one that is there, in one step
                           v
                      <output>/

Of a job that is killed the staging directory stays, without its lock: the next job with the same output deletes it.
This is so on this machine, and on file systems that it shares with the workers. At a URL nothing can be locked or
renamed; `remote_output.py` says what is done there.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import os
import re
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from beam_jobs.errors import JobError, UsageError
from beam_jobs.options.job_options import ExistingOutput, is_elsewhere
from beam_jobs.output.remote_output import RemoteOutput
from beam_jobs.output.table_format import SUMMARY_NAME, TableFormat, shard_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    import pyarrow as pa

_STAGING = "staging"
_REPLACED = "replaced"
_NEW = "new"
_NAMED_WITHIN = 60.0  # seconds
# From Linux's <fcntl.h> and <linux/fs.h>.
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EXDEV}


class StagedOutput(Protocol):
    """The files of a job on their way: workers write them to `directory`, and `publish` makes them the output."""

    is_remote: ClassVar[bool]  # whether it is at a URL, where a worker can publish it

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


class LocalOutput:
    """See `StagedOutput`. Files are written beside the output, and become the output by one rename.

    A job that fails or is interrupted calls `discard`. One that is killed leaves the staging directory behind, under a
    name that no other job uses; the next job with the same output deletes it.

    An earlier output is replaced by an exchange of names, in one step. Where the file system has no such step, the
    earlier output is renamed to `<output>.replaced-<unique>` for a moment; if the job is killed in that moment, the
    next one gives it its name back.
    """

    is_remote: ClassVar[bool] = False

    def __init__(self, output: str, *, existing: ExistingOutput) -> None:
        """Creates the staging directory. Raises `UsageError` if the output may not be written."""
        self._output = Path(output).absolute()
        self._existing = existing
        _recover(self._output)
        delete_abandoned(self._output, _STAGING)
        _check_existing(self._output, output, existing)
        try:
            self._held = HeldDirectory(self._output, _STAGING)
        except OSError as error:
            raise UsageError(f"--output {output} cannot be written: {error.strerror}: {error.filename}") from error
        self._directory = self._held.path

    @property
    def directory(self) -> str:
        """See `StagedOutput`."""
        return str(self._directory)

    def take_text(self, name: str) -> str:
        """See `StagedOutput`."""
        path = self._directory / name
        text = path.read_text(encoding="utf-8")
        path.unlink()
        return text

    def add_text(self, name: str, text: str) -> str:
        """See `StagedOutput`."""
        (self._directory / name).write_text(text, encoding="utf-8")
        return name

    def name_shards(self, paths: Iterable[str], prefix: str, schema: pa.Schema, table_format: TableFormat) -> list[str]:
        """See `StagedOutput`."""
        shards = sorted(Path(path) for path in paths if Path(path).name.startswith(f"{prefix}-"))
        for stray in set(self._directory.glob(f"{prefix}-*")) - set(shards):
            stray.unlink()
        if not shards:
            shards = [self._directory / f"{prefix}-empty.{table_format.extension}"]
            with shards[0].open("wb") as stream:
                table_format.write_empty(stream, schema)
        names = shard_names(prefix, len(shards), table_format.extension)
        for shard, name in zip(shards, names, strict=True):
            shard.rename(self._directory / name)
        return names

    def keep_rejected(self, names: Iterable[str], summary: str) -> str:
        """See `StagedOutput`."""
        kept = set(names)
        for entry in self._directory.iterdir():
            if entry.name not in kept:
                entry.unlink()
        self.add_text(SUMMARY_NAME, summary)
        path = self._output.with_name(f"{self._output.name}.rejected-{uuid.uuid4().hex[:8]}")
        self._directory.rename(path)
        self._held.release()
        return str(path)

    def hand_over(self) -> None:
        """See `StagedOutput`. The lock is this process's."""
        raise JobError(f"--output {self._output} is a path; only an output at a URL is published by workers")

    def held(self) -> contextlib.AbstractContextManager[None]:
        """See `StagedOutput`."""
        return contextlib.nullcontext()

    def published(self) -> str | None:
        """See `StagedOutput`. Until `publish` returns it is not."""
        return None

    def publish(self, summary: str) -> None:
        """See `StagedOutput`."""
        try:
            self.add_text(SUMMARY_NAME, summary)
        except OSError as error:
            raise JobError(f"the result could not be written to {self._output}: {error}") from error
        try:
            _check_existing(self._output, str(self._output), self._existing)
            if self._output.exists():
                self._replace()
            else:
                self._directory.rename(self._output)
        except (OSError, UsageError) as error:
            raise JobError(f"the result could not be moved to its place: {error}") from error
        self._held.release()

    def _replace(self) -> None:
        if exchange(self._directory, self._output):
            shutil.rmtree(self._directory, ignore_errors=True)
            return
        earlier = self._output.with_name(f"{self._output.name}.{_REPLACED}-{uuid.uuid4().hex[:8]}")
        # Held, so that another job does not take it for what a killed one left.
        with try_hold(self._output):
            self._output.rename(earlier)
            try:
                self._directory.rename(self._output)
            except BaseException:
                earlier.rename(self._output)
                raise
            shutil.rmtree(earlier, ignore_errors=True)

    def discard(self) -> None:
        """See `StagedOutput`."""
        # Under another name first: worker threads that are still writing can open no more files in it.
        closed = self._directory.with_name(f"{self._directory.name}.discarded")
        with contextlib.suppress(FileNotFoundError):
            self._directory.rename(closed)
        shutil.rmtree(closed, ignore_errors=True)
        self._held.release()


def _recover(output: Path) -> None:
    """Gives an earlier output its name back, if a job was killed while it was being replaced."""
    ours = re.compile(rf"{re.escape(output.name)}\.{_REPLACED}-[0-9a-f]{{8}}")
    for earlier in output.parent.iterdir() if output.parent.is_dir() else ():
        if not ours.fullmatch(earlier.name) or is_held(earlier):
            continue
        if output.exists():
            shutil.rmtree(earlier, ignore_errors=True)
        else:
            earlier.rename(output)


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


class HeldDirectory:
    """A new directory beside `output`, `<output>.<kind>-<unique>`, locked until `release` or the end of the process.

    The system drops the lock however the process ends. File systems that cannot lock a directory keep what killed jobs
    leave: nothing else depends on the lock.
    """

    def __init__(self, output: Path, kind: str) -> None:
        """Creates it, its parents too. Raises `OSError` if it cannot."""
        # Locked before it has the name that `delete_abandoned` looks for.
        new = output.with_name(f"{output.name}.{_NEW}-{uuid.uuid4().hex[:8]}")
        new.mkdir(parents=True)
        self._lock = _lock(new)
        try:
            self.path = new.rename(output.with_name(f"{output.name}.{kind}-{uuid.uuid4().hex[:8]}"))
        except OSError:
            self.release()
            with contextlib.suppress(OSError):
                new.rmdir()
            raise

    def release(self) -> None:
        """Drops the lock, once the directory has another name or is gone."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def delete_abandoned(output: Path, kind: str) -> None:
    """Deletes the directories of that kind beside `output` whose jobs are no more."""
    for name in glob.glob(f"{glob.escape(str(output))}.{_NEW}-*"):
        with contextlib.suppress(OSError):
            # Empty, and nobody takes this long to give one its name: its job was killed in between.
            if time.time() - Path(name).stat().st_mtime > _NAMED_WITHIN:
                Path(name).rmdir()
    for name in glob.glob(f"{glob.escape(str(output))}.{kind}-*"):
        lock = _lock(Path(name))
        if lock is not None:
            shutil.rmtree(name, ignore_errors=True)
            os.close(lock)


@contextlib.contextmanager
def try_hold(directory: Path) -> Iterator[None]:
    """Locks a directory while the block runs, whatever name it gets; does nothing where that is not possible."""
    lock = _lock(directory)
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


def is_held(directory: Path) -> bool:
    """Whether another process has locked it."""
    try:
        descriptor = os.open(directory, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


def _lock(directory: Path) -> int | None:
    """A file descriptor that holds the lock, or `None` if another process does or the file system knows no locks."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
        else:
            return descriptor
    return None


def exchange(first: Path, second: Path) -> bool:
    """Gives each directory the other's name; nobody ever sees one of the names missing.

    Returns:
      Whether it was done: `False` if the system, or this file system, cannot; nothing has changed then.

    Raises:
      OSError: it could, but may not.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(first), os.fsencode(second)
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _CANNOT:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))
