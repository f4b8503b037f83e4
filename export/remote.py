"""Where an export goes: a local base directory, by rename, or a remote one, by copy.

Remote are Google Cloud Storage and whatever else `tf.io.gfile` reaches.
"""

from __future__ import annotations

import contextlib
import dataclasses
import posixpath
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from export.contract import is_version
from export.errors import PublishError
from export.publish import check_base, is_remote, publish, staging_directory
from maf_serving.command import when_interrupted

_LAST = "saved_model.pb"


def check_remote_base(base: str, version: int | None) -> None:
    """Raises `PublishError` if `version` is none or exists, `tf.errors.OpError` if the base cannot be reached."""
    tf.io.gfile.makedirs(base)
    if version is not None:
        _check_free(base, version)


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
    number = max(_taken(base), default=0) + 1 if version is None else version
    _check_free(base, number)
    target = posixpath.join(base, str(number))
    files = [path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file()]
    copied: list[str] = []
    try:
        with when_interrupted(lambda _: _remove(copied, target)):
            for name in sorted(files, key=lambda name: (name == _LAST, name)):
                path = posixpath.join(target, name)
                tf.io.gfile.makedirs(posixpath.dirname(path))
                tf.io.gfile.copy(str(staged / name), path)
                copied.append(path)
    except BaseException:
        _remove(copied, target)
        raise
    return target


def _check_free(base: str, version: int) -> None:
    if version < 0:
        raise PublishError(f"version is {version}; expected an integer of at least 0")
    if version in _taken(base):
        raise PublishError(
            f"version {version} exists in {base!r} and is never overwritten; leave the version out to get "
            f"{max(_taken(base)) + 1}, or name one that is free"
        )


def _taken(base: str) -> set[int]:
    names = (name.rstrip("/") for name in tf.io.gfile.listdir(base))
    return {int(name) for name in names if is_version(name)}


def _remove(copied: list[str], target: str) -> None:
    """`saved_model.pb` first; directories too, unless another exporter has files in them."""
    for path in reversed(copied):
        tf.io.gfile.remove(path)
    if tf.io.gfile.exists(target) and not any(files for _, _, files in tf.io.gfile.walk(target)):
        tf.io.gfile.rmtree(target)


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
