"""Draws to be made for rows of conditions, a limited number at a time, each with a seed of its own."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from maf_serving.row_seeds import draw_seeds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy.typing as npt

    from maf_serving.model_inputs import RawCondition
    from maf_serving.row_seeds import Words
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
