"""A directory that is locked for as long as its job lives, so that the next job knows what a killed one left behind."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEW = "new"
_NAMED_WITHIN = 60.0  # seconds


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
