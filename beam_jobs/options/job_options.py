"""The options of the three jobs, as values that have been checked. Neither Beam nor Arrow is loaded here.

A name on the command line is a path here, a URL, or a table of BigQuery. `parse_place` decides that once; what is made
of a place later on, such as the sources of a job, follows from its class.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

from beam_jobs.errors import UsageError
from beam_jobs.options.endpoint_options import EndpointOptions
from maf_serving.flags import OnOutOfRange
from maf_serving.table_formats import USUAL_CSV, CsvDialect

_PREFIX = "bigquery:"
_TABLE = re.compile(r"(?P<project>[a-z][a-z0-9.:-]*)[.:](?P<dataset>\w+)\.(?P<table>[\w$-]+)")
# Beam's own spelling: a file may be called like that only with a directory before it.
_BEAM = re.compile(r"[a-z][a-z0-9-]+:\w+\.[\w$-]+")
INPUT_FORMATS = ("parquet", "csv", "jsonl", "avro", "tfrecord", "request_log")
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
ScoreSignature = Literal["log_prob", "inverse"]
Engine = Literal["beam", "spark"]
DEFAULT_MAX_GROUPS = 100
DEFAULT_CRPS_ROWS = 4096
DEFAULT_MAX_REJECTED = 0.99


@dataclasses.dataclass(frozen=True, slots=True)
class Files:
    """Files by a path, a URL, or a glob of either.

    Attributes:
      pattern: as it was given.
    """

    pattern: str

    def __str__(self) -> str:
        return self.pattern

    @property
    def is_here(self) -> bool:
        """Whether it is a path, which this machine resolves, and no URL."""
        return "://" not in self.pattern


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BigQueryTable:
    """A table: `bigquery:project.dataset.table`, or as Beam writes it, `project:dataset.table`."""

    is_here: ClassVar[bool] = False
    project: str
    dataset: str
    table: str

    @classmethod
    def parse(cls, name: str) -> BigQueryTable | None:
        """The table of that name, or `None` if it is the name of a file."""
        if not (name.startswith(_PREFIX) or _BEAM.fullmatch(name)):
            return None
        match = _TABLE.fullmatch(name.removeprefix(_PREFIX))
        return None if match is None else cls(**match.groupdict())

    def __str__(self) -> str:
        return f"{_PREFIX}{self.project}.{self.dataset}.{self.table}"

    @property
    def resource(self) -> str:
        """The name that BigQuery's storage API has for it."""
        return f"projects/{self.project}/datasets/{self.dataset}/tables/{self.table}"


Place = Files | BigQueryTable


def parse_place(name: str) -> Place:
    """What a name on the command line means.

    >>> parse_place("bigquery:project.sales.rows").is_here, parse_place("gs://bucket/rows.csv").is_here
    (False, False)
    >>> parse_place("rows-*.csv").is_here
    True
    """
    return BigQueryTable.parse(name) or Files(name)


def is_elsewhere(path: str) -> bool:
    """Whether it is a URL or a table of BigQuery, and no path on this machine."""
    return not parse_place(path).is_here


