"""The part of a conditional flow that looks at the condition alone: standardised numbers, quantile bins, categories."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras

from maf_serving.time_parts import TREND, encode_time

if TYPE_CHECKING:
    from maf.standardization import Standardization
    from maf_serving.columns import ConditionColumn

FARTHEST = 8.0  # deviations; what lies beyond does not drown the other columns
Array = np.ndarray[Any, Any]
MOST_ROWS = 200_000  # enough for quantiles
MAGNITUDES = (1.0, 10.0, 100.0)  # one over the deviations where a projection's logarithmic scales begin


@dataclasses.dataclass(slots=True)
class _Pass:
    """How the encoder is being asked: an object of its own, so that TensorFlow does not track what is in it."""

    encoded: list[tuple[tf.Tensor, tf.Tensor]] | None = None
    dropout: float = 0.0
    random_bytes: tf.Tensor | None = None


class ConditionEncoder(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Standardises raw conditional columns and encodes them with a dense network, `[B, C]` to `[B, E]`.

    Two reasons to have one. Raw columns of any unit may come in: mean and standard deviation are part of the model.
    And TFP's `AutoregressiveNetwork` has no hidden unit that only the condition reaches, so that the parameters of the
    first event column, the only one if there is one, are linear in its `conditional_input`: what is not linear has to
    happen before it.

    With `bins` the network sees each number twice: standardised, and where it lies in each of its quantile bins.
    Columns that are 0 or 1, of which a category brings many, need no bins.
    With `num_projections` it also sees learnt linear functions u of the standardised columns, on the scales
    `sign(u) log(1 + |s u|) / log(1 + s)`, s = 1, 10, 100. What columns say together is often how far they are apart, by
    its magnitude: the scatter of points of which each coordinate is a column. A rectified unit finds no magnitudes.
    With `num_regressions` the last entries of the encoding are linear functions of the standardised columns, which are
    set before training and not trained: what a line predicts of each event column need not be learnt.
    All layers of a flow share one encoder.

    Attributes:
      loc, scale: `[C]`, mean and standard deviation of the conditional columns, not trained.
      bin_low, bin_rate: `[Kn, T]`, the bins of the numbers among the columns, not trained; `None` without.
      number_columns: which columns these are.
      projected_columns, projection: which columns they are of, and the linear functions `[P, M]`; `None` without.
      regression_kernel, regression_bias: `[C, R]` and `[R]`, of these functions; not trained.
      num_hidden: number of hidden units, of all layers.
      layers: dense layers, `condition_units` wide; without any the encoder only standardises.
    """

    def __init__(
        self,
        loc: np.ndarray[Any, Any],
        scale: np.ndarray[Any, Any],
        units: Sequence[int],
        *,
        activation: str,
        dtype: str,
        kernel_initializer: Any,
        bins: ConditionBins | None = None,
        number_columns: Sequence[int] | None = None,
        num_projections: int = 0,
        projected_columns: Sequence[int] | None = None,
        num_regressions: int = 0,
    ) -> None:
        super().__init__(name="condition_encoder")
        self.loc = tf.Variable(loc, dtype=dtype, trainable=False, name="condition_loc")
        self.scale = tf.Variable(scale, dtype=dtype, trainable=False, name="condition_scale")
        self.number_columns = tuple(range(len(loc))) if number_columns is None else tuple(number_columns)
        self.bin_low = self.bin_rate = None
        size = len(loc)
        if bins is not None:
            self.bin_low = tf.Variable(bins.low, dtype=dtype, trainable=False, name="condition_bin_low")
            self.bin_rate = tf.Variable(bins.rate, dtype=dtype, trainable=False, name="condition_bin_rate")
            size += bins.low.size
        self.projection = None
        self.projected_columns = self.number_columns if projected_columns is None else tuple(projected_columns)
        if num_projections and self.projected_columns:
            shape = (len(self.projected_columns), num_projections)
            self.projection = tf.Variable(kernel_initializer(shape, dtype), name="projection")
            size += len(MAGNITUDES) * num_projections
        self.layers = [
            tf_keras.layers.Dense(n, activation, kernel_initializer=kernel_initializer, dtype=dtype) for n in units
        ]
        self._num_features = size
        for layer in self.layers:
            layer.build([None, size])
            size = layer.units
        self.regression_kernel = self.regression_bias = None
        if num_regressions:
            shape = (len(loc), num_regressions)
            self.regression_kernel = tf.Variable(tf.zeros(shape, dtype), trainable=False, name="regression")
            self.regression_bias = tf.Variable(tf.zeros(shape[1:], dtype), trainable=False, name="regression_bias")
        self.output_size = size + num_regressions
        self.num_hidden = sum(units)
        self._pass = _Pass()

    def __call__(self, conditional_input: tf.Tensor) -> tf.Tensor:
        """Raw `conditional_input` `[..., C]` to its encoding `[..., E]`."""
        for known, encoding in self._pass.encoded or ():
            if known is conditional_input:
                return encoding
        encoding, first = self._features(conditional_input), 0
        for layer in self.layers:
            encoding = self._drop(layer(encoding), first)
            first += layer.units
        if self.regression_kernel is not None:
            predictions = self.standardized(conditional_input) @ self.regression_kernel + self.regression_bias
            encoding = tf.concat([encoding, predictions], axis=-1)
        if self._pass.encoded is not None:
            self._pass.encoded.append((conditional_input, encoding))
        return encoding

    def standardized(self, conditional_input: tf.Tensor) -> tf.Tensor:
        """`conditional_input` `[..., C]` in deviations, as the regressions take it: none is drowned by what is far."""
        return tf.clip_by_value((conditional_input - self.loc) / self.scale, -FARTHEST, FARTHEST)

    @contextlib.contextmanager
    def encoding_once(self) -> Iterator[None]:
        """While it is open, a tensor that comes again is answered from memory: every layer of a flow asks the same."""
        before = self._pass
        self._pass = dataclasses.replace(before, encoded=[])
        try:
            yield
        finally:
            self._pass = before

    @contextlib.contextmanager
    def dropping(self, share: float, random_bytes: tf.Tensor) -> Iterator[None]:
        """While it is open, this share of the hidden units is left out.

        Args:
          share: in steps of 1/256.
          random_bytes: uint8 `[B, sum(units)]`. They come from outside because XLA on a CPU fuses a random generator
            into the product that follows, and draws again for each of its terms.
        """
        before = self._pass
        self._pass = _Pass(dropout=share, random_bytes=random_bytes)
        try:
            yield
        finally:
            self._pass = before

    def _features(self, conditional_input: tf.Tensor) -> tf.Tensor:
        standard = (conditional_input - self.loc) / self.scale
        if self.bin_low is None and self.projection is None:
            return standard
        near = standard * tf.math.rsqrt(1 + tf.square(standard / FARTHEST))
        features = [near]
        if self.bin_low is not None:
            numbers = conditional_input
            if len(self.number_columns) < self.loc.shape[0]:
                numbers = tf.gather(conditional_input, self.number_columns, axis=-1)
            shares = (numbers[..., tf.newaxis] - self.bin_low) * self.bin_rate
            flat = tf.concat([tf.shape(conditional_input)[:-1], [self.bin_low.shape.num_elements()]], axis=0)
            features.append(tf.reshape(tf.clip_by_value(shares, 0, 1), flat))
        if self.projection is not None:
            if len(self.projected_columns) < self.loc.shape[0]:
                near = tf.gather(near, self.projected_columns, axis=-1)
            projected = near @ self.projection
            features += [tf.sign(projected) * tf.math.log1p(s * abs(projected)) / np.log1p(s) for s in MAGNITUDES]
        joined = tf.concat(features, axis=-1)
        return tf.ensure_shape(joined, [*conditional_input.shape[:-1], self._num_features])

    def _drop(self, units: tf.Tensor, first: int) -> tf.Tensor:
        """`units` `[B, n]` without those that the random bytes from column `first` on leave out."""
        if self._pass.random_bytes is None:
            return units
        dropped = round(256 * self._pass.dropout)
        kept = self._pass.random_bytes[:, first : first + units.shape[-1]] >= dropped
        return tf.where(kept, units * (256 / (256 - dropped)), tf.zeros_like(units))


