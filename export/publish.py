"""Makes a finished version visible to TF Serving: all of it at once, never in place of another."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

from export.contract import is_version
from export.errors import ExportWarning, PublishError
from export.staging import base_lock


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