def absolute_path(path: str) -> str:
    """The path as another directory's process needs it; a URL or a table stays."""
    return path if is_elsewhere(path) else str(Path(path).absolute())


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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What a job reads, with which model, and where it writes.

    Attributes:
      model: a version directory, or a directory of versions (the newest is taken).
      input_patterns: paths or globs of the input files.
      output: directory to be created.
      input_format: one of `INPUT_FORMATS`, or `None` to tell each file's format by its extension.
      csv: how those in CSV are written.
      manifest: a file of the sha256 of each, as `sha256sum` writes it, to be compared with before and after reading.
      rename: pairs of a name that the model has for a column and of the input's; of the others the names agree.
      event_columns: instead, the input columns that are the model's event columns, in its order.
      conditional_columns: the same for its conditional columns, raw ones where the model encodes them.
      on_bad_file: a file that cannot be read, or not to its end, fails the job; or what was read of it is used, and
        the rest rejected.
      max_rejected: the share of rows that may be rejected before the job fails, from 0 to 1: a job that could use none
        of its rows has failed, unless it is 1.
      batch_size: rows per Arrow batch, and so per call of the model.
      output_format: one of `OUTPUT_FORMATS`.
      compression: of the output, one of `COMPRESSIONS[output_format]`; `None` for the first of them.
      rows_per_file: a worker starts another file after that many rows; `None` for no limit.
      existing_output: what to do if `output` exists: refuse to start, or replace it when the job has succeeded.
      num_shards: how many result files there are to be, of as many rows each; `None` for what the workers write.
      output_table: a table of BigQuery to load the result files into, once they are published; or `None`.
      inputs: what `input_patterns` mean; made of them.
      loaded_table: the table that `output_table` names; made of it.
    """

    model: str
    input_patterns: tuple[str, ...]
    output: str
    input_format: str | None = None
    csv: CsvDialect = USUAL_CSV
    manifest: str | None = None
    rename: tuple[tuple[str, str], ...] = ()
    event_columns: tuple[str, ...] = ()
    conditional_columns: tuple[str, ...] = ()
    on_bad_file: OnBadFile = "fail"
    max_rejected: float = DEFAULT_MAX_REJECTED
    batch_size: int = DEFAULT_BATCH_SIZE
    output_format: str = "parquet"
    compression: str | None = None
    rows_per_file: int | None = None
    existing_output: ExistingOutput = "refuse"
    num_shards: int | None = None
    output_table: str | None = None
    inputs: tuple[Place, ...] = dataclasses.field(init=False, repr=False, compare=False)
    loaded_table: BigQueryTable | None = dataclasses.field(init=False, repr=False, compare=False)

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
        object.__setattr__(self, "inputs", tuple(map(parse_place, self.input_patterns)))
        object.__setattr__(self, "loaded_table", self._parse_output_table())
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

    def _parse_output_table(self) -> BigQueryTable | None:
        if self.output_table is None:
            return None
        table = BigQueryTable.parse(self.output_table)
        if table is None:
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
        return table

    def as_given(self) -> dict[str, Any]:
        """The options by name, without what was made of them."""
        made = {field.name for field in dataclasses.fields(self) if not field.init}
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in made}

    def places(self) -> list[tuple[str, Place]]:
        """Everything that workers or this command read and write, with its flag."""
        inputs = [("--input", place) for place in self.inputs]
        return [("--model", parse_place(self.model)), *inputs, ("--output", parse_place(self.output))]

    def with_absolute_paths(self: OptionsT) -> OptionsT:
        """The same options, for workers whose own directory is another."""
        patterns = tuple(map(absolute_path, self.input_patterns))
        return dataclasses.replace(self, input_patterns=patterns)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowOptions(JobOptions):
    """Of jobs that write rows; see `JobOptions` for the rest.

    Attributes:
      keep: input columns to carry through, unchanged in type; `("*",)` is all of them.
      engine: what runs the job: Beam, or Spark, which reads Parquet and tables of its catalogue, `table:NAME`.
      master: of Spark, as of `spark-submit --master`.
      spark_conf: pairs of a name that Spark has for a setting, and the value.
      on_out_of_range: what becomes of rows whose condition is nothing like what training saw: they are counted; a
        column `out_of_range` says in which columns; or they are rejected.
    """

    keep: tuple[str, ...] = ()
    engine: Engine = "beam"
    master: str | None = None
    spark_conf: tuple[tuple[str, str], ...] = ()
    on_out_of_range: OnOutOfRange = "count"

    def __post_init__(self) -> None:
        # `super()` without arguments looks for the class from before `slots` made another.
        super(RowOptions, self).__post_init__()
        check_keep(self.keep)
        check_choice("--engine", self.engine, ("beam", "spark"))
        check_choice("on_out_of_range", self.on_out_of_range, ("count", "name", "reject"))
        if self.engine == "beam" and (self.master or self.spark_conf):
            raise UsageError("--master or --conf came without --engine spark; expected them with it")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions(RowOptions):
    """What to score; see `RowOptions` for the rest.

    Attributes:
      signature_name: the signature to run: `log_prob`, or `inverse`, which gives the base-space values as well.
      endpoint: a model server to run it, instead of workers that load the model; `model` is read for its contract.
    """

    signature_name: ScoreSignature = "log_prob"
    endpoint: EndpointOptions | None = None

    def __post_init__(self) -> None:
        super(ScoreOptions, self).__post_init__()  # see `RowOptions`
        check_choice("signature_name", self.signature_name, ("log_prob", "inverse"))

    def places(self) -> list[tuple[str, Place]]:
        """See `JobOptions.places`. With a model server, workers do not read the model."""
        places = super(ScoreOptions, self).places()
        if self.endpoint is None:
            return places
        tls = self.endpoint.tls.files() if self.endpoint.tls else {}
        files = [(f"--{name}", parse_place(path)) for name, path in tls.items()]
        return [each for each in places if each[0] != "--model"] + files

    def with_absolute_paths(self) -> ScoreOptions:
        """See `JobOptions.with_absolute_paths`."""
        options = super(ScoreOptions, self).with_absolute_paths()
        if options.endpoint is None or options.endpoint.tls is None:
            return options
        endpoint = dataclasses.replace(options.endpoint, tls=options.endpoint.tls.moved(absolute_path))
        return dataclasses.replace(options, endpoint=endpoint)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SeededOptions(RowOptions):
    """What to ask with a seed for each row; see `RowOptions` for the rest.

    Attributes:
      seed: of the whole table: the same seed and the same rows give the same draws.
      key_column: the input column that says which row is which; without it, the row number does, and among several
        files, or ones that a glob finds, the name of the file too.
    """

    seed: int
    key_column: str | None = None

    def __post_init__(self) -> None:
        super(SeededOptions, self).__post_init__()  # see `RowOptions`
        from maf_serving.row_seeds import check_seed  # noqa: PLC0415  # numpy: --help must not wait for it

        check_seed(self.seed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions(SeededOptions):
    """What to draw; see `SeededOptions` for the rest.

    Attributes:
      num_samples: draws for each row of conditions.
    """

    num_samples: int

    def __post_init__(self) -> None:
        super(SampleOptions, self).__post_init__()
        check_at_least("--num_samples", self.num_samples, 1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SummarizeOptions(SeededOptions):
    """What to summarize; see `SeededOptions` for the rest.

    Attributes:
      seed: of the draws that summaries of several event columns are made of; without effect on one.
    """

    seed: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions(JobOptions):
    """What to evaluate on; see `JobOptions` for the rest.

    Attributes:
      group_column: the input column whose values get statistics of their own as well, or `None`.
      max_groups: the job fails if that column has more values.
      crps_rows: how many rows at most are scored by CRPS and intervals, a random sample of all; 0 for none.
      weight: the input column of how much each row counts, 0 or more, or `None`.
    """

    group_column: str | None = None
    max_groups: int = DEFAULT_MAX_GROUPS
    crps_rows: int = DEFAULT_CRPS_ROWS
    weight: str | None = None

    def __post_init__(self) -> None:
        super(EvaluateOptions, self).__post_init__()  # see `RowOptions`
        check_at_least("--max_groups", self.max_groups, 1)
        check_at_least("--crps_rows", self.crps_rows, 0)