@dataclasses.dataclass(frozen=True, slots=True)
class ConditionBins:
    """Where each conditional column has its bins, in raw units.

    Bin t of column j encodes `c` as `clip((c_j - low_jt) * rate_jt, 0, 1)`: 0 below the bin, 1 above, linear inside
    (Gorishniy et al. 2022, section 3.1). A dense layer on top is piecewise linear in `c` with a slope of its own in
    each bin, which is what tables with steps, thresholds and skewed columns need; outside of the training rows' range
    it is constant.

    Reference: https://arxiv.org/abs/2203.05556

    Attributes:
      low: `[C, T]`, where the bins begin; of the columns that are numbers.
      rate: `[C, T]`, one over their widths; 0 for a bin that a column has no use for.
    """

    low: Array
    rate: Array

    @classmethod
    def fit(cls, columns: Array, num_bins: int) -> ConditionBins:
        """Bins of about equally many of the rows `columns` `[N, C]`; fewer for a column with few distinct values.

        NaN is no value.
        """
        sample = np.asarray(columns[:: -(-len(columns) // MOST_ROWS)], np.float64)
        shares = np.linspace(0, 1, num_bins + 1)
        known = [values[~np.isnan(values)] for values in sample.T]
        # of a column without values in the sample there is nothing to divide
        knots = [np.quantile(v, shares, method="inverted_cdf") if len(v) else np.zeros(1) for v in known]
        return cls._between(knots, num_bins)

    @classmethod
    def normal(
        cls, standardization: Standardization, num_bins: int, columns: Sequence[int] | None = None
    ) -> ConditionBins:
        """Bins for normal columns of that mean and deviation, where there are no rows to fit to; `None` for all."""
        shares = np.linspace(0, 1, num_bins + 3)[1:-1]
        quantiles = np.array([NormalDist().inv_cdf(share) for share in shares])
        chosen = slice(None) if columns is None else list(columns)
        loc, scale = standardization.condition_loc[chosen], standardization.condition_scale[chosen]
        return cls._between(list(loc[:, None] + scale[:, None] * quantiles), num_bins)

    @classmethod
    def _between(cls, knots: list[Array], num_bins: int) -> ConditionBins:
        low, rate = np.zeros((len(knots), num_bins)), np.zeros((len(knots), num_bins))
        for column, values in enumerate(knots):
            distinct = np.unique(values)
            low[column, : len(distinct) - 1] = distinct[:-1]
            rate[column, : len(distinct) - 1] = 1 / np.diff(distinct)
        return cls(low, rate)


def condition_encoders(distribution: Any) -> list[ConditionEncoder]:
    """The encoders in `distribution`: one if it is of `build_flow` and conditional."""
    return [module for module in distribution.submodules if isinstance(module, ConditionEncoder)]


def number_or_time(column: ConditionColumn, value: tf.Tensor, null: tf.Tensor, usual: tf.Tensor) -> tf.Tensor:
    """The entries `[B, ...]` of a number or a point in time, its null apart.

    Args:
      column: that it is.
      value: `[B]`, without the column's offset; float64 if it is a point in time.
      null: where there is none, `[B]`.
      usual: what stands for the number there; the angles of a point in time have none, and are at the circle's centre.
    """
    if not column.is_time:
        return tf.where(null, usual, value)[:, tf.newaxis]
    entries = encode_time(tf.where(null, tf.zeros_like(value), value), column.parts, column.offset, tf)
    middle = [tf.zeros_like(usual)] * 2
    stand_ins = [each for part in column.parts for each in ([usual] if part == TREND else middle)]
    pieces = [tf.where(null, stand_in, entry) for entry, stand_in in zip(entries, stand_ins, strict=True)]
    return tf.stack(pieces, axis=1)
