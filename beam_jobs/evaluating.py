"""The evaluation job: its pipeline, and what becomes of the result.

    ReadTable -> RunInference -> Accumulate -> MergeStatistics -> WriteResult
        |                             |
        +-----------------------------+--------> WriteRejected

As in `scoring.py`, reading to accumulating is one stage. What a bundle emits is its statistics alone, whose size
depends on the columns and groups, not on the rows. The numbers become `_summary.json` and `report.html` at the end.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import RunInference

from beam_jobs.errors import JobError
from beam_jobs.evaluate_summary import EvaluateSummary
from beam_jobs.evaluation.accumulate import USED_TAG, Accumulate
from beam_jobs.evaluation.evaluation_handler import INVERSE, SAMPLE_WITH_SEED, EvaluationHandler
from beam_jobs.evaluation.make_result import make_result
from beam_jobs.evaluation.report import make_report
from beam_jobs.evaluation.results import EvaluationResult
from beam_jobs.evaluation.statistics import MergeStatistics, Statistics
from beam_jobs.groups import Grouping
from beam_jobs.job_plan import JobPlan, plan_job
from beam_jobs.model_handler import SavedModelHandler
from beam_jobs.output.shard_writer import create_file, naming_failures
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import WriteRejected
from beam_jobs.planned_model import find_model
from beam_jobs.reading import ReadTable
from beam_jobs.running import run_job
from beam_jobs.tally import Tally
from beam_jobs.validation import REJECTED_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.options.evaluate_options import EvaluateOptions
    from beam_jobs.output.staging import StagedOutput

REPORT_NAME = "report.html"
_RESULT_NAME = "evaluation.json"


def evaluate_table(options: EvaluateOptions, pipeline_options: PipelineOptions | None = None) -> EvaluateSummary:
    """Evaluates the model on every row of the input; the directory `options.output` appears when all is done.

    Raises:
      UsageError: something does not fit, seen before the pipeline started.
      JobError: the pipeline failed.
    """
    return run_job(plan_evaluate, options, pipeline_options)


def plan_evaluate(options: EvaluateOptions) -> EvaluateJob:
    """Finds the model and the files, and checks that they fit. Raises `UsageError`."""
    model = find_model(options, signature_name=INVERSE)
    extra = {} if options.group_column is None else {options.group_column: "--group_column"}
    return EvaluateJob(plan=plan_job(options, model, extra=extra), options=options)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateJob:
    """A planned evaluation; see `Job`.

    Attributes:
      plan: what was found and checked.
      options: what was asked for.
    """

    plan: JobPlan
    options: EvaluateOptions

    def build(self, pipeline: beam.Pipeline, directory: str, *, threads: int | None) -> Iterable[beam.PCollection]:
        """See `Job.build`."""
        table_format = TableFormat.of(self.options)
        contract = self.plan.model.contract
        grouping = Grouping(column=self.options.group_column, max_groups=self.options.max_groups)
        table = pipeline | "ReadTable" >> ReadTable(self.plan, staging=directory, group_column=grouping.column)
        accumulate = beam.ParDo(Accumulate(contract.event_size, grouping))
        evaluated = (
            table["rows"]
            | "Invert" >> RunInference(self._handler(threads))
            | "Accumulate" >> accumulate.with_outputs(REJECTED_TAG, USED_TAG, main="statistics")
        )
        yield (
            evaluated.statistics
            | "MergeStatistics" >> beam.CombineGlobally(MergeStatistics(contract.event_size, grouping))
            | "WriteResult"
            >> beam.Map(_write_result, contract.event_columns, FileSystems.join(directory, _RESULT_NAME))
        )
        yield table["tally"]
        yield evaluated[USED_TAG]
        # One writer for each step that rejects: flattened first, their rows would be held in memory by the runner.
        rejected = {"Unreadable": table["unreadable"], "Invalid": table["invalid"], "Failed": evaluated[REJECTED_TAG]}
        for name, rows in rejected.items():
            yield rows | f"Write{name}" >> beam.ParDo(WriteRejected(directory, table_format))

    def _handler(self, threads: int | None) -> SavedModelHandler:
        model = self.plan.model
        if SAMPLE_WITH_SEED in model.contract.signatures:
            return EvaluationHandler(model.location, threads=threads)
        return SavedModelHandler(model.location, signature_name=INVERSE, threads=threads)

    def check(self, tally: Tally) -> None:
        """See `Job.check`."""
        if tally.rows_read != tally.rows_used + tally.rows_rejected:
            raise JobError(
                f"{tally.rows_read} rows were read, but {tally.rows_used} evaluated and {tally.rows_rejected} rejected"
            )

    def read_summary(self, text: str) -> EvaluateSummary:
        """See `Job.read_summary`."""
        return EvaluateSummary.from_json(text)

    def finish(self, tally: Tally, staged: StagedOutput, common: dict[str, Any]) -> EvaluateSummary:
        """See `Job.finish`."""
        result = _with_rejected(EvaluationResult.from_json(staged.take_text(_RESULT_NAME)), tally)
        summary = EvaluateSummary(
            **common,
            reference=result.reference,
            reference_draws=result.reference_draws,
            reference_draws_ks=result.reference_draws_ks,
            overall=result.overall,
            groups=result.groups,
            groups_rejected_whole=result.groups_rejected_whole,
        )
        report = staged.add_text(REPORT_NAME, make_report(summary, result, self.plan.model.contract.training))
        return dataclasses.replace(summary, output_files=(report, *summary.output_files))


def _write_result(statistics: Statistics, event_columns: tuple[str, ...], path: str) -> Tally:
    """Writes the file; counts nothing, but whoever sums the tallies comes after it."""
    content = make_result(statistics, event_columns).to_json().encode()
    with naming_failures(path), create_file(path) as stream:
        stream.write(content)
    return Tally()


def _with_rejected(result: EvaluationResult, tally: Tally) -> EvaluationResult:
    """The result with the rejected rows of each group, of groups without any other row as well."""
    rejected: Mapping[str, int] = tally.rejected_by_group
    known = {group.group for group in result.groups}
    return dataclasses.replace(
        result,
        overall=dataclasses.replace(result.overall, rows_rejected=tally.rows_rejected),
        groups=tuple(
            dataclasses.replace(group, rows_rejected=rejected.get(group.group or "", 0)) for group in result.groups
        ),
        groups_rejected_whole={name: rows for name, rows in sorted(rejected.items()) if name not in known},
    )
