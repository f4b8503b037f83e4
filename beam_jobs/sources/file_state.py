"""What tells that an input file is still the one that was planned for: its size, and when it was last written.

A job that reads while somebody writes may take half of one table and half of another, and nothing in the rows says so.
The states are taken before a file is inspected, and again when all has been read: no row costs anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from apache_beam.io.filesystems import FileSystems

from beam_jobs.errors import ChangedInputError, JobError, UsageError
from beam_jobs.options.bigquery_table import BigQueryTable
from beam_jobs.options.job_options import is_elsewhere
from beam_jobs.storage import reported_as

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NANOSECONDS = 10**9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """A file at one moment.

    Attributes:
      size: in bytes.
      modified: when it was last written, in nanoseconds since the epoch; `None` where a store does not say.
    """

    size: int
    modified: int | None

    def __str__(self) -> str:
        if self.modified is None:
            return f"{self.size:,} bytes"
        written = datetime.fromtimestamp(self.modified // _NANOSECONDS, timezone.utc)
        fraction = f"{self.modified % _NANOSECONDS:09}".rstrip("0")
        return f"{self.size:,} bytes of {written:%Y-%m-%dT%H:%M:%S}{f'.{fraction}' if fraction else ''}Z"


def look_up(input_files: Mapping[str, str]) -> dict[str, FileState]:
    """The states of those files that can be found, by path. A table of BigQuery has none: a job reads a snapshot of it.

    Cost: one stat for each local file; in a store one listing for each pattern. A store may say the time to the second
    in one call and to the millisecond in another, so it is always asked in the same way.

    Args:
      input_files: by path, the pattern that named it.

    Raises:
      UsageError: a store does not answer.
    """
    found: dict[str, FileState] = {}
    patterns: dict[str, None] = {}
    for path, pattern in input_files.items():
        if not is_elsewhere(path):
            with contextlib.suppress(OSError):
                status = Path(path).stat()
                found[path] = FileState(size=status.st_size, modified=status.st_mtime_ns)
        elif BigQueryTable.parse(path) is None:
            patterns[pattern] = None
    for pattern in patterns:
        found.update((path, state) for path, state in _list(pattern) if path in input_files)
    return found


def check_unchanged(input_files: Mapping[str, str], planned: Mapping[str, FileState]) -> None:
    """Compares the files with what `look_up` found when the job was planned.

    Raises:
      ChangedInputError: a file was written, replaced or deleted since.
      JobError: nobody knows.
    """
    try:
        found = look_up(input_files)
    except UsageError as error:
        raise JobError(f"{error}; whether one changed while it was read is not known: run the job again") from error
    changed = [path for path in input_files if planned.get(path) != found.get(path)]
    if not changed:
        return
    first = changed[0]
    others = f"; so did {len(changed) - 1:,} more" if changed[1:] else ""
    before, now = planned.get(first, "not been found"), found.get(first, "it cannot be found")
    raise ChangedInputError(f"{first} changed while it was read: had {before}, now {now}{others}; run the job again")


def _list(pattern: str) -> Iterator[tuple[str, FileState]]:
    with reported_as(f"--input {pattern} cannot be looked up"):
        (match,) = FileSystems.match([pattern])
    for each in match.metadata_list:
        seconds = each.last_updated_in_seconds
        yield each.path, FileState(size=each.size_in_bytes, modified=round(seconds * _NANOSECONDS) if seconds else None)
