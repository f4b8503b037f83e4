"""The evaluation job: its pipeline, and what becomes of the result.

    ReadTable -> Invert -> Accumulate -> MergeStatistics ------------------+-> WriteResult
        |                    |     |                                       |
        |                    |     +-> MergeSamples -> Score -> MergeScores +
        +--------------------+-------> WriteRejected

As in `score.py`, reading to accumulating is one stage. What a bundle emits is its statistics, whose size depends on the
columns and groups, not on the rows, and a sample of rows. The numbers become `_summary.json` and `report.html` at the
end.

The model runs `inverse` on every row, and on some of them it draws, and the draws are brought back to base space. Of
the sample it is asked for quantiles or draws of each row, which the event columns are scored by.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import PredictionResult, RunInference
from apache_beam.pvalue import AsSingleton, TaggedOutput
from apache_beam.utils.shared import Shared

from beam_jobs.evaluation.column_scores import NUM_DRAWS, PROBABILITIES
from beam_jobs.evaluation.report import make_report
from beam_jobs.evaluation.results import EvaluateSummary, EvaluationResult, make_result
from beam_jobs.evaluation.row_sample import (
    QUANTILE,
    SAMPLE_WITH_SEED,
    RowSample,
    SampledRows,
    SampleScores,
    ScoreRows,
    scoring_signature,
)
from beam_jobs.evaluation.statistics import MergeAll, Statistics, finite_points, read_weights
from beam_jobs.evaluation.verdict import judge
from beam_jobs.jobs.job import JobPlan, job_sources, plan_job, row_identity
from beam_jobs.jobs.running import run_job
from beam_jobs.jobs.summary import Tally
from beam_jobs.model.saved_model import ModelLocation, SavedModelHandler, plan_model
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import WriteRejected, at_end, create_file, naming_failures
from beam_jobs.rows import NULL_GROUP, REJECTED_TAG, Grouping, ReadTable, count_groups, group_names
from maf_serving.answers import is_failed, reject_failed
from maf_serving.model_inputs import encode_rows
from maf_serving.row_seeds import RowIdentity, Words, draw_seeds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.evaluation.statistics import Vector
    from beam_jobs.options.job_options import EvaluateOptions
    from beam_jobs.output.staging import StagedOutput
    from maf_serving.arrow_columns import Mask
    from maf_serving.saved_model import LoadedModel
    from maf_serving.validation import ScoreableRows

REPORT_NAME = "report.html"
_RESULT_NAME = "evaluation.json"
USED_TAG = "tally"
SAMPLE_TAG = "sample"
INVERSE = "inverse"
# Of each file, the first rows and one row in so many get a draw: enough to tell bases apart, at little cost.
FIRST_ROWS = 4096
ONE_ROW_IN = 256


def evaluate_table(options: EvaluateOptions, pipeline_options: PipelineOptions | None = None) -> EvaluateSummary:
    """Evaluates the model on every row of the input; the directory `options.output` appears when all is done.

    Raises:
      UsageError: something does not fit, seen before the pipeline started.
      JobError: the pipeline failed.
    """
    return run_job(plan_evaluate, options, pipeline_options)


def plan_evaluate(options: EvaluateOptions) -> EvaluateJob:
    """Finds the model and the files, and checks that they fit. Raises `UsageError`."""
    model = plan_model(options, signature_name=INVERSE)
    extra = {} if options.group_column is None else {options.group_column: "--group_column"}
    numbers = {} if options.weight is None else {options.weight: "--weight"}
    sources = job_sources(options, model.contract)
    plan = plan_job(options, model, sources, extra=extra, numbers=numbers)
    return EvaluateJob(plan=plan, options=options, identity=row_identity(sources))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateJob:
    """A planned evaluation; see `Job`.

    Attributes:
      plan: what was found and checked.
      options: what was asked for.
      identity: what draws' seeds come from, and which rows are in the sample.
    """

    plan: JobPlan
    options: EvaluateOptions
    identity: RowIdentity

    def build(self, pipeline: beam.Pipeline, directory: str, *, threads: int | None) -> Iterable[beam.PCollection]:
        """See `Job.build`."""
        table_format = TableFormat.of(self.options)
        contract = self.plan.model.contract
        grouping = Grouping(column=self.options.group_column, max_groups=self.options.max_groups)
        table = pipeline | "ReadTable" >> ReadTable(self.plan, staging=directory, group_column=grouping.column)
        accumulate = Accumulate(contract.event_size, grouping, self.crps_rows, self.identity, self.options.weight)
        shared = Shared()
        evaluated = (
            table["rows"]
            | "Invert" >> RunInference(self._handler(shared, threads))
            | "Accumulate" >> beam.ParDo(accumulate).with_outputs(REJECTED_TAG, USED_TAG, SAMPLE_TAG, main="statistics")
        )
        merge = MergeAll(functools.partial(Statistics, contract.event_size, grouping))
        yield (
            evaluated.statistics
            | "MergeStatistics" >> beam.CombineGlobally(merge)
            | "WriteResult"
            >> beam.Map(
                _write_result,
                contract.event_columns,
                FileSystems.join(directory, _RESULT_NAME),
                **(self._scores(evaluated[SAMPLE_TAG], shared, threads) if self.crps_rows else {}),
            )
        )
        yield table["tally"]
        yield evaluated[USED_TAG]
        # One writer for each step that rejects: flattened first, their rows would be held in memory by the runner.
        rejected = {"Unreadable": table["unreadable"], "Invalid": table["invalid"], "Failed": evaluated[REJECTED_TAG]}
        for name, rows in rejected.items():
            yield rows | f"Write{name}" >> beam.ParDo(WriteRejected(directory, table_format))

    @property
    def crps_rows(self) -> int:
        """How many rows at most are scored by CRPS: as many as were asked for, or none if the model cannot."""
        return 0 if scoring_signature(self.plan.model.contract) is None else self.options.crps_rows

    def _handler(self, shared: Shared, threads: int | None) -> SavedModelHandler:
        location = self.plan.model.location
        draws = SAMPLE_WITH_SEED in self.plan.model.contract.signatures
        return EvaluationHandler(location, draws=draws, identity=self.identity, shared=shared, threads=threads)

    def _scores(self, samples: beam.PCollection, shared: Shared, threads: int | None) -> dict[str, Any]:
        """The sample of all rows and its scores, for `make_result`."""
        contract, location = self.plan.model.contract, self.plan.model.location
        rounded = contract.answers.rounded_to if contract.answers else {}
        handler = ScoreRows(
            location,
            signature_name=str(scoring_signature(contract)),
            widths=[rounded.get(name, 0.0) for name in contract.event_columns],
            shared=shared,
            threads=threads,
        )
        sample = samples | "MergeSamples" >> beam.CombineGlobally(
            MergeAll(functools.partial(RowSample, self.crps_rows))
        )
        size, grouped = contract.event_size, self.options.group_column is not None
        scores = (
            sample
            | "SampleBatches" >> beam.FlatMap(RowSample.batches)
            | "SpreadBatches" >> beam.Reshuffle()
            | "Score" >> RunInference(handler)
            | "ToScores" >> beam.Map(SampleScores.of, dimensions=size, grouped=grouped)
            | "MergeScores" >> beam.CombineGlobally(MergeAll(functools.partial(SampleScores, size)))
        )
        return {"sample": AsSingleton(sample), "scores": AsSingleton(scores)}

    def check(self, tally: Tally) -> None:
        """See `Job.check`."""
        tally.check_rows(tally.rows_used, "evaluated")

    def read_summary(self, text: str) -> EvaluateSummary:
        """See `Job.read_summary`."""
        return EvaluateSummary.from_json(text)

    def finish(self, tally: Tally, staged: StagedOutput, common: dict[str, Any]) -> EvaluateSummary:
        """See `Job.finish`."""
        result = _with_rejected(EvaluationResult.from_json(staged.take_text(_RESULT_NAME)), tally)
        contract = self.plan.model.contract
        summary = EvaluateSummary(
            **common,
            reference=result.reference,
            reference_draws=result.reference_draws,
            reference_draws_ks=result.reference_draws_ks,
            overall=result.overall,
            groups=result.groups,
            groups_rejected_whole=result.groups_rejected_whole,
            **self._crps_fields(),
        )
        findings = judge(summary, result, contract.training)
        summary = dataclasses.replace(summary, verdict=tuple(f"{each.claim} {each.ground}" for each in findings))
        report = staged.add_text(REPORT_NAME, make_report(summary, result, contract.training))
        return dataclasses.replace(summary, output_files=(report, *summary.output_files))

    def _crps_fields(self) -> dict[str, Any]:
        contract = self.plan.model.contract
        signature_name = scoring_signature(contract)
        if signature_name is None:
            missing = f"the model has neither {QUANTILE} nor {SAMPLE_WITH_SEED}, but {', '.join(contract.signatures)}"
        else:
            missing = "" if self.crps_rows else "--crps_rows is 0"
        count = f"{len(PROBABILITIES)} quantiles" if signature_name == QUANTILE else f"{NUM_DRAWS} draws"
        rounded = tuple(contract.answers.rounded_to if contract.answers else ())
        return {
            "crps_method": None if missing else f"{count} of each row",
            "crps_missing": missing or None,
            "rounded_columns": rounded,
        }


def _write_result(
    statistics: Statistics,
    event_columns: tuple[str, ...],
    path: str,
    sample: RowSample | None = None,
    scores: SampleScores | None = None,
) -> Tally:
    """Writes the file; counts nothing, but whoever sums the tallies comes after it."""
    content = make_result(statistics, event_columns, sample=sample, scores=scores).to_json().encode()
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


class Accumulate(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`PredictionResult` to one `Statistics` per bundle, and a `RowSample` under `SAMPLE_TAG`.

    Rows for which the model failed go to `REJECTED_TAG`.
    """

    def __init__(
        self, dimensions: int, grouping: Grouping, sample_rows: int, identity: RowIdentity, weight: str | None = None
    ) -> None:
        """Of event columns and groups; rows are weighted by the column `weight`, if there is one."""
        super().__init__()
        self._weight = weight
        self._dimensions = dimensions
        self._grouping = grouping
        self._sample_rows = sample_rows
        self._identity = identity
        self._rows_used = Metrics.counter("beam_jobs", "rows_evaluated")
        self._statistics, self._sample, self._left_out = self._empty()

    def start_bundle(self) -> None:
        """Begins anew."""
        self._statistics, self._sample, self._left_out = self._empty()

    def process(self, result: PredictionResult) -> Iterator[TaggedOutput]:
        """Takes in one batch."""
        batch: ScoreableRows = result.example
        log_prob, z = result.inference["log_prob"], result.inference["z"]
        column, weights = self._grouping.column, None
        if self._weight is not None:
            weights, refused = read_weights(batch, self._weight, column)
            if refused is not None:
                yield TaggedOutput(REJECTED_TAG, refused)
            self._left_out += int((weights == 0).sum())
            counted = weights > 0
            batch, weights, log_prob, z = batch.filter(counted), weights[counted], log_prob[counted], z[counted]
        groups = None if column is None else group_names(batch.columns.column(column))
        rejected = reject_failed(batch.file, batch.rows, log_prob)
        failed = is_failed(log_prob)
        if self._sample_rows:
            self._add_to_sample(batch, ~failed, groups, weights)
        if rejected is not None:
            if groups is not None:
                rejected = rejected.with_groups(count_groups(groups.filter(pa.array(failed))))
                groups = groups.filter(pa.array(~failed))
            yield TaggedOutput(REJECTED_TAG, rejected)
            log_prob, z = log_prob[~failed], z[~failed]
            weights = None if weights is None else weights[~failed]
        self._statistics.add(z, log_prob, groups, weights)
        base_z = result.inference.get("base_z", np.empty((0, self._dimensions)))
        self._statistics.base_draws.add(finite_points(base_z))
        self._rows_used.inc(len(log_prob))

    def _add_to_sample(
        self, batch: ScoreableRows, usable: Mask, groups: pa.StringArray | None, weights: Vector | None
    ) -> None:
        keys = self._identity.keys(batch)
        chosen = np.flatnonzero(usable & self._sample.wanted(keys, weights))
        named = pa.nulls(len(chosen), pa.string()) if groups is None else groups.take(pa.array(chosen))
        self._sample.add(
            SampledRows(
                keys=keys[chosen],
                inputs={name: array[chosen] for name, array in batch.inputs.items()},
                groups=named.fill_null(NULL_GROUP).to_numpy(zero_copy_only=False),
                weights=None if weights is None else weights[chosen],
            )
        )

    def finish_bundle(self) -> Iterator[object]:
        """Emits the statistics, how many rows are in them, and the sample."""
        rows = self._statistics.overall.rows + self._left_out
        if rows or self._statistics.base_draws.rows:
            yield at_end(self._statistics)
            yield TaggedOutput(USED_TAG, at_end(Tally(rows_used=rows)))
            if self._sample_rows:
                yield TaggedOutput(SAMPLE_TAG, at_end(self._sample))
        self._statistics, self._sample, self._left_out = self._empty()

    def _empty(self) -> tuple[Statistics, RowSample, int]:
        return Statistics(self._dimensions, self._grouping), RowSample(self._sample_rows), 0


