"""What a job is, to those who run one and publish what it made; and what it found and checked before it starts."""

from __future__ import annotations

import dataclasses
import types
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa

from beam_jobs.errors import ChangedInputError, UsageError
from beam_jobs.jobs.summary import Summary, Tally
from beam_jobs.sources.input_files import (
    IDENTIFIER,
    find_sources,
    inspect_sources,
    resolve_kept,
    resolve_schema,
    split_sources,
)
from beam_jobs.sources.source import FileState, ReadPlan, Source, WorkUnit, check_unchanged, look_up
from beam_jobs.storage import open_stored
from maf_serving.answers import OUT_OF_RANGE_FIELD
from maf_serving.arrow_columns import column_in_words, is_convertible
from maf_serving.condition_range import OUT_OF_RANGE
from maf_serving.manifest import Manifest
from maf_serving.row_seeds import RowIdentity, check_key_column, file_names, is_one_input

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import apache_beam as beam

    from beam_jobs.model.saved_model import PlannedModel
    from beam_jobs.options.job_options import JobOptions, SeededOptions
    from beam_jobs.output.staging import StagedOutput
    from export.contract import Contract

_SEED = 0
PLACE_FIELDS = (pa.field("file", pa.string(), nullable=False), pa.field("row", pa.int64(), nullable=False))
SummaryT_co = TypeVar("SummaryT_co", bound=Summary, covariant=True)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobPlan:
    """What `plan_job` found and checked: nothing in it needs to be looked up again.

    Attributes:
      options: what was asked for.
      model: the model version to use, and the columns its inputs are made of.
      sources: what to read.
      states: what the files were before they were inspected, by path.
      units: how they are split; largest first, so that workers finish together.
      kept: names and types of the columns to carry through.
      read: names and types of those and of the other columns that the job itself asks for.
      manifest: what the files are to be, where somebody has said so.
    """

    options: JobOptions
    model: PlannedModel
    sources: tuple[Source, ...]
    states: Mapping[str, FileState]
    units: tuple[WorkUnit, ...]
    kept: pa.Schema
    read: pa.Schema
    manifest: Manifest | None = None

    @property
    def known_rows(self) -> int | None:
        """Rows in the input files, or `None` where their format does not say."""
        rows = [unit.rows for unit in self.units]
        return None if None in rows else sum(count for count in rows if count is not None)

    @property
    def carried(self) -> pa.Schema:
        """What is kept, and the column `out_of_range` if it was asked for."""
        ranges = self.model.inputs.ranges
        return self.kept.append(OUT_OF_RANGE_FIELD) if ranges is not None and ranges.then == "name" else self.kept

    @property
    def read_plan(self) -> ReadPlan:
        """Which columns to read, and how many rows at a time."""
        return _read_plan(self.options, self.model, self.read)

    def check_inputs(self) -> None:
        """Raises `ChangedInputError` unless the files are what they were when the job was planned."""
        check_unchanged(self.sources, self.states)
        if self.manifest is not None:
            self.manifest.check(_paths(self.sources), error=ChangedInputError, open_file=open_stored)

    def summary_fields(self, tally: Tally, rejected_files: Sequence[str], seconds: float) -> dict[str, Any]:
        """The fields of `Summary` that every job fills in the same way; it adds its own files to `output_files`."""
        return {
            "rows_read": tally.rows_read,
            "rows_scored": tally.rows_read - tally.rows_rejected,
            "rows_rejected": tally.rows_rejected,
            "rejected_by_kind": dict(sorted(tally.rejected_by_kind.items())),
            "unreadable_files": tally.unreadable_files,
            "unknown_categories": {
                name: tally.unknown_categories.get(name, 0) for name in self.model.inputs.categories
            },
            "out_of_range": self._count_outside(tally),
            "seconds": seconds,
            "model": self.model.location.path,
            "model_version": self.model.location.version,
            "signature_name": self.model.signature_name,
            "event_columns": self.model.contract.event_columns,
            "conditional_columns": self.model.contract.conditional_columns,
            "raw_condition_columns": tuple(column.name for column in self.model.contract.raw_condition_columns),
            "dtype": self.model.contract.dtype,
            "input_files": tuple(source.path for source in self.sources),
            "output_files": tuple(rejected_files),
            "options": self.options.as_given(),
        }

    def _count_outside(self, tally: Tally) -> dict[str, int] | None:
        ranges = self.model.inputs.ranges
        return None if ranges is None else {each.name: tally.out_of_range.get(each.name, 0) for each in ranges.columns}


def job_sources(options: JobOptions, *contracts: Contract) -> tuple[Source, ...]:
    """The inputs of a job, for models with these contracts; see `find_sources`."""
    tensor_names = {column: tensor for contract in contracts[::-1] for column, tensor in contract.tensor_names.items()}
    return find_sources(
        options.inputs, input_format=options.input_format, dialect=options.csv, tensor_names=tensor_names
    )


