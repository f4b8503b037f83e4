"""What a layer does to an event column once its parameters are known: for many rows, and for few.

**Many rows** (`Transform`), feature-major: `params` is `[P, N, B]`, or P tensors `[N, B]`: parameters for each of N
columns and B rows; columns are `[N, B]`. `inverse` maps x to z, `forward` z to x, and both also give the
log-derivative of *their own* direction, `[N, B]`, nats.

**Few rows** (`RowTransform`): the same maps, row-major, in as few operations as they can be written in. For a handful
of rows a call costs what TensorFlow takes to start its operations. So what is constant is done to the weights:
`arrange` puts the columns of the network's last kernel into the groups that the parameters are taken apart into,
scaled and with constants added as they are needed. Values are `[B, N]`, a group of parameters `[B, n N]`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import tensorflow as tf

from maf.spline import share_of_height, share_of_width

Mapped: TypeAlias = tuple[tf.Tensor, tf.Tensor]
Params: TypeAlias = tf.Tensor | Sequence[tf.Tensor]
Array = np.ndarray[Any, Any]
MappedRows = tuple[tf.Tensor, tf.Tensor | None]


class Transform(Protocol):
    """A monotonic map of each event column."""

    def inverse(self, params: Params, x: tf.Tensor) -> Mapped:
        """`x` to z."""
        ...

    def forward(self, params: Params, z: tf.Tensor) -> Mapped:
        """`z` to x."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class ShiftTransform:
    """`x = z + shift`; P = 1."""

    def inverse(self, params: Params, x: tf.Tensor) -> Mapped:
        """`x` to z."""
        return x - params[0], tf.zeros_like(x)

    def forward(self, params: Params, z: tf.Tensor) -> Mapped:
        """`z` to x."""
        return z + params[0], tf.zeros_like(z)


@dataclasses.dataclass(frozen=True, slots=True)
class AffineTransform:
    """`x = shift + exp(log_scale) z`; P = 2: shift, log-scale.

    Attributes:
      log_scale_bound: log-scales are `b tanh(. / b)` of the parameter; `None` takes the parameter as it is.
    """

    log_scale_bound: float | None = None

    def inverse(self, params: Params, x: tf.Tensor) -> Mapped:
        """`x` to z."""
        log_scale = _bounded(params[1], self.log_scale_bound)
        return (x - params[0]) * tf.exp(-log_scale), -log_scale

    def forward(self, params: Params, z: tf.Tensor) -> Mapped:
        """`z` to x."""
        log_scale = _bounded(params[1], self.log_scale_bound)
        return params[0] + tf.exp(log_scale) * z, log_scale