class EvaluationHandler(SavedModelHandler):
    """Adds `base_z` `[*, D]` to the outputs of `inverse`: draws from the model, if it can, in base space."""

    def __init__(
        self,
        model: str | ModelLocation,
        *,
        draws: bool,
        identity: RowIdentity,
        shared: Shared,
        threads: int | None,
    ) -> None:
        """See the class.

        Args:
          model: the version.
          draws: whether it can.
          identity: see `EvaluateJob`.
          shared: by which other steps find the model that is loaded here.
          threads: as of `SavedModelHandler`.
        """
        super().__init__(model, signature_name=INVERSE, threads=threads, shared=shared)
        self._draws = draws
        self._identity = identity

    def run_inference(  # type: ignore[override]  # an evaluation has rows with their numbers
        self, batch: ScoreableRows, model: LoadedModel, inference_args: dict[str, Any] | None = None
    ) -> Iterable[PredictionResult]:
        """One call of `inverse` for the rows, and a small one of each signature for the draws."""
        batch = encode_rows(batch, model.run)
        for result in super().run_inference(batch, model, inference_args):
            yield PredictionResult(batch, result.inference | self.base_draws(batch, model), result.model_id)

    def base_draws(self, batch: ScoreableRows, model: LoadedModel) -> dict[str, Any]:
        """`base_z`, if the model can: draws on some of the rows, the first and one in so many."""
        return {"base_z": _draw_from_base(batch, self._identity.keys(batch), model)} if self._draws else {}


def _draw_from_base(batch: ScoreableRows, keys: Words, model: LoadedModel) -> Any:
    rows = batch.rows.to_numpy()
    chosen = (rows < FIRST_ROWS) | (rows % ONE_ROW_IN == 0)
    if not chosen.any():
        return np.empty((0, batch.inputs["x"].shape[1]))
    condition = {name: tensor[chosen] for name, tensor in batch.inputs.items() if name != "x"}
    seeds = draw_seeds(keys[chosen], np.zeros(chosen.sum(), np.int64))
    drawn = model.run(SAMPLE_WITH_SEED, {**condition, "seed": seeds})
    return model.run(INVERSE, {**condition, "x": drawn["x"]})["z"]