def plan_job(
    options: JobOptions,
    model: PlannedModel,
    sources: tuple[Source, ...],
    *,
    keep: Sequence[str] = (),
    reserved: Sequence[str] = (),
    extra: Mapping[str, str] | None = None,
    numbers: Mapping[str, str] = types.MappingProxyType({}),
) -> JobPlan:
    """Inspects the inputs, and checks that they fit.

    Args:
      options: what was asked for.
      model: to be used.
      sources: to be read; see `find_sources`.
      keep: input columns to carry through.
      reserved: names that the output has for itself.
      extra: other input columns to read: by name of the column, the flag that asked for it.
      numbers: the same of columns of numbers.

    Raises:
      UsageError: they do not fit.
    """
    states = look_up(sources)
    manifest = None if options.manifest is None else Manifest.read(options.manifest)
    if manifest is not None:
        manifest.check(_paths(sources), open_file=open_stored)
    named = model.inputs.ranges is not None and model.inputs.ranges.then == "name"
    if named and OUT_OF_RANGE in model.inputs.names:
        raise UsageError(f"--out_of_range came with a column of the model called {OUT_OF_RANGE!r}; rename it")
    reserved = [*reserved, *([OUT_OF_RANGE] if named else [])]
    files = inspect_sources(sources, inputs=model.inputs, on_bad_file=options.on_bad_file)
    kinds: dict[str, str | None] = {**dict.fromkeys(numbers, "number"), **model.inputs.kinds}
    texts = dict.fromkeys(name for file in files for name in file.schema.names)
    # A key, or the name of a group, is the text that it is, and so is all that goes from CSV to CSV.
    as_kept = texts if options.output_format == "csv" else dict.fromkeys(extra or {}, IDENTIFIER)
    kept = resolve_kept(files, keep, reserved, as_kept | kinds)
    others = [
        resolve_schema(files, [name], flag, texts | kinds)
        for name, flag in {**(extra or {}), **numbers}.items()
        if name not in kept.names
    ]
    read = pa.unify_schemas([kept, *others])
    for name, flag in numbers.items():
        if not is_convertible(read.field(name).type):
            raise UsageError(f"{flag}: {name} holds {column_in_words(read.field(name).type)}; expected numbers")
    units = split_sources(sources, files, _read_plan(options, model, read))
    return JobPlan(
        options=options,
        model=model,
        sources=sources,
        states=states,
        units=tuple(units),
        kept=kept,
        read=read,
        manifest=manifest,
    )


def make_identity(options: SeededOptions, sources: Iterable[Source]) -> RowIdentity:
    """What the seeds of the rows are made of.

    Raises:
      UsageError: rows cannot be told apart by their places, and no column of keys is named; or two files are called
        the same.
    """
    found_by = {each.path: each.pattern_text for each in sources}
    if options.key_column is not None:
        return RowIdentity(seed=options.seed, key_column=options.key_column)
    for each in sources:
        if not each.has_positions:
            raise UsageError(
                f"--input {each.path}: rows of a table have no position that the next job finds again, so their draws "
                "would be others; name a --key_column"
            )
    return RowIdentity(seed=options.seed, file_names=None if is_one_input(found_by) else file_names(found_by))


def row_identity(sources: Iterable[Source]) -> RowIdentity:
    """What tells the rows of the inputs apart, so that the same ones are in the sample of any job."""
    found_by = {each.path: each.pattern_text for each in sources}
    return RowIdentity(seed=_SEED, file_names=None if is_one_input(found_by) else _names(found_by))


def _names(found_by: Mapping[str, str]) -> Mapping[str, str]:
    """What rows of each file are told apart by, beside their number."""
    try:
        return file_names(found_by)
    except UsageError:  # two are called the same
        return {path: path for path in found_by}


def key_columns(options: SeededOptions) -> dict[str, str]:
    """The column that a job reads for its keys, if any: by its name, the flag that wants it."""
    return {} if options.key_column is None else {options.key_column: "--key_column"}


def check_keys(options: SeededOptions, plan: JobPlan) -> None:
    """Raises `UsageError` if the column of keys cannot hold any."""
    if options.key_column is not None:
        check_key_column(options.key_column, plan.read.field(options.key_column).type, asker="--key_column")


def _paths(sources: Iterable[Source]) -> list[str]:
    return [source.path for source in sources]


def _read_plan(options: JobOptions, model: PlannedModel, read: pa.Schema) -> ReadPlan:
    inputs = model.inputs
    return ReadPlan(
        model_columns=inputs.names,
        kept=read,
        batch_size=options.batch_size,
        vectors=inputs.columns,
        condition_kinds={raw.name: raw.column.kind for raw in inputs.condition},
    )


class Job(Protocol[SummaryT_co]):
    """A planned job."""

    @property
    def plan(self) -> JobPlan:
        """What it found and checked."""

    def build(self, pipeline: beam.Pipeline, directory: str, *, threads: int | None) -> Iterable[beam.PCollection]:
        """Adds the steps of the job to a pipeline.

        Args:
          pipeline: an empty one.
          directory: to write files to.
          threads: of TensorFlow, in a worker process.

        Returns:
          Collections of `Tally`, whose sum says what became of every row.
        """

    def check(self, tally: Tally) -> None:
        """Raises `JobError` unless every row that was read came out once."""

    def finish(self, tally: Tally, staged: StagedOutput, common: dict[str, Any]) -> SummaryT_co:
        """Names the result files; `common` are the fields that every summary has, rejected files included."""

    def read_summary(self, text: str) -> SummaryT_co:
        """The summary of a `_summary.json` that this kind of job has written."""
