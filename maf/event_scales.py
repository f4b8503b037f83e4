"""Scales of event columns that a normal base cannot stand for: bounds, the logarithm of positive ones, heavy tails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

if TYPE_CHECKING:
    from maf.config import BoundedColumn

Array = np.ndarray[Any, Any]
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def least_positive(dtype: Any) -> float:
    """The least number of `dtype` that hardware does not take for zero."""
    return float(np.finfo(tf.as_dtype(dtype).as_numpy_dtype).tiny)


class Logarithmic(tfb.Bijector):  # type: ignore[misc]  # TFP is untyped
    """`x_j = exp(y_j)` for some of the columns, the identity for the others.

    A density without limit at zero, as a gamma's of shape below 1, or one that spans magnitudes, as a log-normal's,
    asks for slopes and bins that a spline does not have. Of the logarithm it is an ordinary one.

    Of a row whose x is at zero or below, where there is no density, y and `log_prob` are NaN. They are not -inf: TFP
    takes a log-determinant from the other direction where it knows y, and from there it would be any number.
    """

    def __init__(self, columns: Sequence[int], event_size: int, *, name: str = "logarithmic") -> None:
        parameters = dict(locals())
        self._logarithmic = np.isin(np.arange(event_size), list(columns))
        super().__init__(forward_min_event_ndims=0, parameters=parameters, name=name)

    def _forward(self, y: tf.Tensor) -> tf.Tensor:
        return tf.where(self._logarithmic, tf.exp(self._masked(y)), y)

    def _inverse(self, x: tf.Tensor) -> tf.Tensor:
        return tf.where(self._logarithmic, self._log(x), x)

    def _forward_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
        return self._masked(y)

    def _inverse_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        return -self._masked(self._log(x))

    def _log(self, x: tf.Tensor) -> tf.Tensor:
        """NaN where x is not positive. The logarithm itself is taken of positive numbers alone, for its gradient."""
        positive = x >= least_positive(x.dtype)
        nan = tf.constant(np.nan, x.dtype)
        return tf.where(positive, tf.math.log(tf.where(positive, x, tf.ones_like(x))), nan)

    def _masked(self, values: tf.Tensor) -> tf.Tensor:
        """Zeros in place of columns that the map leaves alone: their overflow would spoil the gradient of `where`."""
        return tf.where(self._logarithmic, values, tf.zeros_like(values))


class BoundedScale(tfb.Bijector):  # type: ignore[misc]  # TFP is untyped
    """Columns with bounds to columns without, the identity for the others.

    Near a bound, `x = bound + unit Phi(y)` with the standard normal's distribution function, or `bound - unit Phi(-y)`.
    What ends there with a density that neither vanishes nor grows has a normal tail then, as the base has; one that
    grows or vanishes like a power of the distance has that of a wider or a narrower normal. So a uniform column between
    its two bounds is a standard normal one. A logit would give it the tails of a logistic distribution, and the
    logarithm exponential ones.

    Far from the only bound a column goes on as a straight line, `distance = unit (1/2 + phi(0) |y|)`, which meets the
    other half with two equal derivatives: where a bound does not matter the model is what it would be without. One
    whose `far_side` is `"odds"` has `distance = unit Phi(y) / Phi(-y)` instead, nearly the logarithm in the middle.

    A bound itself, which is infinitely far in y, is taken to be as far away as `closest`: the density there is finite.
    Of a row whose x is beyond a bound y and `log_prob` are NaN, as of `Logarithmic`. No draw is beyond a bound, by
    rounding either: it ends at the last number of the type that is not.
    """

    def __init__(self, columns: Sequence[BoundedColumn], event_size: int, *, name: str = "bounded") -> None:
        parameters = dict(locals())
        self.columns = tuple(columns)
        self._event_size = event_size
        super().__init__(forward_min_event_ndims=0, parameters=parameters, name=name)
        self._bounded = self._each(lambda _: True, otherwise=False)
        self._has_lower = self._each(lambda column: column.lower is not None, otherwise=False)
        self._has_both = self._has_lower & self._each(lambda column: column.upper is not None, otherwise=False)
        self._odds = self._each(lambda column: column.far_side == "odds", otherwise=False) & ~self._has_both
        self._unit = self._each(lambda column: column.unit, otherwise=1.0)
        self._closest = self._each(lambda column: column.closest / column.unit, otherwise=0.5)

    def ends(self, dtype: Any) -> tuple[Array, Array]:
        """The least and greatest x `[D]` that have a density, in `dtype`: bounds as it rounds them."""
        dtype = tf.as_dtype(dtype).as_numpy_dtype
        most = float(np.finfo(dtype).max)
        lower = self._each(lambda column: -most if column.lower is None else column.lower, otherwise=-most)
        upper = self._each(lambda column: most if column.upper is None else column.upper, otherwise=most)
        return lower.astype(dtype), upper.astype(dtype)

    def _each(self, value: Any, *, otherwise: Any) -> Array:
        """`[D]`, `value` of each bounded column."""
        values = np.full(self._event_size, otherwise)
        for column in self.columns:
            values[column.index] = value(column)
        return values

    def _inverse(self, x: tf.Tensor) -> tf.Tensor:
        distance, side = self._distance(x)
        curve = self._curve(distance)
        straight = math.sqrt(2 * math.pi) * tf.maximum(distance - 0.5, 0)
        steps = tf.where(self._odds, tf.where(distance < 1, curve, -curve), curve - straight)
        return tf.where(self._bounded, side * steps, x)

    def _inverse_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        distance, _ = self._distance(x)
        return -self._log_slope(self._curve(distance), distance)

    def _forward(self, y: tf.Tensor) -> tf.Tensor:
        lower, upper = (tf.constant(end) for end in self.ends(y.dtype))
        steps, is_low = self._steps(y)
        reach = tf.constant(self._unit, y.dtype) * self._reach(steps)
        x = tf.where(is_low, lower + reach, upper - reach)
        least, most = self._draw_ends(y.dtype)
        x = tf.where(x < least, least, tf.where(x > most, most, x))  # NaN stays
        return tf.where(self._bounded, x, y)

    def _forward_log_det_jacobian(self, y: tf.Tensor) -> tf.Tensor:
        steps, _ = self._steps(y)
        curve = tf.where(self._odds, tf.abs(steps), tf.maximum(steps, 0))
        return self._log_slope(curve, self._reach(steps))

    def _distance(self, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """In units, from the nearer bound, NaN outside; and on which side of the middle that bound is, -1 or 1."""
        lower, upper = self.ends(x.dtype)
        inside = tf.logical_and(x >= lower, x <= upper)
        has_upper = self._has_both | (self._bounded & ~self._has_lower)
        x = tf.where(inside, x, tf.constant(np.where(self._has_lower, lower, np.where(has_upper, upper, 0)), x.dtype))
        unit = tf.constant(self._unit, x.dtype)
        low = (x - np.where(self._has_lower, lower, 0).astype(lower.dtype)) / unit
        high = (np.where(has_upper, upper, 0).astype(upper.dtype) - x) / unit
        is_low = tf.where(self._has_both, low <= high, self._has_lower)
        distance = tf.where(is_low, low, high)
        distance = tf.where(distance > 0, distance, tf.constant(self._closest, x.dtype))
        least = 16 * least_positive(x.dtype)
        distance = tf.clip_by_value(distance, tf.constant(least, x.dtype), tf.constant(4 / least, x.dtype))
        distance = tf.where(self._bounded, distance, tf.constant(0.5, x.dtype))
        nan = tf.constant(np.nan, x.dtype)
        return tf.where(inside, distance, nan), tf.where(is_low, -tf.ones_like(x), tf.ones_like(x))

    def _curve(self, distance: tf.Tensor) -> tf.Tensor:
        """The part of y that a normal's quantile is, without its sign."""
        of_odds = tf.minimum(distance, 1) / (1 + distance)
        return -tf.math.ndtri(tf.where(self._odds, of_odds, tf.minimum(distance, 0.5)))

    def _log_slope(self, curve: tf.Tensor, distance: tf.Tensor) -> tf.Tensor:
        """`log(dx / dy)`."""
        of_odds = tf.where(self._odds, 2 * tf.math.log1p(distance), tf.zeros_like(distance))
        log_unit = tf.constant(np.log(self._unit) - HALF_LOG_TWO_PI, curve.dtype)
        return tf.where(self._bounded, log_unit + of_odds - 0.5 * tf.square(curve), tf.zeros_like(curve))

    def _steps(self, y: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """How far y is from the middle, towards the bound that it is measured from; and whether that is the lower."""
        is_low = tf.where(self._has_both, y < 0, self._has_lower)
        return tf.where(self._bounded, tf.where(is_low, -y, y), tf.zeros_like(y)), is_low

    def _reach(self, steps: tf.Tensor) -> tf.Tensor:
        """The distance from that bound, in units."""
        size = tf.abs(steps)
        tail = tf.maximum(0.5 * tf.math.erfc(math.sqrt(0.5) * size), 4 * least_positive(steps.dtype))
        is_near = steps > 0
        of_odds = tf.where(is_near, tail, 1 - tail) / tf.where(is_near, 1 - tail, tail)
        straight = tf.where(is_near, tail, 0.5 + size / math.sqrt(2 * math.pi))
        return tf.where(self._odds, of_odds, straight)

    def _draw_ends(self, dtype: Any) -> tuple[tf.Tensor, tf.Tensor]:
        """The least and greatest x `[D]` that are drawn: numbers of the type on this side of bound and margin."""
        lower, upper = self.ends(dtype)
        margin = self._each(lambda column: column.margin, otherwise=0.0)
        for end, ends, sign in ((lower, "lower", 1), (upper, "upper", -1)):
            for column in self.columns:
                bound = getattr(column, ends)
                if bound is not None:
                    wanted = bound + sign * margin[column.index]
                    end[column.index] = wanted
                    if sign * float(end[column.index]) < sign * wanted:
                        end[column.index] = np.nextafter(end[column.index], end.dtype.type(sign * np.inf))
        return tf.constant(lower), tf.constant(upper)


class HeavyTails(tfb.Bijector):  # type: ignore[misc]  # TFP is untyped
    """`x_j = sinh(z_j)` for some of the columns, the identity for the others.

    A spline layer is the identity beyond its range and the base is normal: a row at 1,000 deviations, as a Cauchy
    column has them, would cost 500,000 nats and all of the gradient. On an asinh scale it is at 8. Near the middle the
    map is the identity up to third order.
    """

    def __init__(self, columns: Sequence[int], event_size: int, *, name: str = "heavy_tails") -> None:
        parameters = dict(locals())
        self._heavy = np.isin(np.arange(event_size), list(columns))
        super().__init__(forward_min_event_ndims=0, parameters=parameters, name=name)

    def _forward(self, z: tf.Tensor) -> tf.Tensor:
        return tf.where(self._heavy, tf.sinh(self._masked(z)), z)

    def _inverse(self, x: tf.Tensor) -> tf.Tensor:
        return tf.where(self._heavy, tf.asinh(self._masked(x)), x)

    def _forward_log_det_jacobian(self, z: tf.Tensor) -> tf.Tensor:
        size = tf.abs(self._masked(z))
        log_cosh = size + tf.math.log1p(tf.exp(-2 * size)) - tf.cast(np.log(2.0), z.dtype)
        return tf.where(self._heavy, log_cosh, tf.zeros_like(z))

    def _inverse_log_det_jacobian(self, x: tf.Tensor) -> tf.Tensor:
        # log sqrt(1 + x^2) with nothing squared that could overflow
        return -self._forward_log_det_jacobian(tf.asinh(self._masked(x)))

    def _masked(self, values: tf.Tensor) -> tf.Tensor:
        """Zeros in place of columns that the map leaves alone: their overflow would spoil the gradient of `where`."""
        return tf.where(self._heavy, values, tf.zeros_like(values))
