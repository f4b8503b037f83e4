"""Whether the rows of a table are like those of training: its pipeline, and what becomes of the result.

    ReadRows -+-> CountColumns -----------------------------------> MergeCounts -> WriteResult
       |      +-> Validate -> (AddNoise) -> Score -> CountNll ----------^
       |             |                         |
       +-------------+-------------------------+---> WriteRejected

One pass. Columns are counted as they were read, before rows that the model cannot take are rejected: more nulls than
there were are drift too. What a bundle emits is as large as the profile of training, and does not grow with the rows.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import RunInference
from apache_beam.pvalue import AsSingleton, TaggedOutput
from apache_beam.utils.shared import Shared

from beam_jobs.errors import UsageError
from beam_jobs.evaluation.column_counts import ColumnCounts, NumberCounts
from beam_jobs.evaluation.drift import DriftResult, Judge, Limits
from beam_jobs.evaluation.drift_report import DriftSummary, drift_findings, make_drift_report
from beam_jobs.evaluation.paired_nll import (
    BASELINE,
    TODAY,
    KeyRows,
    PairedNll,
    PairRows,
    check_pairs,
    judge_pairs,
)
from beam_jobs.evaluation.statistics import MergeAll
from beam_jobs.jobs.job import JobPlan, job_sources, plan_job, row_identity
from beam_jobs.jobs.running import run_job
from beam_jobs.jobs.summary import AddTallies, Tally
from beam_jobs.model.saved_model import SavedModelHandler, plan_model
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import WriteRejected, at_end, create_file, naming_failures
from beam_jobs.rows import REJECTED_TAG, ReadTable
from beam_jobs.sources.input_files import find_sources
from maf_serving.answers import LOG_PROB, is_failed, reject_failed
from maf_serving.row_seeds import RowIdentity, check_key_column, draw_seeds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from apache_beam.ml.inference.base import PredictionResult
    from apache_beam.options.pipeline_options import PipelineOptions

    from beam_jobs.model.saved_model import PlannedModel
    from beam_jobs.options.judging import DriftOptions
    from beam_jobs.output.staging import StagedOutput
    from beam_jobs.sources.source import Source
    from export.contract import Contract
    from maf_serving.rejection import RejectedRows
    from maf_serving.table_formats import InputBatch
    from maf_serving.training_profile import TrainingProfile
    from maf_serving.validation import ScoreableRows

REPORT_NAME = "report.html"
_RESULT_NAME = "drift.json"
_USED_TAG = "used"


def find_drift(options: DriftOptions, pipeline_options: PipelineOptions | None = None) -> DriftSummary:
    """Compares the rows of the input with those of training; the directory `options.output` appears when all is done.

    Raises:
      UsageError: something does not fit, seen before the pipeline started.
      JobError: the pipeline failed.
    """
    return run_job(plan_drift, options, pipeline_options)


def plan_drift(options: DriftOptions) -> DriftJob:
    """Finds the model and the files, and checks that they fit. Raises `UsageError`."""
    model = plan_model(options, signature_name=LOG_PROB)
    training = model.contract.training
    if training is None or training.profile is None:
        raise UsageError(
            f"--model {options.model} does not know what its training saw: expected a version of a run that was "
            "trained with this release of maf-serving or a later one; train it again and export it"
        )
    sources = job_sources(options, model.contract)
    plan, names = _plan(options, model, sources), _input_names(model.event_columns, model.contract, options)
    if options.key_column is None:
        identity = row_identity(sources)
        return DriftJob(plan=plan, options=options, profile=training.profile, names=names, identity=identity)
    earlier = find_sources(
        options.baseline_inputs,
        input_format=options.input_format,
        dialect=options.csv,
        tensor_names=model.contract.tensor_names,
        flag="--baseline_input",
    )
    return DriftJob(
        plan=plan,
        options=options,
        profile=training.profile,
        names=names,
        identity=RowIdentity(seed=0, key_column=options.key_column),
        baseline=_plan(dataclasses.replace(options, manifest=None), model, earlier),
    )


def _plan(options: DriftOptions, model: PlannedModel, sources: tuple[Source, ...]) -> JobPlan:
    key = options.key_column
    plan = plan_job(options, model, sources, extra={} if key is None else {key: "--key_column"})
    if key is not None:
        check_key_column(key, plan.read.field(key).type, asker="--key_column")
    return plan


def _input_names(event: tuple[str, ...], contract: Contract, options: DriftOptions) -> dict[str, str]:
    """What the input calls each raw column of the model."""
    raw = [column.name for column in contract.raw_condition_columns]
    called = dict(options.rename) | dict(zip(raw, options.conditional_columns, strict=False))
    return dict(zip(contract.event_columns, event, strict=True)) | {name: called.get(name, name) for name in raw}


class DriftCounts:
    """What came in each raw column, by its name in the model, and how likely the rows are; can be merged."""

    def __init__(self, contract: Contract, profile: TrainingProfile) -> None:
        raw = {column.name: column for column in contract.raw_condition_columns}
        self.columns = {
            each.name: ColumnCounts(each, raw.get(each.name), contract.dtype)
            for each in (*profile.event, *profile.condition)
        }
        self.nll = None if profile.nll is None else NumberCounts(profile.nll.quantiles)
        self.zero_density = 0

    def add_log_prob(self, log_prob: Any) -> None:
        """Takes in log_prob `[B]` of rows that the model answers."""
        finite = np.isfinite(log_prob)
        self.zero_density += int((~finite).sum())
        if self.nll is not None:
            self.nll.add(-log_prob[finite])

    def merge(self, other: DriftCounts) -> None:
        """Takes in what another has seen."""
        for name, counts in self.columns.items():
            counts.merge(other.columns[name])
        if self.nll is not None and other.nll is not None:
            self.nll.merge(other.nll)
        self.zero_density += other.zero_density


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DriftJob:
    """A planned comparison with training; see `Job`.

    Attributes:
      plan: what was found and checked.
      options: what was asked for.
      profile: what training saw.
      names: by name of a raw column of the model, the input's.
      identity: what the noise of a row comes from, of columns that were trained with noise.
      baseline: the rows whose NLL is compared with today's, by key; `None` for none.
    """

    plan: JobPlan
    options: DriftOptions
    profile: TrainingProfile
    names: Mapping[str, str]
    identity: RowIdentity
    baseline: JobPlan | None = None

    def build(self, pipeline: beam.Pipeline, directory: str, *, threads: int | None) -> Iterable[beam.PCollection]:
        """See `Job.build`."""
        table_format = TableFormat.of(self.options)
        make = functools.partial(DriftCounts, self.plan.model.contract, self.profile)
        scored = Scored(self.plan.model, self.identity, threads=threads)
        today = pipeline | "ReadTable" >> ReadTable(self.plan, staging=directory, identity=self.identity)
        columns = today["batches"] | "CountColumns" >> beam.ParDo(CountColumns(make, self.names))
        answered = today["rows"] | "Scored" >> scored
        counted = answered | "CountNll" >> beam.ParDo(CountNll(make)).with_outputs(
            REJECTED_TAG, _USED_TAG, main="counts"
        )
        pairs = {}
        if self.baseline is not None:
            identity = self.identity
            earlier = pipeline | "ReadBaseline" >> ReadTable(self.baseline, staging=directory, identity=identity)
            pairs = self._pairs(answered, earlier, earlier["rows"] | "ScoredBaseline" >> scored)
        yield (
            (columns, counted.counts)
            | "AllCounts" >> beam.Flatten()
            | "MergeCounts" >> beam.CombineGlobally(MergeAll(make))
            | "WriteResult"
            >> beam.Map(_write_result, self.profile, self.options, FileSystems.join(directory, _RESULT_NAME), **pairs)
        )
        yield today["tally"]
        yield counted[_USED_TAG]
        rejected = {"Unreadable": today["unreadable"], "Invalid": today["invalid"], "Failed": counted[REJECTED_TAG]}
        for name, refused in rejected.items():
            yield refused | f"Write{name}" >> beam.ParDo(WriteRejected(directory, table_format))

    def _pairs(
        self, today: beam.PCollection, earlier: Mapping[str, beam.PCollection], answered: beam.PCollection
    ) -> dict[str, Any]:
        """For `_write_result`, pairs of today's rows and earlier ones, and what became of all of these."""
        key = str(self.options.key_column)
        failed = answered | "BaselineFailed" >> beam.FlatMap(_failed)
        refused = (earlier["unreadable"], earlier["invalid"], failed) | "BaselineRejected" >> beam.Flatten()
        told = refused | "BaselineReasons" >> beam.Map(_as_tally)
        tally = (earlier["tally"], told) | "BaselineTallies" >> beam.Flatten()
        paired = (
            (
                today | "KeyToday" >> beam.ParDo(KeyRows(TODAY, key)),
                answered | "KeyBaseline" >> beam.ParDo(KeyRows(BASELINE, key)),
            )
            | "BothTables" >> beam.Flatten()
            | "ByPartition" >> beam.GroupByKey()
            | "PairRows" >> beam.ParDo(PairRows(key))
            | "MergePairs" >> beam.CombineGlobally(MergeAll(PairedNll))
        )
        return {
            "paired": AsSingleton(paired),
            "baseline": AsSingleton(tally | "AddBaseline" >> beam.CombineGlobally(AddTallies())),
        }

    def check(self, tally: Tally) -> None:
        """See `Job.check`."""
        tally.check_rows(tally.rows_used, "scored")

    def read_summary(self, text: str) -> DriftSummary:
        """See `Job.read_summary`."""
        return DriftSummary.from_json(text)

    def finish(self, tally: Tally, staged: StagedOutput, common: dict[str, Any]) -> DriftSummary:  # noqa: ARG002
        """See `Job.finish`."""
        if self.baseline is not None:
            self.baseline.check_inputs()
        result = DriftResult.from_json(staged.take_text(_RESULT_NAME))
        summary = DriftSummary(
            **common,
            verdict=result.verdict,
            drifted=result.drifted,
            findings=(),
            columns=result.columns,
            nll=result.nll,
            paired=result.paired,
        )
        findings = drift_findings(result, rows_read=summary.rows_read, rows_rejected=summary.rows_rejected)
        summary = dataclasses.replace(summary, findings=tuple(f"{each.claim} {each.ground}" for each in findings))
        page = make_drift_report(
            result, findings, model=summary.model, files=summary.input_files, rows=summary.rows_read
        )
        return dataclasses.replace(summary, output_files=(staged.add_text(REPORT_NAME, page), *summary.output_files))


