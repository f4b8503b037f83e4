"""Writes batches of a table's rows to a flat file for each split."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from maf.dequantization import dequantized, noise_widths
from maf.standardization import RunningMoments

if TYPE_CHECKING:
    from maf.config import DataConfig

SPLITS = ("training", "validation", "test")
Array = np.ndarray[Any, Any]


class SplitWriter:
    """Three open files, and what has gone through them.

    Missing values in conditional columns are written as NaN: what becomes of them is decided when all rows are known.

    Attributes:
      directory: of the files, `training.rows` and so on.
      dtype: of the rows.
      event_size: D.
      read, dropped: rows that came, and those of them not written because of a missing or an infinite value.
      counts: rows written, by split.
      complete: rows written that have no missing value.
      moments: of the training rows without a missing value, `[D + K]`.
      nulls: missing values in training rows, by conditional column.
      code_counts: training rows with each code, by index of the conditional column; of categories alone.
    """

    def __init__(self, directory: Path, config: DataConfig, dtype: str, seed: int, categories: tuple[int, ...]) -> None:
        """`categories` are the indices of the conditional columns that hold codes."""
        num_columns = len(config.event) + len(config.condition)
        self.directory = directory
        self.dtype = np.dtype(dtype)
        self.event_size = len(config.event)
        self.read = self.dropped = self.complete = 0
        self.counts = dict.fromkeys(SPLITS, 0)
        self.moments = RunningMoments(num_columns)
        self.nulls = np.zeros(len(config.condition), np.int64)
        self.code_counts = {index: np.zeros(0, np.int64) for index in categories}
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

    def write(self, batch: Array, split: Array) -> None:
        """Appends the usable rows of `batch` `[n, D + K]` to the splits that `split` `[n]` says."""
        with np.errstate(over="ignore"):
            rows = batch.astype(self.dtype)
        x, c = rows[:, : self.event_size], rows[:, self.event_size :]
        usable = np.isfinite(x).all(axis=1) & ~np.isinf(c).any(axis=1)
        self.read += len(rows)
        self.dropped += int(len(rows) - usable.sum())
        for index, name in enumerate(SPLITS):
            chosen = rows[usable & (split == index)]
            if name != "training":  # training rows get new noise at each step
                chosen = dequantized(chosen, self._noise_widths, seed=(self._seed, index, self.read))
            self._files[name].write(chosen.tobytes())
            self.counts[name] += len(chosen)
            complete = ~np.isnan(chosen).any(axis=1)
            self.complete += int(complete.sum())
            if name == "training":
                self.moments.update(chosen[complete].astype(np.float64))
                self._count(chosen[:, self.event_size :])

    def _count(self, c: Array) -> None:
        self.nulls += np.isnan(c).sum(axis=0)
        for index, counts in self.code_counts.items():
            codes = c[:, index]
            came = np.bincount(codes[~np.isnan(codes)].astype(np.int64), minlength=len(counts))
            came[: len(counts)] += counts
            self.code_counts[index] = came
