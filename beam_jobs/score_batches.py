"""Scoring as one transform, for pipelines of your own: Arrow tables in, the same rows with their log-density out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics
from apache_beam.ml.inference.base import RunInference
from apache_beam.pvalue import TaggedOutput

from beam_jobs.errors import JobError, UsageError
from beam_jobs.jobs.score import check_endpoint, make_score_handler
from beam_jobs.model.saved_model import match_model
from beam_jobs.options.job_options import DEFAULT_BATCH_SIZE, ScoreSignature, check_at_least
from beam_jobs.rows import REJECTED_TAG
from beam_jobs.sources.input_files import check_input
from beam_jobs.sources.source import InputFile
from maf_serving.answers import REASON, RowQuestion, row_question, split_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from apache_beam.ml.inference.base import PredictionResult

    from beam_jobs.options.endpoint_options import EndpointOptions
    from maf_serving.rejection import RejectedRows
    from maf_serving.validation import ScoreableRows

_BATCH = "the batch"


class ScoredBatches(NamedTuple):
    """What `ScoreBatches` gives: every row that went in is in one of the two, once.

    Attributes:
      scored: tables of the input's columns, then `log_prob` (nats, raw units), then `z_<event column>` of `inverse`.
      rejected: tables of the input's columns, then `reason`: rows that cannot be scored.
    """

    scored: beam.PCollection
    rejected: beam.PCollection


class ScoreBatches(beam.PTransform):  # type: ignore[misc]  # Beam is untyped here
    """log p(x | c) of every row of a collection of `pyarrow.Table`s or record batches: `tables | ScoreBatches(model)`.

        >>> with beam.Pipeline() as pipeline:
        ...     tables = pipeline | beam.Create([pq.read_table("new-0.parquet")])
        ...     scored, rejected = tables | ScoreBatches("models/sales")
        ...     _ = scored | beam.Map(lambda table: print(table.num_rows, table.column_names))
        300 ['id', 'season', 'region', 'price', 'log_prob']

    The tables may come from `beam.io.ReadFromParquetBatched`, and go to `beam.io.WriteToParquetBatched`. All columns
    are carried through; those of the model are found by name. Windows and timestamps stay. The model is loaded by
    `RunInference`, once in each worker process, and called for each table, at most `batch_size` rows at a time: tables
    of thousands of rows are fast, tables of one row are not.
    """

    def __init__(
        self,
        model: str,
        *,
        signature_name: ScoreSignature = "log_prob",
        event_columns: Sequence[str] = (),
        conditional_columns: Sequence[str] = (),
        endpoint: EndpointOptions | None = None,
        batch_size: int = DEFAULT_BATCH_SIZE,
        threads: int | None = None,
    ) -> None:
        """Finds the model: a version that is exported later is not used.

        Args:
          model: a version directory or a directory of versions (the newest is taken); or a URL of one.
          signature_name: `log_prob`, or `inverse`, which gives the base-space values as well.
          event_columns: the tables' names of the event columns, in the model's order; empty where they agree.
          conditional_columns: the same for the conditional columns, raw ones where the model encodes them.
          endpoint: a model server to ask, instead of workers that load the model.
          batch_size: rows of one call, at most.
          threads: of TensorFlow in a worker process, or `None` for its own choice.

        Raises:
          UsageError: there is no such model, or it does not fit.
        """
        super().__init__()
        check_at_least("batch_size", batch_size, 1)
        self._model = match_model(
            model,
            signature_name=signature_name,
            event_columns=tuple(event_columns),
            conditional_columns=tuple(conditional_columns),
        )
        model_inputs, name = self._model.inputs, self._model.signature_name
        self._question = row_question(self._model.contract, name, inputs=model_inputs)
        self._endpoint, self._batch_size, self._threads = endpoint, batch_size, threads
        if endpoint is not None:
            check_endpoint(self._model, endpoint)

    def scored_schema(self, schema: pa.Schema) -> pa.Schema:
        """Of the scored tables, by that of the tables that go in. Raises `UsageError` if these do not serve."""
        _check_batch(schema, self._question)
        return _extend(schema, self._question.answer_schema)

    def rejected_schema(self, schema: pa.Schema) -> pa.Schema:
        """Of the rejected tables."""
        return _extend(schema, _REASONS)

    def expand(self, tables: beam.PCollection) -> ScoredBatches:
        """Adds the steps."""
        handler = make_score_handler(self._model, self._endpoint, threads=self._threads)
        check = _CheckRows(self._question, self._batch_size)
        checked = tables | "CheckRows" >> beam.ParDo(check).with_outputs(REJECTED_TAG, main="rows")
        scored = (
            checked.rows
            | "Score" >> RunInference(handler)
            | "AddScores" >> beam.ParDo(_AddScores(self._question)).with_outputs(REJECTED_TAG, main="rows")
        )
        rejected = (checked[REJECTED_TAG], scored[REJECTED_TAG]) | "AllRejected" >> beam.Flatten()
        return ScoredBatches(scored=scored.rows, rejected=rejected)


class _CheckRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """Tables to `ScoreableRows`; the other rows under `REJECTED_TAG`."""

    def __init__(self, question: RowQuestion, batch_size: int) -> None:
        super().__init__()
        self._question, self._batch_size = question, batch_size
        self._rows_read = Metrics.counter("beam_jobs", "rows_read")

    def process(self, table: pa.Table | pa.RecordBatch) -> Iterator[ScoreableRows | TaggedOutput]:
        """Splits one table. Raises `JobError` if its columns do not serve."""
        if isinstance(table, pa.RecordBatch):
            table = pa.Table.from_batches([table])
        if not isinstance(table, pa.Table):
            raise JobError(f"ScoreBatches got a {type(table).__name__}; expected tables or record batches of pyarrow")
        try:
            _check_batch(table.schema, self._question)
        except UsageError as error:
            raise JobError(str(error)) from error
        self._rows_read.inc(table.num_rows)
        for batch in table.combine_chunks().to_batches(max_chunksize=self._batch_size):
            good, rejected = split_batch(batch, 0, self._question.inputs)
            for each in rejected:
                yield _add_reasons(batch, each)
            if good is not None:
                yield dataclasses.replace(good, rows=pa.array(range(len(good))))  # their places among the good ones


class _AddScores(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`PredictionResult` to tables with the new columns; rows on which the model fails under `REJECTED_TAG`."""

    def __init__(self, question: RowQuestion) -> None:
        super().__init__()
        self._question = question
        self._rows_scored = Metrics.counter("beam_jobs", "rows_scored")

    def process(self, result: PredictionResult) -> Iterator[pa.Table | TaggedOutput]:
        """Assembles one table."""
        rows: ScoreableRows = result.example
        answers = self._question.read(rows, result.inference)
        added = self._question.answer_schema
        columns = [*rows.columns.columns, *(pa.array(answers.columns[name]) for name in added.names)]
        scored = pa.RecordBatch.from_arrays(columns, schema=_extend(rows.columns.schema, added))
        if answers.rejected is not None:
            yield _add_reasons(rows.columns, answers.rejected)
        table = pa.Table.from_batches([answers.without_failed(scored)])
        self._rows_scored.inc(table.num_rows)
        if table.num_rows:
            yield table