class Scored(beam.PTransform):  # type: ignore[misc]  # Beam is untyped here
    """`ScoreableRows` to `PredictionResult` with `log_prob`, with the noise that training added."""

    def __init__(self, model: PlannedModel, identity: RowIdentity, *, threads: int | None) -> None:
        super().__init__()
        self._model, self._identity = model, identity
        self._handler = SavedModelHandler(model.location, signature_name=LOG_PROB, shared=Shared(), threads=threads)

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Adds the steps."""
        training = self._model.contract.training
        if training is not None and training.dequantization:
            widths = [training.dequantization.get(name, 0.0) for name in self._model.contract.event_columns]
            rows = rows | "AddNoise" >> beam.Map(_with_noise, widths, self._identity)
        return rows | "Score" >> RunInference(self._handler)


def _with_noise(rows: ScoreableRows, widths: list[float], identity: RowIdentity) -> ScoreableRows:
    """The rows with the noise that training added: one draw for each row, the same in every run."""
    keys, x = identity.keys(rows), rows.inputs["x"].astype(np.float64)
    for column, width in enumerate(widths):
        if width:
            words = draw_seeds(keys, np.full(len(rows), column)).view(np.uint64)
            x[:, column] += width * (words / 2.0**64 - 0.5)
    return dataclasses.replace(rows, inputs={**rows.inputs, "x": x.astype(rows.inputs["x"].dtype)})


def _failed(result: PredictionResult) -> list[RejectedRows]:
    rejected = reject_failed(result.example.file, result.example.rows, result.inference[LOG_PROB])
    return [] if rejected is None else [rejected]


def _as_tally(rejected: RejectedRows) -> Tally:
    return Tally(rows_rejected=len(rejected), rejected_by_kind=rejected.kinds)


def _write_result(
    counts: DriftCounts,
    profile: TrainingProfile,
    options: DriftOptions,
    path: str,
    paired: PairedNll | None = None,
    baseline: Tally | None = None,
) -> Tally:
    """Writes the file; counts nothing, but whoever sums the tallies comes after it. Raises `JobError` of no pairs."""
    columns = (*profile.event, *profile.condition)
    limits = Limits(ks=options.max_ks, psi=options.max_psi, share=options.max_share_change, nll=options.max_nll_change)
    judge = Judge(len(columns) + 1 + (paired is not None), limits)
    nll = None
    if profile.nll is not None and counts.nll is not None:
        nll = judge.nll(profile.nll, counts.nll, zero_density=counts.zero_density)
    found = tuple(judge.column(each, counts.columns[each.name]) for each in columns)
    pairs = None
    if paired is not None and baseline is not None:
        check_pairs(paired, str(options.key_column))
        pairs = judge_pairs(
            paired,
            limit=limits.nll,
            tail=judge.tail,
            baseline_rows=baseline.rows_read,
            baseline_rejected=baseline.rejected_by_kind,
        )
    with naming_failures(path), create_file(path) as stream:
        stream.write(DriftResult(columns=found, nll=nll, paired=pairs).to_json().encode())
    return Tally()


class CountColumns(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`InputBatch` to one `DriftCounts` per bundle, of the columns as they were read."""

    def __init__(self, make: functools.partial[DriftCounts], names: Mapping[str, str]) -> None:
        """See the class; `names` says what the input calls each column."""
        super().__init__()
        self._make = make
        self._names = dict(names)

    def start_bundle(self) -> None:
        """Begins anew."""
        self._counts = self._make()

    def process(self, batch: InputBatch) -> None:
        """Counts one batch."""
        for name, counts in self._counts.columns.items():
            counts.add(batch.columns.column(self._names[name]))

    def finish_bundle(self) -> Iterator[object]:
        """Emits the counts."""
        yield at_end(self._counts)


class CountNll(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`PredictionResult` to one `DriftCounts` per bundle, of the NLL; rows that fail go to `REJECTED_TAG`."""

    def __init__(self, make: functools.partial[DriftCounts]) -> None:
        super().__init__()
        self._make = make
        self._rows_used = Metrics.counter("beam_jobs", "rows_counted")

    def start_bundle(self) -> None:
        """Begins anew."""
        self._counts = self._make()
        self._rows = 0

    def process(self, result: PredictionResult) -> Iterator[TaggedOutput]:
        """Counts one batch."""
        batch, log_prob = result.example, result.inference[LOG_PROB]
        rejected = reject_failed(batch.file, batch.rows, log_prob)
        if rejected is not None:
            yield TaggedOutput(REJECTED_TAG, rejected)
        answered = log_prob[~is_failed(log_prob)]
        self._counts.add_log_prob(answered)
        self._rows += len(answered)
        self._rows_used.inc(len(answered))

    def finish_bundle(self) -> Iterator[object]:
        """Emits the counts, and of how many rows they are."""
        yield at_end(self._counts)
        yield TaggedOutput(_USED_TAG, at_end(Tally(rows_used=self._rows)))
