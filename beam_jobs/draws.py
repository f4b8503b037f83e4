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
from maf_serving.rejection import file_column, reject
from maf_serving.row_seeds import Words, draw_seeds, row_keys, row_keys_in_file, row_keys_of_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt
    from apache_beam.ml.inference.base import PredictionResult

    from maf_serving.arrow_columns import Floats
    from maf_serving.model_inputs import RawCondition
    from maf_serving.validation import ScoreableRows

DRAWN_TAG = "tally"
NULL_KEY = "null key"
NOT_FINITE = "not finite"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """Draws to be made, each for a row of one file.

    Attributes:
      file: path of the file.
      rows: row number of each draw; int64 `[B]`.
      numbers: number of each draw within its row, from 0; int64 `[B]`.
      inputs: of the signature, `[B, ...]` each, the seeds among them.
      columns: columns to carry through, of B rows.
      condition: see `ScoreableRows`.
    """

    file: str
    rows: pa.Int64Array
    numbers: npt.NDArray[np.int64]
    inputs: Mapping[str, npt.NDArray[np.generic]]
    columns: pa.RecordBatch
    condition: RawCondition | None = None

    def __len__(self) -> int:
        return len(self.rows)


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
        keys = self._identity.keys(batch)
        kept = batch.columns.select(self._kept)
        total = len(batch) * self._num_samples
        for start in range(0, total, self._max_draws):
            flat = np.arange(start, min(start + self._max_draws, total))
            index, numbers = np.divmod(flat, self._num_samples)
            inputs = {name: tensor[index] for name, tensor in batch.inputs.items()}
            yield Draws(
                file=batch.file,
                rows=batch.rows.take(pa.array(index)),
                numbers=numbers,
                inputs={**inputs, "seed": draw_seeds(keys[index], numbers)},
                columns=kept.take(pa.array(index)),
                condition=None if batch.condition is None else batch.condition.repeat(index),
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
        columns += [draws.columns.column(field.name).cast(field.type) for field in kept]
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