@dataclasses.dataclass(frozen=True, slots=True)
class SplineTransform:
    """`x = shift + exp(log_scale) spline(z)`, as `maf.layers.SplineConditioner` has it.

    A rational-quadratic spline (Durkan et al. 2019, https://arxiv.org/abs/1906.04032, appendix A) with P parameters:
    K widths, K heights, K - 1 slopes, shift, log-scale. The bin is found by counting the knots below the value, and its
    six numbers are gathered at once.
    """

    num_bins: int
    spline_range: float
    min_bin_share: float
    min_slope: float
    slope_offset: float
    log_scale_bound: float

    def inverse(self, params: Params, x: tf.Tensor) -> Mapped:
        """`x` to z."""
        params = tf.convert_to_tensor(params)
        shift, log_scale = params[-2], _bounded(params[-1], self.log_scale_bound)
        y = (x - shift) * tf.exp(-log_scale)
        spline = self._at(params, y, of_output=True)
        steepness = spline.width / spline.height
        share, derivative = share_of_width(
            (spline.clipped - spline.y_low) / spline.height, spline.slope_low * steepness, spline.slope_high * steepness
        )
        z = tf.where(spline.inside, spline.x_low + share * spline.width, y)
        return z, spline.or_zero(tf.math.log(steepness * derivative)) - log_scale

    def forward(self, params: Params, z: tf.Tensor) -> Mapped:
        """`z` to x."""
        params = tf.convert_to_tensor(params)
        shift, log_scale = params[-2], _bounded(params[-1], self.log_scale_bound)
        spline = self._at(params, z, of_output=False)
        steepness = spline.width / spline.height
        share, derivative = share_of_height(
            (spline.clipped - spline.x_low) / spline.width, spline.slope_low * steepness, spline.slope_high * steepness
        )
        y = tf.where(spline.inside, spline.y_low + share * spline.height, z)
        return shift + tf.exp(log_scale) * y, spline.or_zero(tf.math.log(derivative / steepness)) + log_scale

    def _at(self, params: tf.Tensor, value: tf.Tensor, *, of_output: bool) -> _Bin:
        """The bin that `value` `[N, B]` lies in."""
        bins = self.num_bins
        widths, heights = self._sizes(params[:bins]), self._sizes(params[bins : 2 * bins])
        x_knots, y_knots = self._knots(widths), self._knots(heights)
        slopes = self.min_slope + tf.nn.softplus(params[2 * bins : 3 * bins - 1] + self.slope_offset)
        ends = tf.ones_like(slopes[:1])
        knots = y_knots if of_output else x_knots
        inside = (value > knots[0]) & (value < knots[-1])
        clipped = tf.where(inside, value, knots[0])
        index = tf.reduce_sum(tf.cast(clipped[tf.newaxis] >= knots[1:-1], tf.int32), axis=0)
        rows = tf.concat([x_knots[:-1], y_knots[:-1], widths, heights, ends, slopes, ends], axis=0)
        offsets = np.array([0, bins, 2 * bins, 3 * bins, 4 * bins, 4 * bins + 1], np.int32)[:, None, None]
        cells = tf.size(value)
        flat = (index + offsets) * cells + tf.reshape(tf.range(cells), tf.shape(value))
        return _Bin(inside, clipped, *tf.unstack(tf.gather(tf.reshape(rows, [-1]), flat), num=6))

    def _sizes(self, logits: tf.Tensor) -> tf.Tensor:
        """Bin sizes `[K, N, B]` that sum to `2 r`."""
        weights = tf.exp(logits - tf.reduce_max(logits, axis=0))
        share = (1 - self.num_bins * self.min_bin_share) / tf.reduce_sum(weights, axis=0)
        return 2 * self.spline_range * (self.min_bin_share + weights * share)

    def _knots(self, sizes: tf.Tensor) -> tf.Tensor:
        """Knots `[K + 1, N, B]` of bins: running sums from `-r`."""
        running = [tf.fill(tf.shape(sizes)[1:], tf.constant(-self.spline_range, sizes.dtype))]
        for size in tf.unstack(sizes, num=self.num_bins):
            running.append(running[-1] + size)
        return tf.stack(running)


@dataclasses.dataclass(frozen=True, slots=True)
class _Bin:
    """The bin of each value: its lower corner, its size, and the slopes at its ends; all `[N, B]`."""

    inside: tf.Tensor
    clipped: tf.Tensor
    x_low: tf.Tensor
    y_low: tf.Tensor
    width: tf.Tensor
    height: tf.Tensor
    slope_low: tf.Tensor
    slope_high: tf.Tensor

    def or_zero(self, log_derivative: tf.Tensor) -> tf.Tensor:
        """Of the spline: 0 outside of its range."""
        return tf.where(self.inside, log_derivative, tf.zeros_like(log_derivative))


def _bounded(log_scale: tf.Tensor, bound: float | None) -> tf.Tensor:
    return log_scale if bound is None else bound * tf.tanh(log_scale / bound)


class RowTransform(Protocol):
    """A monotonic map of each event column, for few rows."""

    @property
    def groups(self) -> tuple[int, ...]:
        """Parameters of a column in each group, as `arrange` has them."""
        ...

    def arrange(self, kernel: Array, *, inverse: bool) -> list[Array]:
        """`[K, N, P]` to a group each, `[K, N, n]`: the last kernel's columns, for N event columns."""
        ...

    def constants(self) -> list[float]:
        """For each group, what is added to its parameters."""
        ...

    def inverse(self, params: Sequence[tf.Tensor], x: tf.Tensor) -> MappedRows:
        """`x` to z. A log-derivative of zero is `None`."""
        ...

    def forward(self, params: Sequence[tf.Tensor], z: tf.Tensor) -> MappedRows:
        """`z` to x. A log-derivative of zero is `None`."""
        ...


