"""The options that every job has."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, TypeVar

from beam_jobs.errors import UsageError
from beam_jobs.options.bigquery_table import BigQueryTable

INPUT_FORMATS = ("parquet", "csv", "jsonl", "avro", "tfrecord")
# By format of the output, the default first.
COMPRESSIONS = {
    "parquet": ("snappy", "zstd", "gzip", "lz4", "brotli", "none"),
    "csv": ("none", "gzip"),
    "jsonl": ("none", "gzip"),
    "avro": ("deflate", "none"),
    "tfrecord": ("none", "gzip"),
}
OUTPUT_FORMATS = tuple(COMPRESSIONS)
LOADED_FROM = ("gs://",)
LOADED_FORMATS = ("parquet", "avro")
DEFAULT_BATCH_SIZE = 16384
ALL_COLUMNS = ("*",)
ExistingOutput = Literal["refuse", "replace"]
OnBadFile = Literal["fail", "reject"]
OptionsT = TypeVar("OptionsT", bound="JobOptions")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What a job reads, with which model, and where it writes.

    Attributes:
      model: a version directory, or a directory of versions (the newest is taken).
      input_patterns: paths or globs of the input files.
      output: directory to be created.
      input_format: one of `INPUT_FORMATS`, or `None` to tell each file's format by its extension.
      rename: pairs of a name that the model has for a column and of the input's; of the others the names agree.
      event_columns: instead, the input columns that are the model's event columns, in its order.
      conditional_columns: the same for its conditional columns, raw ones where the model encodes them.
      on_bad_file: a file that cannot be read, or not to its end, fails the job; or what was read of it is used, and
        the rest rejected.
      max_rejected: the share of rows that may be rejected before the job fails, from 0 to 1.
      batch_size: rows per Arrow batch, and so per call of the model.
      output_format: one of `OUTPUT_FORMATS`.
      compression: of the output, one of `COMPRESSIONS[output_format]`; `None` for the first of them.
      rows_per_file: a worker starts another file after that many rows; `None` for no limit.
      existing_output: what to do if `output` exists: refuse to start, or replace it when the job has succeeded.
      num_shards: how many result files there are to be, of as many rows each; `None` for what the workers write.
      output_table: a table of BigQuery to load the result files into, once they are published; or `None`.
    """

    model: str
    input_patterns: tuple[str, ...]
    output: str
    input_format: str | None = None
    rename: tuple[tuple[str, str], ...] = ()
    event_columns: tuple[str, ...] = ()
    conditional_columns: tuple[str, ...] = ()
    on_bad_file: OnBadFile = "fail"
    max_rejected: float = 1.0
    batch_size: int = DEFAULT_BATCH_SIZE
    output_format: str = "parquet"
    compression: str | None = None
    rows_per_file: int | None = None
    existing_output: ExistingOutput = "refuse"
    num_shards: int | None = None
    output_table: str | None = None

    def __post_init__(self) -> None:
        if not self.input_patterns or not all(self.input_patterns):
            raise UsageError(f"--input is {','.join(self.input_patterns)!r}; expected paths or globs, comma separated")
        if self.input_format is not None:
            check_choice("--input_format", self.input_format, INPUT_FORMATS)
        check_choice("--output_format", self.output_format, OUTPUT_FORMATS)
        self._check_compression()
        check_choice("--on_bad_file", self.on_bad_file, ("fail", "reject"))
        if not 0 <= self.max_rejected <= 1:
            raise UsageError(f"--max_rejected is {self.max_rejected}; expected a share of the rows, from 0 to 1")
        check_at_least("--rows_per_call", self.batch_size, 1)
        if self.rows_per_file is not None:
            check_at_least("--rows_per_file", self.rows_per_file, 1)
        self._check_num_shards()
        self._check_output_table()
        if self.rename and (self.event_columns or self.conditional_columns):
            raise UsageError("--rename came with --event_columns or --conditional_columns; expected --rename alone")
        check_names("--event_columns", self.event_columns)
        check_names("--conditional_columns", self.conditional_columns)

    def _check_compression(self) -> None:
        possible = COMPRESSIONS[self.output_format]
        if self.compression is not None and self.compression not in possible:
            raise UsageError(
                f"--compression is {self.compression!r} and --output_format {self.output_format!r}; "
                f"expected one of {', '.join(possible)}"
            )

    def _check_num_shards(self) -> None:
        if self.num_shards is None:
            return
        check_at_least("--num_shards", self.num_shards, 1)
        if self.rows_per_file is not None:
            raise UsageError(
                f"--num_shards {self.num_shards} and --rows_per_file {self.rows_per_file} are both given; "
                "expected at most one"
            )

    def _check_output_table(self) -> None:
        if self.output_table is None:
            return
        if BigQueryTable.parse(self.output_table) is None:
            raise UsageError(f"--output_table is {self.output_table!r}; expected bigquery:project.dataset.table")
        if not self.output.startswith(LOADED_FROM):
            raise UsageError(
                f"--output_table came with --output {self.output}; expected {LOADED_FROM[0]}..., where BigQuery reads "
                "the files"
            )
        if self.output_format not in LOADED_FORMATS:
            raise UsageError(
                f"--output_table came with --output_format {self.output_format}; expected {' or '.join(LOADED_FORMATS)}"
            )

    def places(self) -> list[tuple[str, str]]:
        """Everything that workers or this command read and write, with its flag."""
        inputs = [("--input", pattern) for pattern in self.input_patterns]
        return [("--model", self.model), *inputs, ("--output", self.output)]

    def with_absolute_paths(self: OptionsT) -> OptionsT:
        """The same options, for workers whose own directory is another."""
        patterns = tuple(map(absolute, self.input_patterns))
        return dataclasses.replace(self, input_patterns=patterns)


def absolute(path: str) -> str:
    """The path as another directory's process needs it; a URL or a table stays."""
    return path if is_elsewhere(path) else str(Path(path).absolute())


def is_elsewhere(path: str) -> bool:
    """Whether it is a URL or a table of BigQuery, and no path on this machine."""
    return "://" in path or BigQueryTable.parse(path) is not None


def check_names(flag: str, names: tuple[str, ...]) -> None:
    """Raises `UsageError` unless every name is a text that occurs once."""
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(f"{flag} is {','.join(names)!r}; expected column names, comma separated, each once")


def check_keep(keep: tuple[str, ...]) -> None:
    """Raises `UsageError` unless `keep` is `ALL_COLUMNS` or column names."""
    check_names("--keep", keep)
    if "*" in keep and keep != ALL_COLUMNS:
        raise UsageError(f"--keep is {','.join(keep)!r}; expected either '*' or column names")


def check_at_least(flag: str, value: int, least: int) -> None:
    """Raises `UsageError` if the value is smaller."""
    if value < least:
        raise UsageError(f"{flag} is {value}; expected at least {least}")


def check_choice(flag: str, value: str, choices: tuple[str, ...]) -> None:
    """Raises `UsageError` unless the value is one of the choices."""
    if value not in choices:
        raise UsageError(f"{flag} is {value!r}; expected one of {', '.join(choices)}")
