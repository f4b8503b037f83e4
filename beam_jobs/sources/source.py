"""What a job asks of an input, and of the parts that its workers read; and how it knows that an input has not changed.

    pattern -> Source -- inspect() --> InputFile: its columns, and its parts as far as they are known
                 |
                 +------ split() ----> WorkUnit, ... -- read(), on a worker --> batches, rejected rows, damage

`input_files.find_sources` makes the sources, each of the class of its format; nobody else asks what an input is.
A file that is read whole is its own work unit.

A job that reads while somebody writes may take half of one table and half of another, and nothing in the rows says so.
So the size of a file, and when it was last written, are taken before the file is inspected, and again when all has been
read: no row costs anything.
"""

from __future__ import annotations

import abc
import contextlib
import dataclasses
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from apache_beam.io.filesystems import FileSystems

from beam_jobs.errors import ChangedInputError, JobError, UsageError
from beam_jobs.storage import reported_as
from maf_serving.table_formats import Damage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from beam_jobs.options.job_options import Files
    from maf_serving.rejection import RejectedRows
    from maf_serving.table_formats import InputBatch

_NANOSECONDS = 10**9


class WorkUnit(Protocol):
    """A part of one input that one worker reads from beginning to end. It is sent to that worker."""

    @property
    def path(self) -> str:
        """Of the file, or name of the table."""

    @property
    def rows(self) -> int | None:
        """How many rows it holds, or `None` where only reading tells."""

    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """Every row of the unit once: in a batch, rejected, or in a `Damage` that says which rows are lost."""


@dataclasses.dataclass(frozen=True, slots=True)
class RefusedFile:
    """The work unit of a file that cannot be used at all: reading it says why."""

    path: str
    reason: str
    rows: ClassVar[int | None] = 1  # the one that is rejected, and stands for all

    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:  # noqa: ARG002
        """See `WorkUnit.read`."""
        yield Damage(file=self.path, first_row=0, rows=None, reason=self.reason)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """What can be known of an input before its rows are read.

    Attributes:
      path: the file.
      schema: names and types of its columns.
      units: how it is split.
      untyped: columns whose type the file does not tell. Of CSV these are all, and `schema` has what each can be
        carried through as by its first rows; elsewhere those without a value where types are guessed, text in `schema`.
      lookalikes: by name of a column of CSV text, what it looks like if it is numbers that are written in another way.
      open_ended: whether rows may have other columns than `schema`, and one that a row lacks is null.
    """

    path: str
    schema: pa.Schema
    units: tuple[WorkUnit, ...]
    untyped: frozenset[str] = frozenset()
    lookalikes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    open_ended: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReadPlan:
    """Which columns to read: those the model needs, and those to carry through. One may be both.

    Attributes:
      model_columns: names, in the model's order.
      kept: names and types of the columns to carry through.
      batch_size: the largest number of rows in a batch.
      vectors: by name of an input of the model, the columns that it is made of: a format may hold them in one value.
      condition_kinds: the raw columns of the condition: by name, their kind of `CONDITION_KINDS`.
    """

    model_columns: tuple[str, ...]
    kept: pa.Schema
    batch_size: int
    vectors: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    condition_kinds: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def kept_columns(self) -> tuple[str, ...]:
        """Names of the columns to carry through."""
        return tuple(self.kept.names)

    @property
    def columns(self) -> list[str]:
        """Every column to read, once."""
        return list(dict.fromkeys((*self.model_columns, *self.kept_columns)))


@dataclasses.dataclass(frozen=True, slots=True)
class Source(abc.ABC):
    """An input of a job: a file of one format, or a table. Each module `*_source` has one of its subclasses.

    >>> from beam_jobs.sources.csv_source import CsvSource
    >>> source = CsvSource("rows.csv")
    >>> source.inspect().schema.names
    ['x0', 'x1', 'c0']

    Attributes:
      path: of the file, or name of the table.
      found_by: what it was found by, and can be found again; `None` for a table, of which a job reads a snapshot.
      has_positions: whether the next job finds each row at the same place.
      holds_vectors: whether all columns of an input of the model may be one value, under the input's name.
    """

    path: str
    found_by: Files | None = None
    has_positions: ClassVar[bool] = True
    holds_vectors: ClassVar[bool] = False

    @property
    def pattern_text(self) -> str:
        """What it was found by, or its path: what its rows' seeds take its name from."""
        return str(self.found_by or self.path)

    @abc.abstractmethod
    def inspect(self) -> InputFile:
        """Columns and work units. Raises `UnreadableFileError` if it is no table of this format."""

    def split(self, file: InputFile, plan: ReadPlan) -> Iterable[WorkUnit]:  # noqa: ARG002
        """Its work units, for the columns of the plan. Raises `UsageError` if it refuses to be read."""
        return file.units


class WholeFile(Source):
    """A file that is read from beginning to end by one worker: it is the source, and its only work unit."""

    __slots__ = ()
    rows: ClassVar[int | None] = None

    @abc.abstractmethod
    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """See `WorkUnit.read`."""


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


def look_up(sources: Iterable[Source]) -> dict[str, FileState]:
    """The states of those files that can be found, by path. A table of BigQuery has none: a job reads a snapshot of it.

    Cost: one stat for each local file; in a store one listing for each pattern. A store may say the time to the second
    in one call and to the millisecond in another, so it is always asked in the same way.

    Raises:
      UsageError: a store does not answer.
    """
    found: dict[str, FileState] = {}
    listed: dict[str, set[str]] = {}
    for source in sources:
        if source.found_by is None:
            continue
        if source.found_by.is_here:
            with contextlib.suppress(OSError):
                status = Path(source.path).stat()
                found[source.path] = FileState(size=status.st_size, modified=status.st_mtime_ns)
        else:
            listed.setdefault(source.found_by.pattern, set()).add(source.path)
    for pattern, paths in listed.items():
        found.update((path, state) for path, state in _list(pattern) if path in paths)
    return found


def check_unchanged(sources: Sequence[Source], planned: Mapping[str, FileState]) -> None:
    """Compares the files with what `look_up` found when the job was planned.

    Raises:
      ChangedInputError: a file was written, replaced or deleted since.
      JobError: nobody knows.
    """
    try:
        found = look_up(sources)
    except UsageError as error:
        raise JobError(f"{error}; whether one changed while it was read is not known: run the job again") from error
    changed = [each.path for each in sources if planned.get(each.path) != found.get(each.path)]
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
