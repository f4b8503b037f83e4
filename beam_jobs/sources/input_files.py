"""The inputs of a job: found, inspected and checked against what the model needs, before anything starts."""

from __future__ import annotations

import dataclasses
import os
import types
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from beam_jobs.errors import UnreadableFileError, UsageError
from beam_jobs.options.job_options import ALL_COLUMNS, BigQueryTable, Files, OnBadFile, Place
from beam_jobs.sources.avro_source import AvroSource
from beam_jobs.sources.bigquery_source import BigQuerySource
from beam_jobs.sources.csv_source import CsvSource
from beam_jobs.sources.json_lines_source import JsonLinesSource
from beam_jobs.sources.parquet_source import ParquetSource
from beam_jobs.sources.source import InputFile, ReadPlan, RefusedFile, Source, WorkUnit
from beam_jobs.sources.tfrecord_source import RequestLogSource, TFRecordSource
from maf_serving import validation
from maf_serving.columns import TIMESTAMP
from maf_serving.csv_text import partition_column, partition_type
from maf_serving.table_formats import (
    USUAL_CSV,
    CsvDialect,
    InputBatch,
    files_below,
    find_format,
    list_suffixes,
    partitions_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from maf_serving.model_inputs import ModelInputs
    from maf_serving.rejection import RejectedRows
    from maf_serving.table_formats import Damage

FORMATS: Mapping[str, type[Source]] = {
    "parquet": ParquetSource,
    "csv": CsvSource,
    "jsonl": JsonLinesSource,
    "avro": AvroSource,
    "tfrecord": TFRecordSource,
    "request_log": RequestLogSource,
}
IDENTIFIER = "identifier"
_TYPES_OF_KINDS = {"number": pa.float64(), "integer": pa.int64(), "string": pa.string(), TIMESTAMP: pa.string()}


def find_sources(
    inputs: Iterable[Place],
    *,
    input_format: str | None = None,
    dialect: CsvDialect = USUAL_CSV,
    tensor_names: Mapping[str, str] = types.MappingProxyType({}),
    flag: str = "--input",
) -> tuple[Source, ...]:
    """The inputs of a job: what its paths and globs find, sorted by pattern, and its tables, each once.

    Args:
      inputs: places, as `JobOptions.inputs` has them.
      input_format: of all files, or `None` to tell each one's by its name.
      dialect: how those in CSV are written.
      tensor_names: by column, what requests by column call its tensor, in logs of them.
      flag: by which they came.

    Raises:
      UsageError: a pattern matches nothing, or names a directory without files or what is no regular file; or the name
        of a file tells no format.
    """
    found: dict[str, Source] = {}
    for place in inputs:
        if isinstance(place, BigQueryTable):
            found.setdefault(str(place), BigQuerySource(path=str(place), table=place))
            continue
        paths, found_by = _find_files(place, input_format, flag)
        for path in paths:
            source = FORMATS[input_format or _format_of(path)](path, found_by)
            if isinstance(source, CsvSource):
                source = dataclasses.replace(source, dialect=dialect)
            elif isinstance(source, RequestLogSource):
                columns = tuple((tensor, column) for column, tensor in tensor_names.items())
                source = dataclasses.replace(source, columns=columns)
            found.setdefault(os.path.normpath(path) if place.is_here else path, source)
    return tuple(found.values())


def _find_files(place: Files, input_format: str | None, flag: str) -> tuple[list[str], Files]:
    """The files, and what finds each again: of a directory, all that is below it."""
    pattern = place.pattern
    if Path(pattern).is_dir():
        below = files_below(Path(pattern), FORMATS if input_format is None else (input_format,))
        if not below:
            raise UsageError(f"{flag} {pattern} is a directory without a file that ends in {list_suffixes()}")
        return [str(path) for path in below], Files(f"{pattern.rstrip('/')}/**")
    paths = [pattern] if Path(pattern).is_file() else _match(place, flag)
    if not paths:
        raise UsageError(f"{flag} {pattern} matches no file; expected a path or a glob, comma separated if several")
    if place.is_here:
        for path in paths:
            _check_regular(Path(path), flag)
    return paths, place


def _match(place: Files, flag: str) -> list[str]:
    # Beam finds nothing by a pattern without a directory.
    in_directory = place.is_here and Path(place.pattern).name == place.pattern
    try:
        (match,) = FileSystems.match([f"./{place}" if in_directory else place.pattern])
    except (BeamIOError, OSError, ValueError) as error:
        raise UsageError(f"{flag} {place} cannot be looked up: {error}") from error
    paths = (metadata.path for metadata in match.metadata_list)
    return sorted(path for path in paths if not path.endswith("/") and not Path(path).is_dir())


def _check_regular(path: Path, flag: str) -> None:
    """Refuses what would keep its reader waiting for ever, or can be read only once."""
    if path.exists() and not path.is_file():
        raise UsageError(
            f"{flag} {path} is a pipe, a socket or a device; expected a regular file, which can be read more than "
            "once: write it to one first"
        )


def _format_of(path: str) -> str:
    found = find_format(path)
    if found is None:
        raise UsageError(f"{path} ends in none of {list_suffixes()}; name its format with --input_format")
    return found


def inspect_sources(sources: Iterable[Source], *, inputs: ModelInputs, on_bad_file: OnBadFile) -> list[InputFile]:
    """Columns and work units of every source, in their order.

    Where bad files are to be rejected, one that cannot be read, or lacks a column, becomes a unit that says why.

    Args:
      sources: of the job.
      inputs: the columns that the model needs.
      on_bad_file: what to do with a file that does not serve.

    Raises:
      UsageError: a file is not what it must be; where bad files are rejected, all of them are not.
    """
    files: list[InputFile] = []
    refused: list[UsageError] = []
    for source in sources:
        try:
            file = _with_partitions(source.inspect())
            check_input(file, inputs, vectors=inputs.columns if source.holds_vectors else {})
        except UsageError as error:
            if on_bad_file == "fail":
                raise
            refused.append(error)
            unit = RefusedFile(source.path, str(error))
            file = InputFile(path=source.path, schema=pa.schema([]), units=(unit,))
        files.append(file)
    # Columns that no file has are a mistake in the command, not damage.
    if refused and len(refused) == len(files) and not any(isinstance(each, UnreadableFileError) for each in refused):
        raise refused[0]
    return files


def _with_partitions(file: InputFile) -> InputFile:
    """With the columns that the file's directories are named for, as CSV has columns: without a type of their own."""
    found = {name: value for name, value in partitions_of(file.path).items() if name not in file.schema.names}
    if not found or not file.schema.names:
        return file
    schema = file.schema
    for name, value in found.items():
        schema = schema.append(pa.field(name, partition_type(value)))
    units = tuple(PartitionedUnit(unit, file.schema.field(0), found) for unit in file.units)
    return dataclasses.replace(file, schema=schema, units=units, untyped=file.untyped | found.keys())


@dataclasses.dataclass(frozen=True, slots=True)
class PartitionedUnit:
    """A work unit whose directories are named for some of the columns; see `WorkUnit`.

    Attributes:
      unit: of the file.
      column: one of its own.
      partitions: by name of a column that it does not have, the text of its value, or `None` for null.
    """

    unit: WorkUnit
    column: pa.Field
    partitions: Mapping[str, str | None]

    @property
    def path(self) -> str:
        """Of the file."""
        return self.unit.path

    @property
    def rows(self) -> int | None:
        """See `WorkUnit`."""
        return self.unit.rows

    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """See `WorkUnit.read`."""
        model = tuple(name for name in plan.model_columns if name not in self.partitions)
        kept = pa.schema([field for field in plan.kept if field.name not in self.partitions])
        if not model and not kept.names:  # something has to say how many rows there are
            kept = pa.schema([self.column])
        kinds = {field.name: field.type for field in plan.kept} | dict.fromkeys(plan.model_columns)
        for part in self.unit.read(dataclasses.replace(plan, model_columns=model, kept=kept)):
            if not isinstance(part, InputBatch):
                yield part
                continue
            columns = [
                partition_column(self.partitions[name], kinds[name], len(part))
                if name in self.partitions
                else part.columns.column(name)
                for name in plan.columns
            ]
            yield dataclasses.replace(part, columns=pa.RecordBatch.from_arrays(columns, plan.columns))


def split_sources(sources: Iterable[Source], files: Iterable[InputFile], plan: ReadPlan) -> list[WorkUnit]:
    """All work units, largest first, so that workers finish together. Raises `UsageError` if a table refuses."""
    units = [unit for source, file in zip(sources, files, strict=True) for unit in source.split(file, plan)]
    return sorted(units, key=lambda unit: unit.rows or 0, reverse=True)


def resolve_kept(
    files: Sequence[InputFile], keep: Sequence[str], reserved: Sequence[str], kinds: Mapping[str, str | None]
) -> pa.Schema:
    """Names and types of the columns to carry through; see `resolve_schema`.

    Raises `UsageError` where a file lacks one or has another type, or where a name is `reserved` for the output.
    """
    readable = list(_with_columns(files))
    every = tuple(keep) == ALL_COLUMNS
    names = (readable[0].schema.names if readable else []) if every else list(keep)
    clashes = [name for name in names if name in reserved]
    if clashes:
        raise UsageError(
            f"--keep {','.join(keep)} would carry through column(s) {', '.join(clashes)}, names that the output needs "
            f"for itself ({', '.join(reserved)}); keep other columns, or rename them"
        )
    schema = resolve_schema(files, names, f"--keep {','.join(keep)}", kinds)
    for file in readable if every else []:
        extra = [name for name in file.schema.names if name not in names]
        if extra:
            raise UsageError(
                f"--keep *: column(s) {', '.join(extra)} of {file.path} not in {readable[0].path}; name those to keep"
            )
    return schema


def resolve_schema(
    files: Sequence[InputFile], names: Sequence[str], flag: str, kinds: Mapping[str, str | None]
) -> pa.Schema:
    """Those columns and their types, the same in every file.

    Args:
      files: what is known of them.
      names: of the columns.
      flag: which wants them.
      kinds: what the columns of files without types are, by name: a kind of the model's, `None` for text, or
        `IDENTIFIER` for whole numbers, and else text. Others are what the first rows of all such files say: numbers or
        booleans, or text where these do not agree.

    Raises:
      UsageError: a file lacks a column, or has another type than the others.
    """
    readable = list(_with_columns(files))
    if not readable:
        return pa.schema([(name, pa.string()) for name in names])
    for file in readable:
        missing = [name for name in names if name not in file.schema.names]
        if missing:
            raise UsageError(
                f"{flag}: column(s) {', '.join(missing)} not in {file.path}; it has: {', '.join(file.schema.names)}"
            )
    return pa.schema([(name, _resolve_type(readable, name, flag, kinds)) for name in names])


def _resolve_type(files: Sequence[InputFile], name: str, flag: str, kinds: Mapping[str, str | None]) -> pa.DataType:
    typed = [file for file in files if name not in file.untyped]
    for file in typed:
        expected, got = typed[0].schema.field(name).type, file.schema.field(name).type
        if got != expected:
            raise UsageError(f"{flag}: {name} is {got} in {file.path} but {expected} in {typed[0].path}")
    untyped = [file for file in files if name in file.untyped]
    guessed = _guess_type([file.schema.field(name).type for file in untyped], name, kinds) if untyped else None
    if not typed or guessed is None:
        return guessed or typed[0].schema.field(name).type
    expected = typed[0].schema.field(name).type
    # Text is what it is in a file without types as well; and whole numbers are numbers.
    if expected not in {guessed, pa.string()} and not (pa.types.is_float64(expected) and guessed == pa.int64()):
        raise UsageError(f"{flag}: {name} is {guessed} in {untyped[0].path} but {expected} in {typed[0].path}")
    return expected


def _guess_type(found: Sequence[pa.DataType], name: str, kinds: Mapping[str, str | None]) -> pa.DataType:
    if kinds.get(name) == IDENTIFIER:
        return pa.int64() if set(found) == {pa.int64()} else pa.string()
    if name in kinds:
        return _TYPES_OF_KINDS[kinds[name] or "string"]
    if set(found) == {pa.int64(), pa.float64()}:
        return pa.float64()
    return found[0] if len(set(found)) == 1 else pa.string()


def _with_columns(files: Iterable[InputFile]) -> Iterable[InputFile]:
    """Leaves out files of no column at all: empty CSV files, and those that are rejected whole."""
    return (file for file in files if file.schema.names)


def check_input(file: InputFile, inputs: ModelInputs, *, vectors: Mapping[str, tuple[str, ...]]) -> None:
    """Raises `UsageError`, naming every column that does not serve.

    Args:
      file: what is known of it.
      inputs: the columns that the model needs.
      vectors: by name of a column that may be there instead, the columns that are its values.
    """
    if not file.schema.names:  # an empty CSV file: it has no row to score either
        return
    # Rows whose vector is no vector of that size are rejected one by one.
    optional = {name for vector in vectors if vector in file.schema.names for name in vectors[vector]}
    if file.open_ended:
        optional |= {raw.name for raw in inputs.condition if raw.column.nullable}
    validation.check_columns(
        file.schema, inputs, where=file.path, untyped=file.untyped, optional=optional, lookalikes=file.lookalikes
    )
