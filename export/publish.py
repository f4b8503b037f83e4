"""Makes a finished version visible to TF Serving: all of it at once, never in place of another.

Until then it is written to a directory beside the versions:

    <base>/.staging-<random>/lock       held by the exporting process for as long as it lives
    <base>/.staging-<random>/version/   what will be renamed to <base>/<version>

TF Serving sees only directories with numeric names, and a rename within one file system is atomic.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from export.contract import is_version
from export.errors import ExportWarning, PublishError
from maf_serving.command import when_interrupted

_PREFIX = ".staging-"


def is_remote(model_base: str | Path) -> bool:
    """Whether a base directory has a scheme (`gs://...`), for which `tf.io.gfile` is needed."""
    return re.match(r"[a-z][a-z0-9+.-]*://", str(model_base)) is not None


def check_base(model_base: str | Path, version: int | None = None) -> Path:
    """The base directory, created if need be. Raises `PublishError` if it cannot take `version`.

    Args:
      model_base: local directory of a model's versions.
      version: the version to be published, or `None` for the next one.
    """
    base = Path(model_base)
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PublishError(f"model base {str(base)!r} cannot be created: {error.strerror}") from error
    if not os.access(base, os.W_OK | os.X_OK):
        raise PublishError(f"model base {str(base)!r} is not writable; expected a directory to write versions to")
    if version is not None:
        _check_free(base, version)
    return base


def publish(staged: Path, base: Path, version: int | None = None) -> Path:
    """Renames `staged`, a complete version in the same file system, to `base/<version>`.

    Args:
      staged: directory to publish.
      base: the model's base directory.
      version: non-negative integer; `None` for one more than the greatest there is.

    Returns:
      The version directory.

    Raises:
      PublishError: if the version exists.
      OSError: if it cannot be written; nothing is published then.
    """
    _sync_tree(staged)
    with base_lock(base):
        number = max(_taken(base), default=0) + 1 if version is None else version
        # under the lock, because a rename would replace an empty directory without a word
        _check_free(base, number)
        version_dir = base / str(number)
        staged.rename(version_dir)
    try:
        _sync(base)
    except OSError as error:
        warnings.warn(
            f"version {number} is published in {str(base)!r}, but a crash of the machine may lose it: {error}",
            ExportWarning,
            stacklevel=2,
        )
    return version_dir


def _check_free(base: Path, version: int) -> None:
    if version < 0:
        raise PublishError(f"version is {version}; expected an integer of at least 0")
    if version in _taken(base):
        raise PublishError(
            f"version {version} exists in {str(base)!r} and is never overwritten; leave the version out to get "
            f"{max(_taken(base)) + 1}, or name one that is free"
        )


def _taken(base: Path) -> set[int]:
    """Version numbers in use, by whatever lies there: `007` is 7 to TF Serving, and a plain file blocks the rename."""
    return {int(entry.name) for entry in base.iterdir() if is_version(entry.name)}


def _sync_tree(directory: Path) -> None:
    """Flushes files and directories to disk, so that no crash can leave a published name without its content."""
    for entry in sorted(directory.rglob("*"), reverse=True):
        _sync(entry)
    _sync(directory)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def base_lock(base: Path) -> Iterator[None]:
    """Keeps other exporters from counting, creating and publishing in `base` meanwhile."""
    with (base / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def staging_directory(base: Path) -> Iterator[Path]:
    """A new directory in `base` to write a version to; it is gone after the block, however the block ends.

    Directories that killed exporters left are removed first. Their locks tell: the system frees them when a process
    ends.
    """
    with contextlib.ExitStack() as stack:
        with base_lock(base):
            _remove_stale(base)
            directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=base))
            stack.callback(_remove, directory)
            stack.enter_context(when_interrupted(lambda _: _remove_or_tell(directory)))
            version = directory / "version"
            version.mkdir()
            lock = stack.enter_context((directory / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield version


def _remove_or_tell(directory: Path) -> str | None:
    published = not (directory / "version").exists() and (directory / "lock").exists()
    _remove(directory)
    return "the version is published" if published else None


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)


def _remove_stale(base: Path) -> None:
    for directory in base.glob(_PREFIX + "*"):
        if not _is_held(directory / "lock"):
            _remove(directory)


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False  # its maker died before the lock was made: both happen under the base lock
    except OSError:
        return True
    return False
