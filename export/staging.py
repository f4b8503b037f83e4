"""Where a version is written before it is published.

    <base>/.staging-<random>/lock       held by the exporting process for as long as it lives
    <base>/.staging-<random>/version/   what will be renamed to <base>/<version>

TF Serving sees only directories with numeric names, and a rename within one file system is atomic.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from maf_serving.command import when_interrupted

_PREFIX = ".staging-"


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
