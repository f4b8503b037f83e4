"""The comparison of two models on the same rows: its pipeline, and what becomes of the result.

    ReadRows -> ValidateBoth -> AskBoth -> Accumulate -> MergeStatistics --------------------+-> WriteResult
       |             |                      |    |                                           |
       |             |                      |    +-> MergeSamples -> ScoreBoth -> MergeScores +
       +-------------+----------------------+--------> WriteRejected

The pipeline of `evaluate.py` for two models at once: an element is a batch of rows that both can take, each as its own
inputs. The columns that are read are those of both. What a bundle emits is as large as the columns and groups ask for,
and does not grow with the rows.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.ml.inference.base import RunInference
from apache_beam.pvalue import AsSingleton
from apache_beam.utils.shared import Shared

from beam_jobs.errors import UsageError
from beam_jobs.evaluation.comparison import (
    ComparisonResult,
    Difference,
    Latency,
    PairedStatistics,
    Verdict,
    compare_statistics,
)
from beam_jobs.evaluation.comparison_report import findings_of_pair, gap_of, make_comparison_report
from beam_jobs.evaluation.results import GroupResult
from beam_jobs.evaluation.row_sample import RowSample, SampleScores, ScoreRows, scoring_signature
from beam_jobs.evaluation.statistics import MergeAll
from beam_jobs.jobs.evaluate import EvaluationHandler
from beam_jobs.jobs.job import JobPlan, job_sources, plan_job, row_identity
from beam_jobs.jobs.paired_rows import (
    INVERSE,
    SAMPLE_TAG,
    USED_TAG,
    AccumulatePairs,
    AskBoth,
    ScoreBoth,
    ValidateBoth,
)
from beam_jobs.jobs.running import run_job
from beam_jobs.jobs.summary import FOUND_STATUS, Summary, Tally
from beam_jobs.model.saved_model import PlannedModel, match_model
from beam_jobs.options.judging import BASELINE, MODEL, SIDES
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import WriteRejected, create_file, naming_failures
from beam_jobs.rows import REJECTED_TAG, TALLY_TAG, CountOdd, Grouping, ReadRows
from maf_serving.model_inputs import ModelInputs, RawColumn
from maf_serving.page_numbers import SPACE, difference, nats, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.jobs.paired_rows import PairedRows
    from beam_jobs.options.judging import CompareOptions
    from beam_jobs.output.staging import StagedOutput
    from maf_serving.row_seeds import RowIdentity
    from maf_serving.validation import ScoreableRows

REPORT_NAME = "report.html"
_RESULT_NAME = "comparison.json"
_COLUMNS_TOLD = 4  # on the terminal
_KINDS = ("number", "integer", "timestamp", "string")  # where the two read a column differently, the later is read


def compare_table(options: CompareOptions, pipeline_options: PipelineOptions | None = None) -> CompareSummary:
    """Compares two models on every row of the input; the directory `options.output` appears when all is done.

    Raises:
      UsageError: something does not fit, seen before the pipeline started.
      JobError: the pipeline failed.
    """
    return run_job(plan_compare, options, pipeline_options)


def plan_compare(options: CompareOptions) -> CompareJob:
    """Finds both models and the files, and checks that they fit. Raises `UsageError`."""
    sides = {
        side: match_model(place, signature_name=INVERSE, event_columns=(), conditional_columns=())
        for side, place in ((MODEL, options.model), (BASELINE, options.baseline))
    }
    _check_events(sides)
    sides = {side: _renamed(model, sides, options.rename) for side, model in sides.items()}
    both = dataclasses.replace(sides[MODEL], inputs=_inputs_of_both(*sides.values()))
    extra = {} if options.group_column is None else {options.group_column: "--group_column"}
    sources = job_sources(options, *(side.contract for side in sides.values()))
    return CompareJob(
        plan=plan_job(options, both, sources, extra=extra),
        sides=sides,
        options=options,
        identity=row_identity(sources),
    )


def _check_events(sides: Mapping[str, PlannedModel]) -> None:
    model, baseline = (sides[side].contract.event_columns for side in SIDES)
    if set(model) != set(baseline):
        raise UsageError(
            f"--model has the event columns {', '.join(model)}, and --baseline {', '.join(baseline)}; expected the "
            "same: densities of other columns are in other units, and cannot be compared"
        )


def _renamed(model: PlannedModel, sides: Mapping[str, PlannedModel], rename: Sequence[tuple[str, str]]) -> PlannedModel:
    """The model with the names that the table has; one that only the other model has is left to that."""

    def names(each: PlannedModel) -> set[str]:
        return {*each.contract.event_columns, *(column.name for column in each.contract.raw_condition_columns)}

    others = set().union(*map(names, sides.values())) - names(model)
    mine = tuple(pair for pair in rename if pair[0] not in others)
    if not mine:
        return model
    return match_model(
        model.location.path, signature_name=INVERSE, event_columns=(), conditional_columns=(), rename=mine
    )


def _inputs_of_both(model: PlannedModel, baseline: PlannedModel) -> ModelInputs:
    """The columns to read: those of both models. Vectors are found where both have the same."""
    if model.inputs == baseline.inputs:
        return model.inputs
    raw: dict[str, list[RawColumn]] = {}
    for each in (model, baseline):
        numbers = [name for key, names in each.inputs.columns.items() if key != "x" for name in names]
        plain = dict(zip(numbers, each.contract.raw_condition_columns, strict=False))
        for found in (*each.inputs.condition, *(RawColumn(name=n, column=column) for n, column in plain.items())):
            raw.setdefault(found.name, []).append(found)
    condition = []
    for both in raw.values():
        most = max(both, key=lambda one: _KINDS.index(one.column.kind))
        nullable = all(one.column.nullable for one in both)
        condition.append(dataclasses.replace(most, column=dataclasses.replace(most.column, nullable=nullable)))
    return ModelInputs(columns={"x": model.inputs.columns["x"]}, dtype=model.inputs.dtype, condition=tuple(condition))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CompareJob:
    """A planned comparison; see `Job`.

    Attributes:
      plan: what was found and checked, for the columns of both.
      sides: by `MODEL` and `BASELINE`, each model.
      options: what was asked for.
      identity: what draws' seeds come from, and which rows are in the sample.
    """

    plan: JobPlan
    sides: Mapping[str, PlannedModel]
    options: CompareOptions
    identity: RowIdentity

    def build(self, pipeline: beam.Pipeline, directory: str, *, threads: int | None) -> Iterable[beam.PCollection]:
        """See `Job.build`."""
        table_format = TableFormat.of(self.options)
        grouping = Grouping(column=self.options.group_column, max_groups=self.options.max_groups)
        reader = ReadRows(self.plan.read_plan, on_bad_file=self.options.on_bad_file, staging=directory)
        read = (
            pipeline
            | "WorkUnits" >> beam.Create(self.plan.units)
            | "ReadRows" >> beam.ParDo(reader).with_outputs(REJECTED_TAG, TALLY_TAG, main="batches")
        )
        inputs = {side: model.inputs for side, model in self.sides.items()}
        valid = read.batches | "ValidateBoth" >> beam.ParDo(ValidateBoth(inputs, grouping.column)).with_outputs(
            REJECTED_TAG, main="rows"
        )
        shared = {side: Shared() for side in SIDES}
        make = functools.partial(PairedStatistics, self.plan.model.contract.event_size, grouping)
        compared = (
            valid.rows
            | "AskBoth" >> RunInference(AskBoth(self._handlers(shared, threads)))
            | "Accumulate"
            >> beam.ParDo(
                AccumulatePairs(make, group_column=grouping.column, sample_rows=self.crps_rows, identity=self.identity)
            ).with_outputs(REJECTED_TAG, USED_TAG, SAMPLE_TAG, main="statistics")
        )
        columns = {side: model.contract.event_columns for side, model in self.sides.items()}
        yield (
            compared.statistics
            | "MergeStatistics" >> beam.CombineGlobally(MergeAll(make))
            | "WriteResult"
            >> beam.Map(
                _write_result,
                columns,
                FileSystems.join(directory, _RESULT_NAME),
                **({"scores": self._scores(compared[SAMPLE_TAG], shared, threads)} if self.crps_rows else {}),
            )
        )
        yield read[TALLY_TAG]
        yield compared[USED_TAG]
        if inputs[MODEL].categories or inputs[MODEL].ranges is not None:
            model_rows = valid.rows | "RowsOfModel" >> beam.FlatMap(_rows_of_model)
            yield model_rows | "CountOdd" >> beam.ParDo(CountOdd())
        rejected = {"Unreadable": read[REJECTED_TAG], "Invalid": valid[REJECTED_TAG], "Failed": compared[REJECTED_TAG]}
        for name, rows in rejected.items():
            yield rows | f"Write{name}" >> beam.ParDo(WriteRejected(directory, table_format))

    @property
    def crps_rows(self) -> int:
        """How many rows at most are scored by CRPS: none if one of the models cannot."""
        able = all(scoring_signature(model.contract) is not None for model in self.sides.values())
        return self.options.crps_rows if able else 0

    def _handlers(self, shared: Mapping[str, Shared], threads: int | None) -> dict[str, EvaluationHandler]:
        return {
            side: EvaluationHandler(
                model.location,
                draws="sample_with_seed" in model.contract.signatures,
                identity=self.identity,
                shared=shared[side],
                threads=threads,
            )
            for side, model in self.sides.items()
        }

    def _scores(self, samples: beam.PCollection, shared: Mapping[str, Shared], threads: int | None) -> Any:
        """The scores of a sample of the rows, as `compare_statistics` wants them."""
        handlers = {}
        for side, model in self.sides.items():
            answers = model.contract.answers
            rounded = answers.rounded_to if answers else {}
            handlers[side] = ScoreRows(
                model.location,
                signature_name=str(scoring_signature(model.contract)),
                widths=[rounded.get(name, 0.0) for name in model.contract.event_columns],
                shared=shared[side],
                threads=threads,
            )
        theirs = self.sides[BASELINE].contract.event_columns
        order = [theirs.index(name) for name in self.plan.model.contract.event_columns]
        parts, grouped = 3 * len(order), self.options.group_column is not None
        return AsSingleton(
            samples
            | "MergeSamples" >> beam.CombineGlobally(MergeAll(functools.partial(RowSample, self.crps_rows)))
            | "SampleBatches" >> beam.FlatMap(RowSample.batches)
            | "SpreadBatches" >> beam.Reshuffle()
            | "ScoreBoth" >> RunInference(ScoreBoth(handlers, order))
            | "ToScores" >> beam.Map(SampleScores.of, dimensions=parts, grouped=grouped)
            | "MergeScores" >> beam.CombineGlobally(MergeAll(functools.partial(SampleScores, parts)))
        )

    def check(self, tally: Tally) -> None:
        """See `Job.check`."""
        tally.check_rows(tally.rows_used, "compared")

    def read_summary(self, text: str) -> CompareSummary:
        """See `Job.read_summary`."""
        return CompareSummary.from_json(text)

    def finish(self, tally: Tally, staged: StagedOutput, common: dict[str, Any]) -> CompareSummary:  # noqa: ARG002
        """See `Job.finish`."""
        result = ComparisonResult.from_json(staged.take_text(_RESULT_NAME))
        baseline = self.sides[BASELINE]
        training = {side: model.contract.training for side, model in self.sides.items()}
        noise = {side: found.dequantization if found else {} for side, found in training.items()}
        summary = CompareSummary(
            **common,
            baseline=baseline.location.path,
            baseline_version=baseline.location.version,
            verdict=result.overall.verdict,
            findings=(),
            overall=result.overall,
            groups=result.groups,
            evaluation=result.model.overall,
            baseline_evaluation=result.baseline.overall,
            quantiles=result.quantiles,
            latency=result.latency,
            same_noise=noise[MODEL] == noise[BASELINE],
        )
        findings = findings_of_pair(summary, result)
        summary = dataclasses.replace(summary, findings=tuple(f"{each.claim} {each.ground}" for each in findings))
        report = staged.add_text(REPORT_NAME, make_comparison_report(summary, result, findings))
        return dataclasses.replace(summary, output_files=(report, *summary.output_files))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CompareSummary(Summary):
    """Contents of `_summary.json`; see `Summary` for the rest, whose `model` is the one that is judged.

    Attributes:
      baseline, baseline_version: the version that it is compared with, as `model` and `model_version`.
      verdict: `better`, `no different` or `worse`, beyond noise, on all rows.
      findings: what the figures say, in words.
      overall: differences of all rows; `groups` of those of each group.
      evaluation, baseline_evaluation: of each, as `evaluate` has it, on the rows that both answer.
      quantiles: of the difference of the NLL, by level.
      latency: of a call.
      same_noise: whether the densities of both are of the same columns, with the same noise added or none.
    """

    baseline: str
    baseline_version: str
    verdict: Verdict
    findings: tuple[str, ...]
    overall: Difference
    groups: tuple[Difference, ...]
    evaluation: GroupResult
    baseline_evaluation: GroupResult
    quantiles: Mapping[str, float | None]
    latency: tuple[Latency, ...]
    same_noise: bool

    @property
    def exit_status(self) -> int:
        """See `Summary.exit_status`: of a model that is worse."""
        return FOUND_STATUS if self.verdict == "worse" else 0

    def result_lines(self) -> list[str]:
        """See `Summary.result_lines`."""
        overall = self.overall
        lines = [f"rows compared {overall.rows:>12,}  with version {self.baseline_version} ({self.baseline})"]
        if overall.nll_difference is not None:
            lines.append(f"mean NLL      {nats(overall.nll):>12}  and {nats(overall.baseline_nll)} nats")
            lines.append(f"difference    {gap_of(overall)} nats per row; below zero is better")
        lines += [
            f"CRPS          {number(each.model)} and {number(each.baseline)} of {each.column}: "
            f"{difference(each.difference, each.standard_error)}"
            for each in overall.crps[:_COLUMNS_TOLD]
        ]
        for each in self.latency:
            if each.model is not None and each.baseline is not None:
                lines.append(f"a {each.asked:<12}{1000 * each.model:>12.3g}  and {1000 * each.baseline:.3g} ms")
        told = [f"{'verdict' if not index else '':<13} {each}" for index, each in enumerate(self.findings)]
        return [line.replace(SPACE, " ") for line in [*lines, *told]]

    def next_step(self, output: str) -> str:
        """See `Summary.next_step`."""
        return f"open {output}/{self.output_files[0]} in a browser"


def _rows_of_model(pair: PairedRows) -> Iterable[ScoreableRows]:
    return [pair.sides[MODEL]] if pair.sides else []


def _write_result(
    statistics: PairedStatistics, columns: Mapping[str, tuple[str, ...]], path: str, scores: SampleScores | None = None
) -> Tally:
    """Writes the file; counts nothing, but whoever sums the tallies comes after it."""
    content = compare_statistics(statistics, columns, scores).to_json().encode()
    with naming_failures(path), create_file(path) as stream:
        stream.write(content)
    return Tally()
