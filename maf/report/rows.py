"""The rows that a report needs: moments of the training rows, and a sample of the test rows."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from maf.errors import DataError
from maf.observers import reading_progress
from maf.rows import RowEncoder, Rows, split_table
from maf_serving.moments import Covariances
from maf_serving.weights import effective_rows, sample_rows

if TYPE_CHECKING:
    from maf.config import DataConfig
    from maf.report.options import ReportOptions
    from maf.run_directory import RunSummary

Array = np.ndarray[Any, Any]
CHUNK_ROWS = 65_536
CHUNK_NUMBERS = 2**24


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReportRows:
    """Rows with event columns first, then conditional ones; raw units, float64.

    Attributes:
      x: `[N, D]` of the test rows looked at.
      c: `[N, K]` of the same rows, the raw columns of the condition as in `RowEncoder`.
      test_rows: how many test rows there are.
      dropped: rows of the tables left out because a value was missing, NaN or infinite.
      weights: `[N]`, how much each counts in means and shares; `None` where all count alike.
      training: moments of the training rows `[D + C]`, with the condition encoded.
      logarithmic: indices of the event columns that the model has on a log scale.
      scaled: the same moments, of the logarithm of these columns.
      condition: encodes the condition; `None` where all its columns are plain numbers.
    """

    x: Array
    c: Array
    test_rows: int
    dropped: int
    training: Covariances
    scaled: Covariances
    logarithmic: tuple[int, ...] = ()
    condition: RowEncoder | None = None
    weights: Array | None = None

    @property
    def effective_rows(self) -> float | None:
        """As how many rows of equal weight these tell; `None` where all count alike."""
        return None if self.weights is None else effective_rows(self.weights)

    def counted_alike(self) -> ReportRows:
        """As many rows, each about as often as its weight says, which count alike: for what shows single rows."""
        if self.weights is None:
            return self
        reached = np.cumsum(self.weights) / self.weights.sum()
        places = np.searchsorted(reached, (np.arange(len(self.x)) + 0.5) / len(self.x))
        return dataclasses.replace(self, x=self.x[places], c=self.c[places], weights=None)

    def on_scale(self, x: Array) -> Array:
        """`x` `[n, D]` with the logarithm in place of the columns that the model has on a log scale."""
        return _on_scale(x, self.logarithmic)

    @property
    def at_once(self) -> int:
        """How many rows to encode at a time."""
        return max(1, CHUNK_NUMBERS // max(1, len(self.training.mean)))

    def encoded(self, c: Array) -> Array:
        """`[n, C]` of some rows of `c`."""
        return encode(self.condition, c)


def encode(condition: RowEncoder | None, c: Array) -> Array:
    """`conditional_input` `[n, C]` of raw columns `[n, K]`, in NumPy."""
    if condition is None:
        return c
    encoded: Array = condition.encode(tf.constant(c)).numpy()
    return encoded


def read_report_rows(
    options: ReportOptions,
    data: DataConfig,
    summary: RunSummary,
    *,
    dtype: str,
    seed: int,
    logarithmic: tuple[int, ...],
) -> ReportRows:
    """Reads the run's table again, split as it was for training, and the test rows asked for.

    Args:
      options: of the report.
      data: of the run: its files and columns.
      summary: of the run: how many rows it had.
      dtype: of the run's rows.
      seed: of the run's split.
      logarithmic: indices of the event columns that the model has on a log scale.

    Raises:
      DataError: if a table cannot be read, is not the one of the run any more, or there are no test rows.
    """
    event_size = len(data.event)
    with _split(options, data, dtype, seed) as rows:
        came = (len(rows.training), len(rows.validation), len(rows.test))
        expected = (summary.training_rows, summary.validation_rows, summary.test_rows)
        if not options.test and came != expected:
            raise DataError(
                f"{', '.join(data.data)} is split into {came[0]:,} training, {came[1]:,} validation and "
                f"{came[2]:,} test rows, for the run it was {expected[0]:,}, {expected[1]:,} and {expected[2]:,}: "
                "the table has changed; name test rows of their own with --test_input"
            )
        if not len(rows.test):
            raise DataError(f"run {options.run} held out no test rows; name some with --test_input")
        rng = np.random.default_rng(options.seed)
        chosen, weights = sample_rows(len(rows.test), options.max_rows, rows.weights_of("test"), rng)
        sample = np.asarray(rows.test[chosen], np.float64)
        training = _moments(rows, rows.standardization.event_scale)
        return ReportRows(
            x=sample[:, :event_size],
            c=sample[:, event_size:],
            test_rows=len(rows.test),
            dropped=rows.dropped,
            training=training,
            scaled=_scaled_moments(rows, event_size, logarithmic, training),
            logarithmic=logarithmic,
            condition=rows.condition,
            weights=weights,
        )


@contextlib.contextmanager
def _split(options: ReportOptions, data: DataConfig, dtype: str, seed: int) -> Iterator[Rows]:
    data = dataclasses.replace(data, test_data=options.test) if options.test else data
    with tempfile.TemporaryDirectory() as directory, reading_progress() as on_rows:
        try:
            rows = split_table(data, Path(directory) / "rows", dtype=dtype, seed=seed, on_rows=on_rows)
        except DataError as error:
            raise DataError(f"run {options.run} and its test rows cannot be read again: {error}") from error
        yield rows


def _moments(rows: Rows, event_scale: Array) -> Covariances:
    """Of rows as the model learns them: dequantisation adds noise to event columns, so their scale is larger."""
    event_size = len(event_scale)
    moments = _sums(rows, event_size, ())
    moments.noise[:event_size] = np.maximum(event_scale**2 - moments.deviation[:event_size] ** 2, 0)
    return moments


def _scaled_moments(rows: Rows, event_size: int, logarithmic: tuple[int, ...], training: Covariances) -> Covariances:
    """The same where some columns are on a log scale; those with noise never are."""
    if not logarithmic:
        return training
    moments = _sums(rows, event_size, logarithmic)
    moments.noise[:] = training.noise
    moments.noise[list(logarithmic)] = 0
    return moments


def _sums(rows: Rows, event_size: int, logarithmic: tuple[int, ...]) -> Covariances:
    """Moments of the training rows, by their weights if they have any."""
    training, weights = rows.training, rows.weights_of("training")
    size = event_size + encode(rows.condition, np.asarray(training[:1, event_size:], np.float64)).shape[1]
    moments = Covariances(size)
    step = max(1, min(CHUNK_ROWS, CHUNK_NUMBERS // size))
    for start in range(0, len(training), step):
        chunk = np.asarray(training[start : start + step], np.float64)
        event, encoded = _on_scale(chunk[:, :event_size], logarithmic), encode(rows.condition, chunk[:, event_size:])
        counting = None if weights is None else np.asarray(weights[start : start + step], np.float64)
        moments.add(np.concatenate([event, encoded], axis=1), counting)
    return moments


def _on_scale(x: Array, logarithmic: tuple[int, ...]) -> Array:
    if not logarithmic:
        return x
    scaled = np.array(x, np.float64)
    scaled[:, list(logarithmic)] = np.log(scaled[:, list(logarithmic)])
    return scaled
