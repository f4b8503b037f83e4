"""Where an export goes: a local base directory, by rename, or a remote one, by copy."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from export.publish import check_base, is_remote, publish
from export.remote import check_remote_base, publish_remote
from export.staging import staging_directory
from maf_serving.command import when_interrupted


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
