"""The sha256 of input files, as `sha256sum` writes them: each is the one that was meant, before reading and after.

In CSV and JSON a digit that a disk or a network has changed is another number, and nothing else says so.

    sha256sum data/*.csv > data.sha256
    maf-serving train --input 'data/*.csv' --manifest data.sha256 ...
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from maf_serving.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from contextlib import AbstractContextManager

_LINE = re.compile(r"(?P<escaped>\\?)(?P<digest>[0-9a-fA-F]{64}) [ *](?P<name>.+)")
_CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Manifest:
    """What files are to be.

    Attributes:
      path: of the manifest.
      digests: sha256 in hexadecimal digits, by URL, or absolute path.
    """

    path: str
    digests: Mapping[str, str]

    @classmethod
    def read(cls, path: str) -> Manifest:
        """Reads a manifest; names in it are below the directory where the command runs, or else that of the manifest.

        Raises:
          UsageError: it cannot be read, or a line is none of `sha256sum`'s.
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--manifest {path} cannot be read: {error}") from error
        digests = {}
        for number, line in enumerate(lines, 1):
            found = _LINE.fullmatch(line)
            if found is None:
                raise UsageError(
                    f"--manifest {path}, line {number}: {line[:60]!r}; expected a sha256 of 64 digits and a file's "
                    "name, as sha256sum writes them"
                )
            name = found["name"]
            if found["escaped"]:
                name = name.replace("\\n", "\n").replace("\\\\", "\\")
            digests[_place(name, Path(path).parent)] = found["digest"].lower()
        return cls(path, digests)

    def check(
        self,
        files: Iterable[str],
        *,
        error: type[Exception] = UsageError,
        open_file: Callable[[str], AbstractContextManager[BinaryIO]] | None = None,
    ) -> None:
        """Compares files with the manifest. Cost: each is read once, a megabyte at a time.

        Args:
          files: paths or URLs.
          error: what to raise.
          open_file: opens one for its bytes as they are stored; without it they are files of this machine.

        Raises:
          UsageError: a file is not in the manifest.
          error: a file has another sha256, or cannot be read.
        """
        for name in files:
            expected = self.digests.get(_place(name, Path()))
            if expected is None:
                raise UsageError(f"{name} is not in --manifest {self.path}; expected a line for each input file")
            try:
                with Path(name).open("rb") if open_file is None else open_file(name) as stream:
                    came = _digest(stream)
            except OSError as problem:
                raise error(f"{name} cannot be read to be compared with --manifest {self.path}: {problem}") from problem
            if came != expected:
                raise error(
                    f"{name} has sha256 {came[:12]}..., and --manifest {self.path} says {expected[:12]}...: it is "
                    "damaged, or another file; fetch it again, or write the manifest anew"
                )


def _digest(stream: BinaryIO) -> str:
    digest = hashlib.sha256()
    for chunk in iter(lambda: stream.read(_CHUNK_BYTES), b""):
        digest.update(chunk)
    return digest.hexdigest()


def _place(name: str, directory: Path) -> str:
    """A name as all names of the same file are written."""
    if "://" in name:
        return name
    path = Path(name)
    return os.path.realpath(path if path.is_absolute() or path.exists() else directory / path)
