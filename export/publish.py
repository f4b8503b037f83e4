"""Where an export goes: to a local base directory, by rename, or to a remote one, by copy.

Until then it is written to a directory beside the versions:

    <base>/.staging-<random>/lock       held by the exporting process for as long as it lives
    <base>/.staging-<random>/version/   what will be renamed to <base>/<version>

TF Serving sees only directories with numeric names, and a rename within one file system is atomic.

Remote are Google Cloud Storage and whatever else `tf.io.gfile` reaches. TensorFlow is imported for these alone, when
they are written to.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import posixpath
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.contract import is_version
from export.errors import ExportWarning, PublishError
from maf_serving.command import when_interrupted

_PREFIX = ".staging-"
_LAST = "saved_model.pb"


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
        _check_free(base, version, _taken(base))
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
        _check_free(base, number, _taken(base))
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


def _check_free(base: Path | str, version: int, taken: set[int]) -> None:
    if version < 0:
        raise PublishError(f"version is {version}; expected an integer of at least 0")
    if version in taken:
        raise PublishError(
            f"version {version} exists in {str(base)!r} and is never overwritten; leave the version out to get "
            f"{max(taken) + 1}, or name one that is free"
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


def _gfile() -> Any:
    import tensorflow as tf  # noqa: PLC0415  # takes seconds, which a command that is refused must not wait for

    return tf.io.gfile


def check_remote_base(base: str, version: int | None) -> None:
    """Raises `PublishError` if `version` is none or exists, `tf.errors.OpError` if the base cannot be reached."""
    _gfile().makedirs(base)
    if version is not None:
        _check_free(base, version, _taken_remote(base))


def publish_remote(staged: Path, base: str, version: int | None) -> str:
    """Copies `staged` to `base/<version>`, with `saved_model.pb` last: without it there is nothing to load.

    Nothing is overwritten. What was copied is removed if the copy fails. Object stores know no rename of a directory
    and no lock: a server that polls meanwhile sees a version that does not load and tries it again as often as
    `--max_num_load_retries` says; of two exporters of one version the later fails.

    Args:
      staged: a complete version in a local directory.
      base: the model's base directory, `scheme://...`.
      version: non-negative integer; `None` for one more than the greatest there is.

    Returns:
      The version directory.

    Raises:
      PublishError: if the version exists.
      tf.errors.OpError: if a file cannot be copied.
    """
    number = max(_taken_remote(base), default=0) + 1 if version is None else version
    _check_free(base, number, _taken_remote(base))
    target = posixpath.join(base, str(number))
    files = [path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file()]
    copied: list[str] = []
    try:
        with when_interrupted(lambda _: _remove_remote(copied, target)):
            for name in sorted(files, key=lambda name: (name == _LAST, name)):
                path = posixpath.join(target, name)
                _gfile().makedirs(posixpath.dirname(path))
                _gfile().copy(str(staged / name), path)
                copied.append(path)
    except BaseException:
        _remove_remote(copied, target)
        raise
    return target


def _taken_remote(base: str) -> set[int]:
    names = (name.rstrip("/") for name in _gfile().listdir(base))
    return {int(name) for name in names if is_version(name)}


def _remove_remote(copied: list[str], target: str) -> None:
    """`saved_model.pb` first; directories too, unless another exporter has files in them."""
    for path in reversed(copied):
        _gfile().remove(path)
    if _gfile().exists(target) and not any(files for _, _, files in _gfile().walk(target)):
        _gfile().rmtree(target)


@dataclasses.dataclass(frozen=True, slots=True)
class LocalBase:
    """A directory of this machine; versions are staged in it."""

    path: Path

    def staging(self) -> contextlib.AbstractContextManager[Path]:
        """A directory to write a version to, gone after the block."""
        return staging_directory(self.path)

    def publish(self, staged: Path, version: int | None) -> Path:
        """Makes `staged` the version; raises `PublishError` if there is one."""
        return publish(staged, self.path, version)


@dataclasses.dataclass(frozen=True, slots=True)
class RemoteBase:
    """A directory that `tf.io.gfile` reaches; versions are staged in a temporary directory of this machine."""

    url: str

    @contextlib.contextmanager
    def staging(self) -> Iterator[Path]:
        """A directory to write a version to, gone after the block."""
        with (
            tempfile.TemporaryDirectory() as directory,
            when_interrupted(lambda _: shutil.rmtree(directory, ignore_errors=True)),
        ):
            yield Path(directory)

    def publish(self, staged: Path, version: int | None) -> str:
        """Copies `staged` to the version; raises `PublishError` if there is one."""
        return publish_remote(staged, self.url, version)


def open_base(model_base: str | Path, version: int | None) -> LocalBase | RemoteBase:
    """The base directory, made if need be. Raises `PublishError` if it cannot take `version`."""
    if not is_remote(model_base):
        return LocalBase(check_base(model_base, version))
    check_remote_base(str(model_base), version)
    return RemoteBase(str(model_base))
