"""What a layer does to an event column once its parameters are known, feature-major.

`params` is `[P, N, B]`, or P tensors `[N, B]`: parameters for each of N columns and B rows; columns are `[N, B]`.
`inverse` maps x to z, `forward` z to x, and both also give the log-derivative of *their own* direction, `[N, B]`, nats.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Protocol, TypeAlias

import numpy as np
import tensorflow as tf

Mapped: TypeAlias = tuple[tf.Tensor, tf.Tensor]
Params: TypeAlias = tf.Tensor | Sequence[tf.Tensor]


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
        rise = spline.clipped - spline.y_low
        slopes = spline.slope_high + spline.slope_low - 2 * spline.slope
        term = rise * slopes
        a = spline.height * (spline.slope - spline.slope_low) + term
        b = spline.height * spline.slope_low - term
        c = -spline.slope * rise
        share = 2 * c / (-b - tf.sqrt(b * b - 4 * a * c))
        z = tf.where(spline.inside, share * spline.width + spline.x_low, y)
        return z, -spline.log_derivative(share) - log_scale

    def forward(self, params: Params, z: tf.Tensor) -> Mapped:
        """`z` to x."""
        params = tf.convert_to_tensor(params)
        shift, log_scale = params[-2], _bounded(params[-1], self.log_scale_bound)
        spline = self._at(params, z, of_output=False)
        share = (spline.clipped - spline.x_low) / spline.width
        between = share * (1 - share)
        numerator = spline.height * (spline.slope * share * share + spline.slope_low * between)
        denominator = spline.slope + (spline.slope_high + spline.slope_low - 2 * spline.slope) * between
        y = tf.where(spline.inside, spline.y_low + numerator / denominator, z)
        return shift + tf.exp(log_scale) * y, spline.log_derivative(share) + log_scale

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

    @property
    def slope(self) -> tf.Tensor:
        """Of the line through the bin's corners."""
        return self.height / self.width

    def log_derivative(self, share: tf.Tensor) -> tf.Tensor:
        """Of the spline where `share` of the bin's width lies below; 0 outside of the spline's range."""
        slope, between = self.slope, share * (1 - share)
        numerator = self.slope_high * share * share + 2 * slope * between + self.slope_low * (1 - share) ** 2
        denominator = slope + (self.slope_high + self.slope_low - 2 * slope) * between
        log_derivative = 2 * tf.math.log(slope / denominator) + tf.math.log(numerator)
        return tf.where(self.inside, log_derivative, tf.zeros_like(log_derivative))


def _bounded(log_scale: tf.Tensor, bound: float | None) -> tf.Tensor:
    return log_scale if bound is None else bound * tf.tanh(log_scale / bound)