def row_transform(transform: Transform, dtype: Any) -> RowTransform | None:
    """The same transform for few rows; `None` for one that the model's owner has written."""
    if isinstance(transform, ShiftTransform):
        return _ShiftRows()
    if isinstance(transform, AffineTransform):
        return _AffineRows(transform.log_scale_bound)
    if isinstance(transform, SplineTransform):
        return _SplineRows(transform, tf.as_dtype(dtype))
    return None


@dataclasses.dataclass(frozen=True, slots=True)
class _ShiftRows:
    """One group: shifts."""

    groups = (1,)

    def arrange(self, kernel: Array, *, inverse: bool) -> list[Array]:  # noqa: ARG002  # the same in both directions
        return [kernel]

    def constants(self) -> list[float]:
        return [0.0]

    def inverse(self, params: Sequence[tf.Tensor], x: tf.Tensor) -> MappedRows:
        return x - params[0], None

    def forward(self, params: Sequence[tf.Tensor], z: tf.Tensor) -> MappedRows:
        return z + params[0], None


@dataclasses.dataclass(frozen=True, slots=True)
class _AffineRows:
    """Groups: shifts; log-scales, negative for the inverse, in units of the bound if there is one."""

    bound: float | None
    groups = (1, 1)

    def arrange(self, kernel: Array, *, inverse: bool) -> list[Array]:
        unit = (-1 if inverse else 1) / (self.bound or 1)
        return [kernel[..., :1], unit * kernel[..., 1:]]

    def constants(self) -> list[float]:
        return [0.0, 0.0]

    def inverse(self, params: Sequence[tf.Tensor], x: tf.Tensor) -> MappedRows:
        log_scale = _bounded_rows(params[1], self.bound)
        return (x - params[0]) * tf.exp(log_scale), log_scale

    def forward(self, params: Sequence[tf.Tensor], z: tf.Tensor) -> MappedRows:
        log_scale = _bounded_rows(params[1], self.bound)
        return params[0] + tf.exp(log_scale) * z, log_scale


