"""The files a job reads: found, inspected and checked against what the model needs, before anything starts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from beam_jobs import csv_source, parquet_source
from beam_jobs.errors import UsageError
from beam_jobs.numeric_columns import is_convertible
from beam_jobs.options import ALL_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from beam_jobs.table_source import InputFile, TableSource

SOURCES: Mapping[str, TableSource] = {"parquet": parquet_source, "csv": csv_source}
_EXTENSIONS = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".csv.gz": "csv"}


def find_files(patterns: Sequence[str]) -> list[str]:
    """Paths of the files that paths and globs mean: sorted by pattern, each once.

    Raises `UsageError` for a pattern that matches nothing, and for a directory.
    """
    found: dict[str, str] = {}
    for pattern in patterns:
        if Path(pattern).is_dir():
            raise UsageError(
                f"--input {pattern} is a directory; name the files in it, as in '{Path(pattern)}/*.parquet'"
            )
        paths = [pattern] if Path(pattern).is_file() else _match(pattern)
        if not paths:
            raise UsageError(
                f"--input {pattern} matches no file; expected a path or a glob, comma separated if several"
            )
        for path in paths:
            found.setdefault(os.path.normpath(path) if "://" not in path else path, path)
    return list(found.values())


def _match(pattern: str) -> list[str]:
    try:
        (match,) = FileSystems.match([pattern])
    except (BeamIOError, OSError, ValueError) as error:
        raise UsageError(f"--input {pattern} cannot be looked up: {error}") from error
    return sorted(metadata.path for metadata in match.metadata_list if not Path(metadata.path).is_dir())


def inspect_files(paths: Iterable[str], input_format: str | None) -> list[InputFile]:
    """Columns and work units of every file. Raises `UsageError` for one that is no table of its format."""
    return [SOURCES[input_format or _format_of(path)].inspect(path) for path in paths]


def _format_of(path: str) -> str:
    for extension, input_format in _EXTENSIONS.items():
        if path.lower().endswith(extension):
            return input_format
    raise UsageError(f"{path} ends in none of {', '.join(_EXTENSIONS)}; name its format with --input_format")


def check_model_columns(files: Iterable[InputFile], columns: Sequence[str]) -> None:
    """Raises `UsageError` unless every file has every column the model expects, of a type that can hold numbers."""
    for file in _with_columns(files):
        missing = [name for name in columns if name not in file.schema.names]
        if missing:
            raise UsageError(
                f"input column(s) {', '.join(missing)} not in {file.path}; it has: {', '.join(file.schema.names)}; "
                f"the model expects: {', '.join(columns)}"
            )
        for name in columns:
            if file.schema.names.count(name) > 1:
                raise UsageError(f"{file.path} has more than one column {name}; expected each name once")
            column_type = file.schema.field(name).type
            if not is_convertible(column_type):
                raise UsageError(f"input column {name} of {file.path} is {column_type}; expected numbers or text")


def resolve_kept(files: Sequence[InputFile], keep: Sequence[str], reserved: Sequence[str]) -> pa.Schema:
    """Names and types of the columns to carry through, the same in every file.

    Raises `UsageError` where a file lacks one or has another type, or where a name is `reserved` for the output.
    """
    readable = list(_with_columns(files))
    if not readable:
        return pa.schema([] if tuple(keep) == ALL_COLUMNS else [(name, pa.string()) for name in keep])
    first = readable[0]
    names = first.schema.names if tuple(keep) == ALL_COLUMNS else list(keep)
    clashes = [name for name in names if name in reserved]
    if clashes:
        raise UsageError(
            f"--keep {','.join(keep)} would carry through column(s) {', '.join(clashes)}, names that the output needs "
            f"for itself ({', '.join(reserved)}); keep other columns, or rename them"
        )
    for file in readable:
        _check_kept(file, names, first, keep)
    return pa.schema([pa.field(name, first.schema.field(name).type) for name in names])


def _check_kept(file: InputFile, names: Sequence[str], first: InputFile, keep: Sequence[str]) -> None:
    missing = [name for name in names if name not in file.schema.names]
    if missing:
        raise UsageError(
            f"--keep {','.join(keep)}: column(s) {', '.join(missing)} not in {file.path}; "
            f"it has: {', '.join(file.schema.names)}"
        )
    extra = [name for name in file.schema.names if name not in names]
    if extra and tuple(keep) == ALL_COLUMNS:
        raise UsageError(
            f"--keep *: column(s) {', '.join(extra)} of {file.path} not in {first.path}; name those to keep"
        )
    for name in names:
        expected, got = first.schema.field(name).type, file.schema.field(name).type
        if got != expected:
            raise UsageError(f"--keep {name}: {got} in {file.path} but {expected} in {first.path}; expected one type")


def _with_columns(files: Iterable[InputFile]) -> Iterable[InputFile]:
    """Leaves out files of no column at all: an empty CSV file, which has no row to score either."""
    return (file for file in files if file.schema.names)
