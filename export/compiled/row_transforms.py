"""`transforms.py` for few rows: the same maps, row-major, in as few operations as they can be written in.

For a handful of rows a call costs what TensorFlow takes to start its operations. So what is constant is done to the
weights: `arrange` puts the columns of the network's last kernel into the groups that the parameters are taken apart
into, scaled and with constants added as they are needed. Values are `[B, N]`, a group of parameters `[B, n N]`;
`inverse` and `forward` also give the log-derivative of their own direction, `[B, N]`, nats.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from export.compiled.transforms import AffineTransform, ShiftTransform, SplineTransform, Transform

Array = np.ndarray[Any, Any]
Mapped = tuple[tf.Tensor, tf.Tensor | None]


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

    def inverse(self, params: Sequence[tf.Tensor], x: tf.Tensor) -> Mapped:
        """`x` to z. A log-derivative of zero is `None`."""
        ...

    def forward(self, params: Sequence[tf.Tensor], z: tf.Tensor) -> Mapped:
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

    def inverse(self, params: Sequence[tf.Tensor], x: tf.Tensor) -> Mapped:
        return x - params[0], None

    def forward(self, params: Sequence[tf.Tensor], z: tf.Tensor) -> Mapped:
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

    def inverse(self, params: Sequence[tf.Tensor], x: tf.Tensor) -> Mapped:
        log_scale = _bounded(params[1], self.bound)
        return (x - params[0]) * tf.exp(log_scale), log_scale

    def forward(self, params: Sequence[tf.Tensor], z: tf.Tensor) -> Mapped:
        log_scale = _bounded(params[1], self.bound)
        return params[0] + tf.exp(log_scale) * z, log_scale


@dataclasses.dataclass(frozen=True, slots=True)
class _SplineRows:
    """Groups: K widths and K heights of a column; its slopes at K + 1 knots; shift; log-scale as for affine layers.

    The spline maps `[-r, r]` to itself with slope 1 at its ends, so that a value beyond is the spline at the end of
    the range plus what is beyond, with a log-derivative of zero: nothing has to be told apart. In a bin, with `t` and
    `share` the parts of its height and width below the value, slopes in units of the bin's own, `low` and `high`, and
    `m = low + high - 2`:

        t = (share^2 + low share (1 - share)) / (1 + m share (1 - share))
        share = 2 t / (b + root),  b = low - m t,  root = sqrt((b - 2 t)^2 + 4 t (1 - t)) = d t / d share (1 + m ...)

    (Durkan et al. 2019, https://arxiv.org/abs/1906.04032, appendix A, in these units; the discriminant as a sum of
    squares has nothing that cancels.)
    """

    spline: SplineTransform
    dtype: tf.DType

    @property
    def groups(self) -> tuple[int, ...]:
        return (2 * self.spline.num_bins, self.spline.num_bins + 1, 1, 1)

    def arrange(self, kernel: Array, *, inverse: bool) -> list[Array]:
        bins = self.spline.num_bins
        slopes = np.pad(kernel[..., 2 * bins : 3 * bins - 1], [(0, 0), (0, 0), (1, 1)])  # 1 at both ends
        unit = (-1 if inverse else 1) / self.spline.log_scale_bound
        return [kernel[..., : 2 * bins], slopes, kernel[..., -2:-1], unit * kernel[..., -1:]]

    def constants(self) -> list[float]:
        return [0.0, self.spline.slope_offset, 0.0, 0.0]

    def inverse(self, params: Sequence[tf.Tensor], x: tf.Tensor) -> Mapped:
        *logits, shift, log_scale = params
        log_scale = _bounded(log_scale, self.spline.log_scale_bound)
        y = tf.reshape((x - shift) * tf.exp(log_scale), [-1, 1])
        inside, beyond = self._clip(y)
        x_low, width, y_low, height, slopes = self._at(logits, inside, of_output=True)
        t = (inside - y_low) / height
        steepness = width / height
        low, high = tf.split(slopes * steepness, 2, axis=1)
        m = low + high - 2
        b = low - m * t
        double = t + t
        root = tf.sqrt(tf.square(b - double) + double * (2 - double))
        share = double / (b + root)
        z = x_low + share * width + beyond
        log_derivative = tf.math.log(steepness * (1 + m * (share * (1 - share))) / root)
        return tf.reshape(z, [-1, x.shape[1]]), tf.reshape(log_derivative, [-1, x.shape[1]]) + log_scale

    def forward(self, params: Sequence[tf.Tensor], z: tf.Tensor) -> Mapped:
        *logits, shift, log_scale = params
        log_scale = _bounded(log_scale, self.spline.log_scale_bound)
        inside, beyond = self._clip(tf.reshape(z, [-1, 1]))
        x_low, width, y_low, height, slopes = self._at(logits, inside, of_output=False)
        share = (inside - x_low) / width
        steepness = width / height
        low, high = tf.split(slopes * steepness, 2, axis=1)
        rest = 1 - share
        product, square = share * rest, share * share
        denominator = 1 + (low + high - 2) * product
        y = y_low + height * (square + low * product) / denominator + beyond
        derivative = (high * square + low * (rest * rest) + (product + product)) / (
            steepness * (denominator * denominator)
        )
        x = shift + tf.exp(log_scale) * tf.reshape(y, [-1, z.shape[1]])
        return x, tf.reshape(tf.math.log(derivative), [-1, z.shape[1]]) + log_scale

    def _clip(self, value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The part of a value inside of the spline's range, and what is beyond."""
        reach = tf.constant(self.spline.spline_range, self.dtype)
        inside = tf.raw_ops.ClipByValue(t=value, clip_value_min=-reach, clip_value_max=reach)
        return inside, value - inside

    def _at(self, logits: Sequence[tf.Tensor], inside: tf.Tensor, *, of_output: bool) -> list[tf.Tensor]:
        """Of the bin of `inside` `[N, 1]`: low x, width, low y, height, `[N, 1]` each, and slopes `[N, 2]`."""
        bins = self.spline.num_bins
        sizes = tf.reshape(logits[0], [-1, bins])
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
        """What makes of shares `[., K]` where bins begin and their sizes: a matrix, and a row to subtract."""
        spline, bins = self.spline, self.spline.num_bins
        whole = 2 * spline.spline_range
        both = np.concatenate([np.triu(np.ones((bins, bins)), 1), np.eye(bins)], axis=1)
        least = whole * spline.min_bin_share * both.sum(axis=0) - np.repeat([spline.spline_range, 0.0], bins)
        matrix = whole * (1 - bins * spline.min_bin_share) * both
        return tf.constant(matrix, self.dtype), tf.constant(-least[np.newaxis], self.dtype)


def _bounded(units: tf.Tensor, bound: float | None) -> tf.Tensor:
    return units if bound is None else bound * tf.tanh(units)
