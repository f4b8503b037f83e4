"""A directory of generated files: written all or not at all, never over files that somebody did not mean to lose."""

from __future__ import annotations

import shutil
import uuid
from typing import TYPE_CHECKING, Literal

from serving_config.command_line import MODELS_CONFIG, SCRIPT, SSL_CONFIG
from serving_config.errors import JobError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ExistingOutput = Literal["refuse", "replace"]
_MODES = {SCRIPT: 0o755, SSL_CONFIG: 0o600}  # a program, and a file with a private key


def write_files(files: Mapping[str, str], output: Path, *, existing: ExistingOutput) -> None:
    """Writes the files. A directory that exists keeps what else is in it; its models.config is replaced last.

    Raises:
      UsageError: files are there already and `existing` is `refuse`, or the place cannot be written to.
      JobError: the disk failed on the way; nothing has been replaced.
    """
    there = [path for path in files if (output / path).exists()]
    if there and existing == "refuse":
        raise UsageError(f"{output} has {_few(there)} already; name another directory, or add --overwrite")
    staging = output.with_name(f".{output.name}.staging-{uuid.uuid4().hex[:8]}")
    try:
        _write(files, staging)
        if output.exists():
            _replace(files, staging, output)
        else:
            staging.rename(output)
    except OSError as error:
        kind = JobError if staging.exists() else UsageError
        where = f": {error.filename}" if error.filename is not None else ""
        raise kind(f"{output} cannot be written: {error.strerror}{where}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def differing_files(files: Mapping[str, str], output: Path) -> list[str]:
    """Paths whose text is missing in the directory, or another."""
    return [path for path, text in files.items() if _read(output / path) != text]


def _write(files: Mapping[str, str], staging: Path) -> None:
    staging.mkdir(parents=True)
    for path, text in files.items():
        target = staging / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(mode=_MODES.get(path, 0o644))
        target.write_text(text, encoding="utf-8")


def _replace(files: Mapping[str, str], staging: Path, output: Path) -> None:
    """Renames one file after the other: a running server sees old files or new ones, never half of one."""
    for path in sorted(files, key=lambda path: path == MODELS_CONFIG):
        (output / path).parent.mkdir(parents=True, exist_ok=True)
        (staging / path).replace(output / path)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _few(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
