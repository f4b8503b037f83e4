"""From rows of conditions to draws: which are asked of the model, and what becomes of its answers."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from beam_jobs.output.writing import at_end
from beam_jobs.tally import Tally
from beam_jobs.validation import REJECTED_TAG
from maf_serving.arrow_columns import carry_through
from maf_serving.draws import ask_for_draws
from maf_serving.rejection import file_column, reject
from maf_serving.row_seeds import Words, row_keys, row_keys_in_file, row_keys_of_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from apache_beam.ml.inference.base import PredictionResult

    from maf_serving.arrow_columns import Floats
    from maf_serving.draws import Draws
    from maf_serving.validation import ScoreableRows

DRAWN_TAG = "tally"
NULL_KEY = "null key"
NOT_FINITE = "not finite"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowIdentity:
    """What a row's draws depend on, beside its conditions.

    Attributes:
      seed: of the job.
      file_names: what each of several files is called, by its path; `None` for a single one, whose rows need no more
        than their number.
      key_column: the column that identifies a row instead of file and row number, or `None`.
    """

    seed: int
    file_names: Mapping[str, str] | None
    key_column: str | None

    def keys(self, batch: ScoreableRows) -> Words:
        """Keys `[B]` of the rows; no key is null."""
        if self.key_column is not None:
            values = batch.columns.column(self.key_column)
            return row_keys_of_values(self.seed, values.cast(pa.string()).to_pylist())
        rows = batch.rows.to_numpy()
        if self.file_names is None:
            return row_keys(self.seed, rows)
        return row_keys_in_file(self.seed, self.file_names[batch.file], rows)


class AskForDraws(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`ScoreableRows` to `Draws` of at most `max_draws` each, in the order of the rows.

    Rows without a key go to `REJECTED_TAG`; a `Tally` of the others to `DRAWN_TAG`. Memory: one element at a time.
    """

    def __init__(self, identity: RowIdentity, *, num_samples: int, max_draws: int, kept: tuple[str, ...]) -> None:
        super().__init__()
        self._identity = identity
        self._num_samples = num_samples
        self._max_draws = max_draws
        self._kept = list(kept)
        self._rows_used = 0

    def start_bundle(self) -> None:
        """Begins to count."""
        self._rows_used = 0

    def process(self, batch: ScoreableRows) -> Iterator[Draws | TaggedOutput]:
        """Asks for all draws of the rows of a batch."""
        key_column = self._identity.key_column
        if key_column is not None and batch.columns.column(key_column).null_count:
            null = batch.columns.column(key_column).is_null()
            reasons = [f"{key_column}: {NULL_KEY}"] * null.true_count
            yield TaggedOutput(
                REJECTED_TAG, reject(batch.file, batch.rows.filter(null), reasons, {NULL_KEY: null.true_count})
            )
            batch = batch.filter(~null.to_numpy(zero_copy_only=False))
        self._rows_used += len(batch)
        yield from ask_for_draws(
            batch,
            self._identity.keys(batch),
            num_samples=self._num_samples,
            max_draws=self._max_draws,
            kept=self._kept,
        )

    def finish_bundle(self) -> Iterator[TaggedOutput]:
        """Says how many rows were drawn for."""
        if self._rows_used:
            yield TaggedOutput(DRAWN_TAG, at_end(Tally(rows_used=self._rows_used)))


class ToDrawnRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`PredictionResult` of `Draws` to a record batch of the schema; draws that are not finite go to `REJECTED_TAG`."""

    def __init__(self, schema: pa.Schema) -> None:
        super().__init__()
        self._schema = schema

    def process(self, result: PredictionResult) -> Iterator[pa.RecordBatch | TaggedOutput]:
        """Assembles one batch."""
        draws: Draws = result.example
        x: Floats = result.inference["x"]
        log_prob: Floats = result.inference["log_prob"]
        columns = [file_column(draws.file, len(draws)), draws.rows, pa.array(draws.numbers)]
        kept = list(self._schema)[len(columns) : len(columns) + draws.columns.num_columns]
        columns += [carry_through(draws.columns.column(field.name), field.type) for field in kept]
        columns += [*(pa.array(dimension) for dimension in x.T), pa.array(log_prob)]
        drawn = pa.RecordBatch.from_arrays(columns, schema=self._schema)
        failed = ~(np.isfinite(x).all(axis=1) & np.isfinite(log_prob))
        if failed.any():
            reasons = [f"draw {number}: {NOT_FINITE}" for number in draws.numbers[failed]]
            refused = draws.rows.filter(pa.array(failed))
            yield TaggedOutput(REJECTED_TAG, reject(draws.file, refused, reasons, {NOT_FINITE: len(reasons)}))
            drawn = drawn.filter(pa.array(~failed))
        if drawn.num_rows:
            yield drawn
