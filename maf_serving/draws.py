"""Draws for rows of conditions, a limited number at a time, each with a seed of its own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from maf_serving.answers import LOG_PROB, NOT_FINITE, REASON, ROWS_AT_A_TIME, Answered, Reasons, split_batch
from maf_serving.model_inputs import encode_rows
from maf_serving.rejection import reject
from maf_serving.row_seeds import draw_seeds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from maf_serving.answers import Run
    from maf_serving.model_inputs import Arrays, ModelInputs, RawCondition
    from maf_serving.row_seeds import Identity, Words
    from maf_serving.validation import ScoreableRows


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


def ask_for_draws(
    batch: ScoreableRows, keys: Words, *, num_samples: int, max_draws: int, kept: Sequence[str] = ()
) -> Iterator[Draws]:
    """All draws of the rows of a batch, in the order of the rows.

    Args:
      batch: B rows of conditions.
      keys: what the seeds of each row's draws come from, `[B]`; see `row_seeds.py`.
      num_samples: draws for each row.
      max_draws: draws asked for at a time.
      kept: names of the columns to carry through.
    """
    columns = batch.columns.select(list(kept))
    total = len(batch) * num_samples
    for start in range(0, total, max_draws):
        index, numbers = np.divmod(np.arange(start, min(start + max_draws, total)), num_samples)
        inputs = {name: tensor[index] for name, tensor in batch.inputs.items()}
        yield Draws(
            file=batch.file,
            rows=batch.rows.take(pa.array(index)),
            numbers=numbers,
            inputs={**inputs, "seed": draw_seeds(keys[index], numbers)},
            columns=columns.take(pa.array(index)),
            condition=None if batch.condition is None else batch.condition.repeat(index),
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DrawQuestion:
    """Draws for each row of conditions.

    Attributes:
      inputs: the columns of the condition.
      event_columns: names of the columns of a draw.
      num_samples: S, draws for each row.
      identity: what the seeds are made of: draw n of a row depends on it, on n and the row's condition alone.
      kept: columns of the input to carry through, with their types.
      draws_at_a_time: of one call, at most.
    """

    inputs: ModelInputs
    event_columns: tuple[str, ...]
    num_samples: int
    identity: Identity
    kept: pa.Schema
    draws_at_a_time: int = ROWS_AT_A_TIME
    signature_name: ClassVar[str] = "sample_with_seed"

    @property
    def answer_schema(self) -> pa.Schema:
        """Of a draw: `draw`, what is kept, the event columns and `log_prob`."""
        number = pa.from_numpy_dtype(self.inputs.dtype)
        drawn = [pa.field(name, number, nullable=False) for name in (*self.event_columns, LOG_PROB)]
        return pa.schema([pa.field("draw", pa.int64(), nullable=False), *self.kept, *drawn])

    @property
    def schema(self) -> pa.Schema:
        """Of what `ask` gives: `row`, the columns of a draw, and `reason`, text."""
        draw = [(field.name, field.type) for field in self.answer_schema]
        return pa.schema([("row", pa.int64()), *draw, (REASON, pa.string())])

    @property
    def rows_at_a_time(self) -> int:
        """As many as have no more draws than are asked for at a time; one at least."""
        return max(1, self.draws_at_a_time // self.num_samples)

    def asked(self, rows: ScoreableRows) -> Iterator[Draws]:
        """All draws of the rows, so many at a time, with what is kept."""
        return ask_for_draws(
            rows,
            self.identity.keys(rows),
            num_samples=self.num_samples,
            max_draws=self.draws_at_a_time,
            kept=self.kept.names,
        )

    def read(self, asked: Draws, outputs: Arrays) -> Answered:
        """The draws `[B]` as columns; one that is not finite is refused."""
        x, log_prob = outputs["x"], outputs[LOG_PROB]
        columns = {"draw": asked.numbers, **dict(zip(self.event_columns, x.T, strict=True)), LOG_PROB: log_prob}
        failed = ~(np.isfinite(x).all(axis=1) & np.isfinite(log_prob))
        if not failed.any():
            return Answered(columns=columns)
        reasons = [f"draw {number}: {NOT_FINITE}" for number in asked.numbers[failed]]
        rows = asked.rows.filter(pa.array(failed))
        rejected = reject(asked.file, rows, reasons, {NOT_FINITE: len(reasons)})
        return Answered(columns=columns, failed=failed, rejected=rejected)

    def ask(self, batch: pa.RecordBatch, run: Run, *, first_row: int = 0) -> pa.RecordBatch:
        """The draws `[B S]` for the rows `[B]` of a batch, those of a row together.

        A draw for a row that cannot be used, and one that is not finite, has null in the drawn columns and a reason.

        Args:
          batch: the columns of the condition, by name, those to keep, and any others.
          run: runs a signature.
          first_row: number of the first row.
        """
        good, rejected = split_batch(batch, first_row, self.inputs, self.identity)
        reasons = Reasons(batch.num_rows, first_row)
        reasons.add(*rejected)
        draws = batch.num_rows * self.num_samples
        columns = {name: np.zeros(draws, self.inputs.dtype) for name in (*self.event_columns, LOG_PROB)}
        missing = np.repeat(reasons.missing, self.num_samples)
        texts = reasons.texts(self.num_samples)
        for asked in self.asked(good) if good is not None else ():
            answers = self.read(asked, run(self.signature_name, encode_rows(asked, run).inputs))
            places = (asked.rows.to_numpy() - first_row) * self.num_samples + asked.numbers
            for name, column in columns.items():
                column[places] = answers.columns[name]
            if answers.failed is not None and answers.rejected is not None:
                missing[places[answers.failed]] = True
                texts[places[answers.failed]] = answers.rejected.table[REASON].to_pylist()
        index, numbers = np.divmod(np.arange(draws), self.num_samples)
        kept = [batch.column(field.name).cast(field.type).take(pa.array(index)) for field in self.kept]
        drawn = [pa.array(column, mask=missing) for column in columns.values()]
        arrays = [pa.array(index + first_row), pa.array(numbers), *kept, *drawn, pa.array(texts, pa.string())]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)