@dataclasses.dataclass(frozen=True, slots=True)
class _SplineRows:
    """Groups: K widths and K heights of a column; its slopes at K + 3 knots; shift; log-scale as for affine layers.

    The spline maps `[-r, r]` to itself with slope 1 at its ends. Beyond it is the identity, and has a bin of width 1 on
    either side for that: a value beyond is the spline in one of these and what is beyond them, with a log-derivative of
    zero. Nothing has to be told apart, and no slope at an inner knot, which may be enormous in a far row, has a say.
    """

    spline: SplineTransform
    dtype: tf.DType

    @property
    def groups(self) -> tuple[int, ...]:
        return (2 * self.spline.num_bins, self.spline.num_bins + 3, 1, 1)

    def arrange(self, kernel: Array, *, inverse: bool) -> list[Array]:
        bins = self.spline.num_bins
        slopes = np.pad(kernel[..., 2 * bins : 3 * bins - 1], [(0, 0), (0, 0), (2, 2)])  # 1 at both ends, and beyond
        unit = (-1 if inverse else 1) / self.spline.log_scale_bound
        return [kernel[..., : 2 * bins], slopes, kernel[..., -2:-1], unit * kernel[..., -1:]]

    def constants(self) -> list[float]:
        return [0.0, self.spline.slope_offset, 0.0, 0.0]

    def inverse(self, params: Sequence[tf.Tensor], x: tf.Tensor) -> MappedRows:
        *logits, shift, log_scale = params
        log_scale = _bounded_rows(log_scale, self.spline.log_scale_bound)
        y = tf.reshape((x - shift) * tf.exp(log_scale), [-1, 1])
        inside, beyond = self._clip(y)
        x_low, width, y_low, height, slopes = self._at(logits, inside, of_output=True)
        steepness = width / height
        share, derivative = share_of_width((inside - y_low) / height, *tf.split(slopes * steepness, 2, axis=1))
        z = x_low + share * width + beyond
        log_derivative = tf.math.log(steepness * derivative)
        return tf.reshape(z, [-1, x.shape[1]]), tf.reshape(log_derivative, [-1, x.shape[1]]) + log_scale

    def forward(self, params: Sequence[tf.Tensor], z: tf.Tensor) -> MappedRows:
        *logits, shift, log_scale = params
        log_scale = _bounded_rows(log_scale, self.spline.log_scale_bound)
        inside, beyond = self._clip(tf.reshape(z, [-1, 1]))
        x_low, width, y_low, height, slopes = self._at(logits, inside, of_output=False)
        steepness = width / height
        share, derivative = share_of_height((inside - x_low) / width, *tf.split(slopes * steepness, 2, axis=1))
        y = y_low + share * height + beyond
        derivative /= steepness
        x = shift + tf.exp(log_scale) * tf.reshape(y, [-1, z.shape[1]])
        return x, tf.reshape(tf.math.log(derivative), [-1, z.shape[1]]) + log_scale

    def _clip(self, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The part of a value in the bins, and what is beyond."""
        reach = tf.constant(self.spline.spline_range + 1, self.dtype)
        inside = tf.raw_ops.ClipByValue(t=value, clip_value_min=-reach, clip_value_max=reach)
        return inside, value - inside

    def _at(self, logits: Sequence[tf.Tensor], inside: tf.Tensor, *, of_output: bool) -> list[tf.Tensor]:
        """Of the bin of `inside` `[N, 1]`: low x, width, low y, height, `[N, 1]` each, and slopes `[N, 2]`."""
        bins = self.spline.num_bins + 2
        sizes = tf.reshape(logits[0], [-1, self.spline.num_bins])
        shares = tf.exp(sizes - tf.reduce_max(sizes, axis=1, keepdims=True))
        shares /= tf.reduce_sum(shares, axis=1, keepdims=True)
        lows_and_sizes = tf.matmul(shares, self._sums[0]) - self._sums[1]
        table = tf.reshape(lows_and_sizes, [-1, 4, bins])
        index = tf.raw_ops.UpperBound(sorted_inputs=table[:, 2 if of_output else 0, 1:], values=inside)
        corner = tf.split(tf.reshape(tf.gather(table, index, axis=2, batch_dims=1), [-1, 4]), 4, axis=1)
        slopes = tf.gather(tf.reshape(logits[1], [-1, bins + 1]), index + tf.constant([0, 1]), batch_dims=1)
        return [*corner, tf.nn.softplus(slopes) + self.spline.min_slope]

    @property
    def _sums(self) -> tuple[tf.Tensor, tf.Tensor]:
        """What makes of shares `[., K]` where the K + 2 bins begin and their sizes: a matrix, and a row to subtract."""
        spline, bins = self.spline, self.spline.num_bins
        reach, whole = spline.spline_range, 2 * spline.spline_range
        lows, sizes = np.zeros((bins, bins + 2)), np.zeros((bins, bins + 2))
        lows[:, 1:-1], sizes[:, 1:-1] = np.triu(np.ones((bins, bins)), 1), np.eye(bins)
        both = np.concatenate([lows, sizes], axis=1)
        least = whole * spline.min_bin_share * both.sum(axis=0)
        least += np.concatenate([[-reach - 1], np.full(bins, -reach), [reach], [1], np.zeros(bins), [1]])
        matrix = whole * (1 - bins * spline.min_bin_share) * both
        return tf.constant(matrix, self.dtype), tf.constant(-least[np.newaxis], self.dtype)


def _bounded_rows(units: tf.Tensor, bound: float | None) -> tf.Tensor:
    return units if bound is None else bound * tf.tanh(units)
