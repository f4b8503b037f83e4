"""Rows of a table as they are read, on their way to a flat file for each split."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from maf.standardization import dequantized, noise_widths
from maf_serving.moments import Moments

if TYPE_CHECKING:
    from maf.config import DataConfig

Array = np.ndarray[Any, Any]
SPLITS = ("training", "validation", "test")
FINE_STEPS = 4_096  # of the model's type in a column's deviation; a conditional column with fewer gets an offset
MOST_DEVIATIONS = 8  # between the smallest and the largest value of many rows
WHOLE = 2  # over a type's epsilon: up to there it has all whole numbers


class SplitWriter:
    """Three open files, and what has gone through them.

    Missing values in conditional columns are written as NaN: what becomes of them is decided when all rows are known.
    So are offsets: where the first rows have a conditional column that the model's type may not tell apart, all rows
    are written in float64; points in time, which are seconds since 1970, always are. Offsets that are known, of a run
    whose rows are read again, are taken off at once.

    Attributes:
      directory: of the files, `training.rows` and so on.
      model_dtype: of the rows once they are settled.
      is_wide: whether they are written in float64 though that is another.
      event_size: D.
      read, dropped: rows that came, and those of them not written because of a missing or an infinite value.
      counts: rows written, by split.
      complete: rows written that have no missing value.
      moments: of the training rows without a missing value, `[D + K]`.
      lowest, highest: values of the training rows as they were read, in float64, `[D + K]`.
      numbers: if rows are wide, moments of each conditional column in training rows, of what is not missing.
      is_rounded: if rows are wide, which conditional columns have a value there that is none of the model's type.
      nulls: missing values in training rows, by conditional column.
      knows_offsets: whether offsets are taken off already.
      has_weights: whether the files have a column of weights after the others.
      times: indices of the conditional columns that are points in time.
      code_counts: training rows with each code, by index of the conditional column; of categories alone.
    """

    def __init__(
        self,
        directory: Path,
        config: DataConfig,
        dtype: str,
        seed: int,
        *,
        categories: tuple[int, ...],
        times: tuple[int, ...] = (),
    ) -> None:
        """`categories` are the indices of the conditional columns that hold codes, `times` those of points in time."""
        num_columns = len(config.event) + len(config.condition)
        self.directory = directory
        self.model_dtype = np.dtype(dtype)
        self.times = times
        self.has_weights = config.weight is not None
        self._weight = config.weight
        self._weights = Moments(1)
        self.is_wide = bool(times)
        self.knows_offsets = config.condition_columns is not None
        self.event_size = len(config.event)
        self.read = self.dropped = self.complete = 0
        self.counts = dict.fromkeys(SPLITS, 0)
        self.moments = Moments(num_columns)
        self.lowest = np.full(num_columns, np.inf)
        self.highest = np.full(num_columns, -np.inf)
        self.nulls = np.zeros(len(config.condition), np.int64)
        self.code_counts = {index: np.zeros(0, np.int64) for index in categories}
        self.numbers = [Moments(1) for _ in config.condition]
        self.is_rounded = np.zeros(len(config.condition), bool)
        self._offsets = [column.offset for column in config.condition_columns or ()]
        self._noise_widths = noise_widths(config)
        self._seed = seed
        self._files: dict[str, IO[bytes]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> SplitWriter:
        for split in SPLITS:
            self._files[split] = self._stack.enter_context((self.directory / f"{split}.rows").open("wb"))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, batch: Array, split: Array, weights: Array | None = None) -> None:
        """Appends the usable rows of `batch` `[n, D + K]` to the splits that `split` `[n]` says; below 0 is none.

        Weights `[n]`, if rows have some, are a column after the others.
        """
        if any(self._offsets):
            batch = np.array(batch)
            batch[:, self.event_size :] -= self._offsets
        with np.errstate(over="ignore"):
            narrow = batch.astype(self.model_dtype)
        if not self.read and not self._offsets and not self.is_wide:
            self.is_wide = self._is_in_doubt(batch, narrow)
        rows = batch if self.is_wide else narrow
        x, c = narrow[:, : self.event_size], narrow[:, self.event_size :]
        usable = np.isfinite(x).all(axis=1) & ~np.isinf(c).any(axis=1) & (split >= 0)
        self.read += len(rows)
        self.dropped += int(len(rows) - usable.sum())
        for index, name in enumerate(SPLITS):
            mine = usable & (split == index)
            chosen, counting = rows[mine], None if weights is None else weights[mine]
            if name != "training":  # training rows get new noise at each step
                chosen = dequantized(chosen, self._noise_widths, seed=(self._seed, index, self.read))
            self._files[name].write(_beside(chosen, counting).tobytes())
            self.counts[name] += len(chosen)
            complete = ~np.isnan(chosen).any(axis=1)
            self.complete += int(complete.sum())
            if name == "training":
                self.moments.add(chosen[complete], None if counting is None else counting[complete])
                exact = batch[mine]
                if counting is not None:
                    self._weights.add(counting[:, np.newaxis])
                self.lowest = np.fmin(self.lowest, np.fmin.reduce(exact, axis=0, initial=np.inf))
                self.highest = np.fmax(self.highest, np.fmax.reduce(exact, axis=0, initial=-np.inf))
                self._count(chosen[:, self.event_size :])
                if self.is_wide:
                    self._measure(chosen[:, self.event_size :])

    def describe_weights(self, left_out: int) -> Iterator[str]:
        """A line on the weights of the training rows, if they have some; `left_out` rows of the table have weight 0."""
        if self._weight is None or not self._weights.count:
            return
        mean, deviation = float(self._weights.mean[0]), float(self._weights.scale[0])
        rows, equal = self._weights.count, self._weights.count / (1 + (deviation / mean) ** 2)
        zero = f"; {left_out:,} rows of weight 0 are left out" if left_out else ""
        least, most = float(self._weights.minimum[0]), float(self._weights.maximum[0])
        yield (
            f"column {self._weight!r}: weights from {least:g} to {most:g}, so that {rows:,} training rows tell as "
            f"much as {equal:,.0f} of equal weight{zero}"
        )

    def _is_in_doubt(self, batch: Array, narrow: Array) -> bool:
        """Whether the model's type may not tell the values of a conditional column apart, by the first rows."""
        for index in range(self.event_size, batch.shape[1]):
            known = np.isfinite(narrow[:, index])
            if index - self.event_size in self.code_counts or not known.any():
                continue
            values = batch[known, index]
            least, most = values.min(), values.max()
            farthest = max(-least, most)
            is_exact = (
                bool((values == narrow[known, index]).all()) and farthest <= WHOLE / np.finfo(self.model_dtype).eps
            )
            if not is_exact and most - least < MOST_DEVIATIONS * FINE_STEPS * type_step(farthest, self.model_dtype):
                return True
        return False

    def _measure(self, c: Array) -> None:
        for index, moments in enumerate(self.numbers):
            values = c[~np.isnan(c[:, index]), index, np.newaxis]
            moments.add(values)
            self.is_rounded[index] |= bool((values != values.astype(self.model_dtype)).any())

    def _count(self, c: Array) -> None:
        self.nulls += np.isnan(c).sum(axis=0)
        for index, counts in self.code_counts.items():
            codes = c[:, index]
            came = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(counts))
            came[: len(counts)] += counts
            self.code_counts[index] = came


def _beside(rows: Array, weights: Array | None) -> Array:
    return rows if weights is None else np.column_stack([rows, weights.astype(rows.dtype)])


def type_step(value: float, dtype: Any) -> float:
    """Between a number of that size and the next, in a type."""
    with np.errstate(over="ignore"):
        return float(np.spacing(np.asarray(value).astype(dtype)))
