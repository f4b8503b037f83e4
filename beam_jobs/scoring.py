"""The scoring job: its plan, its pipeline, and what becomes of the result.

    work units -> ReadRows -> Validate -> RunInference -> ToScoredRows -> WriteScored
                     |           |                            |
                     +-----------+----------------------------+--------> WriteRejected

An element is an Arrow batch, and everything in the picture is fused into one stage: a batch is read, scored and
written before the next one is read, so memory does not grow with the data. Only work units and tallies are shuffled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from typing import TYPE_CHECKING

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import RunInference
from apache_beam.runners.runner import PipelineState

from beam_jobs import beam_options
from beam_jobs.errors import JobError, UsageError
from beam_jobs.inputs import check_model_columns, find_files, inspect_files, resolve_kept
from beam_jobs.model_handler import SavedModelHandler
from beam_jobs.progress import progress_bar
from beam_jobs.quiet_logs import quiet_beam_workers
from beam_jobs.reading import TALLY_TAG, ReadRows
from beam_jobs.rejection import REJECTED_SCHEMA
from beam_jobs.scored_rows import RESULT_COLUMNS, ToScoredRows, scored_schema
from beam_jobs.shard_writer import create_file
from beam_jobs.staging import StagedOutput
from beam_jobs.summary import Summary, check_tally
from beam_jobs.table_source import ReadPlan, WorkUnit
from beam_jobs.tally import AddTallies, Tally
from beam_jobs.validation import REJECTED_TAG, ModelInputs, Validate, model_inputs
from beam_jobs.writing import WriteRejected, WriteScored
from export.contract import Contract, ContractError, find_version, read_contract

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.options import ScoreOptions

SIGNATURE_NAME = "log_prob"
_TALLY_NAME = "tally.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScorePlan:
    """What `plan_score` found and checked: nothing in it needs to be looked up again.

    Attributes:
      options: what was asked for.
      version_dir: the model version to score with.
      contract: its contract.
      inputs: the columns its signature takes.
      input_files: files to read.
      units: how they are split; largest first, so that workers finish together.
      schema: of the scored rows.
    """

    options: ScoreOptions
    version_dir: Path
    contract: Contract
    inputs: ModelInputs
    input_files: tuple[str, ...]
    units: tuple[WorkUnit, ...]
    schema: pa.Schema

    @property
    def known_rows(self) -> int | None:
        """Rows in the input files, or `None` where their format does not say."""
        rows = [unit.rows for unit in self.units]
        return None if None in rows else sum(count for count in rows if count is not None)


def score_table(options: ScoreOptions, pipeline_options: PipelineOptions | None = None) -> Summary:
    """Scores every row of the input; the directory `options.output` appears when all is done.

    Raises:
      UsageError: something does not fit, seen before the pipeline started.
      JobError: the pipeline failed.
    """
    plan = plan_score(options)
    staged = StagedOutput(options.output, existing=options.existing_output)
    try:
        summary = run_score(plan, staged, pipeline_options or beam_options.parse_beam_flags([]))
        staged.publish(summary.to_json())
    except BaseException:
        staged.discard()
        raise
    return summary


def plan_score(options: ScoreOptions) -> ScorePlan:
    """Finds the model and the files, and checks that they fit. Raises `UsageError`."""
    try:
        version_dir = find_version(options.model)
        contract = read_contract(version_dir)
        inputs = model_inputs(contract, SIGNATURE_NAME)
    except ContractError as error:
        raise UsageError(str(error)) from error
    files = inspect_files(find_files(options.input_patterns), options.input_format)
    check_model_columns(files, inputs.names)
    kept = resolve_kept(files, options.keep, RESULT_COLUMNS)
    units = [unit for file in files for unit in file.units]
    return ScorePlan(
        options=options,
        version_dir=version_dir,
        contract=contract,
        inputs=inputs,
        input_files=tuple(file.path for file in files),
        units=tuple(sorted(units, key=lambda unit: unit.rows or 0, reverse=True)),
        schema=scored_schema(kept, contract.dtype),
    )


def run_score(plan: ScorePlan, staged: StagedOutput, pipeline_options: PipelineOptions) -> Summary:
    """Runs the pipeline into the staging directory, checks the counts and names the files.

    Raises:
      JobError: the pipeline failed, or a row got lost.
      UsageError: the runner lacks an option it needs.
    """
    start = time.monotonic()
    directory = str(staged.directory)
    pipeline = beam_options.make_pipeline(pipeline_options)
    handler = SavedModelHandler(
        str(plan.version_dir),
        signature_name=SIGNATURE_NAME,
        threads=beam_options.tensorflow_threads(pipeline_options),
    )
    _build(pipeline, plan, handler, directory)
    in_process = beam_options.runs_in_process(pipeline_options)
    with progress_bar(plan.known_rows) if in_process else contextlib.nullcontext():
        _run(pipeline)
    tally = _read_tally(staged.directory / _TALLY_NAME)
    check_tally(tally, known_rows=plan.known_rows)
    output_files = [
        *staged.name_shards(tally.files, "scored", plan.schema),
        *staged.name_shards(tally.files, "rejected", REJECTED_SCHEMA),
    ]
    return _summarise(plan, tally, output_files, time.monotonic() - start)


def _build(pipeline: beam.Pipeline, plan: ScorePlan, handler: SavedModelHandler, directory: str) -> None:
    """Adds the steps of the job to a pipeline."""
    read_plan = ReadPlan(
        model_columns=plan.inputs.names,
        kept_columns=tuple(name for name in plan.schema.names if name not in RESULT_COLUMNS),
        batch_size=plan.options.batch_size,
    )
    read = (
        pipeline
        | "WorkUnits" >> beam.Create(plan.units)
        | "Read" >> beam.ParDo(ReadRows(read_plan)).with_outputs(REJECTED_TAG, TALLY_TAG, main="batches")
    )
    valid = read.batches | "Validate" >> beam.ParDo(Validate(plan.inputs)).with_outputs(REJECTED_TAG, main="rows")
    scored = (
        valid.rows
        | "Score" >> RunInference(handler)
        | "ToScoredRows" >> beam.ParDo(ToScoredRows(plan.schema)).with_outputs(REJECTED_TAG, main="rows")
    )
    tallies = [read[TALLY_TAG], scored.rows | "WriteScored" >> beam.ParDo(WriteScored(directory, plan.schema))]
    # One writer for each step that rejects: flattened first, their rows would be held in memory by the runner.
    for step, outputs in (("Read", read), ("Validate", valid), ("Score", scored)):
        rejected = outputs[REJECTED_TAG]
        tallies.append(rejected | f"WriteRejectedBy{step}" >> beam.ParDo(WriteRejected(directory)))
    (
        tallies
        | "AllTallies" >> beam.Flatten()
        | "AddTallies" >> beam.CombineGlobally(AddTallies())
        | "WriteTally" >> beam.Map(_write_tally, FileSystems.join(directory, _TALLY_NAME))
    )


def _run(pipeline: beam.Pipeline) -> None:
    try:
        with quiet_beam_workers():
            result = pipeline.run()
            state = result.wait_until_finish()
    except Exception as error:  # a runner raises whatever a step raised, or a text of its traceback
        raise JobError(f"the job failed: {_last_line(error)}") from error
    if state != PipelineState.DONE:
        raise JobError(f"the job ended as {state}; expected {PipelineState.DONE}")


def _last_line(error: Exception) -> str:
    """The message at the end of a traceback that was sent as text; of an error of our own, the message alone."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [repr(error)]
    last = lines[-1].strip()
    own = f"{JobError.__module__}.{JobError.__name__}: "
    return last.removeprefix(own).partition(" [while running")[0] if last.startswith(own) else last


def _write_tally(tally: Tally, path: str) -> None:
    with create_file(path) as stream:
        stream.write(json.dumps(dataclasses.asdict(tally)).encode())


def _read_tally(path: Path) -> Tally:
    fields = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    return Tally(**{**fields, "files": tuple(fields["files"])})


def _summarise(plan: ScorePlan, tally: Tally, output_files: Iterable[str], seconds: float) -> Summary:
    finite = tally.finite_log_probs
    return Summary(
        rows_read=tally.rows_read,
        rows_scored=tally.rows_scored,
        rows_rejected=tally.rows_rejected,
        rejected_by_kind=dict(sorted(tally.rejected_by_kind.items())),
        mean_log_prob=tally.log_prob_sum / finite if finite else None,
        rows_with_zero_density=tally.rows_scored - finite,
        seconds=round(seconds, 3),
        model=str(plan.version_dir),
        model_version=plan.version_dir.name,
        signature_name=SIGNATURE_NAME,
        event_columns=plan.contract.event_columns,
        conditional_columns=plan.contract.conditional_columns,
        dtype=plan.contract.dtype,
        input_files=plan.input_files,
        output_files=tuple(output_files),
        options=dataclasses.asdict(plan.options),
    )