_REASONS = pa.schema([pa.field(REASON, pa.string(), nullable=False)])


def _add_reasons(batch: pa.RecordBatch, rejected: RejectedRows) -> TaggedOutput:
    """The rejected rows of the batch, whose numbers are their places in it."""
    chosen = batch.take(rejected.table["row"])
    Metrics.counter("beam_jobs", "rows_rejected").inc(len(rejected))
    columns: list[Any] = [*chosen.columns, rejected.table[REASON]]
    return TaggedOutput(REJECTED_TAG, pa.Table.from_arrays(columns, schema=_extend(batch.schema, _REASONS)))


def _extend(schema: pa.Schema, added: pa.Schema) -> pa.Schema:
    return pa.schema([*schema, *added], metadata=schema.metadata)


def _check_batch(schema: pa.Schema, question: RowQuestion) -> None:
    """Raises `UsageError` unless tables of that schema can be scored, and have room for the new columns."""
    inputs = question.inputs
    if not schema.names:
        raise UsageError(f"{_BATCH} has no column; the model expects: {', '.join(inputs.names)}")
    check_input(InputFile(path=_BATCH, schema=schema, units=()), inputs, vectors={})
    clashes = [name for name in (*question.answer_schema.names, REASON) if name in schema.names]
    if clashes:
        raise UsageError(f"{_BATCH} has column(s) {', '.join(clashes)}, which scoring adds; rename them before")
