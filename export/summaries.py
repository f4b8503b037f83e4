"""Mean, standard deviation and quantiles of the event columns, for each row of conditions.

**One column**: a flow of one event column is a monotone map of its base distribution, for each condition. An
autoregressive layer of one column has no column before it, so its parameters follow from the condition alone: they are
computed once for a row, however many points are mapped. So mean and standard deviation are integrals,

    E[x] = integral of x(t) phi(t) dt,      x(t) = the point with as much below it as the standard normal has below t,

by the trapezoidal rule, which is exact to rounding for a smooth map. Between two modes x(t) is nearly a step. Those
cells of the rule where most is at stake, of the largest rise in x, are halved five times: a step is located to 1/512
in t, and the mean is off by less than a thousandth of it.

**Several columns**: seeded draws of each row. They are a set that fills the base space evenly: Sobol' points, all moved
by one random step, modulo 1, that comes from the row's seed (Cranley and Patterson, "Randomization of number theoretic
methods", 1976). Every point is distributed as a draw is, so nothing is biased, and the error is that of independent
draws at most, and for means and quantiles of columns a fraction of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.compiled.rows import ChunkedFunction, rounded_to
from export.errors import ModelError
from maf.event_scales import least_positive
from maf.routing import is_kind, make_bijector_kwargs

if TYPE_CHECKING:
    from export.base_probabilities import BaseProbabilities

Array = np.ndarray[Any, Any]
Kwargs = Mapping[str, Any]
Steps = Callable[[tf.Tensor, int, tf.DType], tf.Tensor]
Forward = Callable[[tf.Tensor, "tf.Tensor | None"], tuple[tf.Tensor, tf.Tensor]]
CELL = 1 / 16
PARTS = 32  # of a cell that is looked at closely
CLOSE_CELLS = 4
_TAIL_CELLS = 16  # the outermost on both sides
_MOST_IN_TAILS = 0.01  # of the second moment: with more, what lies beyond would matter as well
_PROBED = (0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99)


def direction(distribution: Any, base: BaseProbabilities, conditions: Array | None) -> int:
    """1 if x rises with z, -1 if it falls, as the map itself shows at some points and `conditions` `[N, C]`.

    Raises:
      ModelError: if it does neither, or not the same for all conditions.
    """
    t = np.array([NormalDist().inv_cdf(level) for level in _PROBED])
    z = tf.constant(base.at_normal(t), distribution.dtype)
    condition = None if conditions is None else tf.constant(conditions, distribution.dtype)
    x = map_points(distribution, z, condition, rows=1 if conditions is None else len(conditions)).numpy()
    steps = np.diff(x, axis=0)
    if (steps > 0).all():
        return 1
    if (steps < 0).all():
        return -1
    raise ModelError(
        f"distribution {distribution.name!r} maps its base to the event column neither rising nor falling for all "
        f"conditions: of {steps.size} steps {np.count_nonzero(steps > 0)} rise and {np.count_nonzero(steps < 0)} fall; "
        "expected a map that does the one or the other everywhere"
    )


def map_points(distribution: Any, z: tf.Tensor, condition: tf.Tensor | None, *, rows: Any) -> tf.Tensor:
    """`x` `[M, B]` of points `z` (`[M]`, or `[M, B]` of each row) for conditions `[B, C]`.

    Costs a pass over the networks for each row, and M times the rest, which is element by element.
    """
    bijector = distribution.bijector
    kwargs = {} if condition is None else make_bijector_kwargs(bijector, {"conditional_input": condition})
    if z.shape.rank == 1:
        z = tf.tile(z[:, tf.newaxis], tf.stack([1, rows]))
    return _map(bijector, z[:, :, tf.newaxis], kwargs, inverted=False)[:, :, 0]


def _map(bijector: Any, points: tf.Tensor, kwargs: Kwargs, *, inverted: bool) -> tf.Tensor:
    """`points` `[M, B, 1]` towards x, or towards z if `inverted`."""
    if is_kind(bijector, "Invert"):
        return _map(bijector.bijector, points, kwargs, inverted=not inverted)
    if is_kind(bijector, "Chain"):
        for part in bijector.bijectors if inverted else reversed(bijector.bijectors):
            points = _map(part, points, kwargs.get(part.name, {}), inverted=inverted)
        return points
    if is_kind(bijector, "MaskedAutoregressiveFlow"):  # its parameters do not depend on its only column
        bijector, kwargs = bijector._bijector_fn(tf.zeros_like(points[0]), **kwargs), {}
    given = {name: tf.tile(value[tf.newaxis], tf.stack([tf.shape(points)[0], 1, 1])) for name, value in kwargs.items()}
    return bijector.inverse(points, **given) if inverted else bijector.forward(points, **given)


def ends(distribution: Any) -> tuple[float | None, float | None]:
    """The least and greatest x of the only event column, if it has bounds or a log scale; `None` for no such end."""
    if distribution.event_shape[0] > 1:
        return None, None
    bijector = distribution.bijector
    while is_kind(bijector, "Chain") and bijector.bijectors:
        bijector = bijector.bijectors[0]
    if is_kind(bijector, "BoundedScale"):
        (column,) = bijector.columns
        lower, upper = (float(end[0]) for end in bijector.ends(distribution.dtype))
        return None if column.lower is None else lower, None if column.upper is None else upper
    return (least_positive(distribution.dtype) if is_kind(bijector, "Logarithmic") else None), None


class ColumnSummary:
    """Mean, standard deviation and quantiles of the event column, for rows of finite conditions."""

    def __init__(self, distribution: Any, base: BaseProbabilities, levels: Sequence[float], rising: int) -> None:
        """Of a distribution of one event column.

        Args:
          distribution: the flow.
          base: of its base distribution.
          levels: of the quantiles, ascending.
          rising: `direction` of the map.
        """
        self._distribution = distribution
        self._levels = len(levels)
        dtype = distribution.dtype
        t = np.arange(round(-base.tail / CELL), round(base.tail / CELL) + 1) * CELL
        inside = t[:-1, np.newaxis] + CELL / PARTS * np.arange(PARTS + 1)
        at_levels = np.array([NormalDist().inv_cdf(level) for level in levels]) * rising
        self._points = tf.constant(np.concatenate([base.at_normal(at_levels), base.at_normal(t)]), dtype)
        self._weights = tf.constant(_phi(t)[:, np.newaxis] * CELL, dtype)
        self._close_points = tf.constant(base.at_normal(inside), dtype)  # [cells, PARTS + 1]
        self._close_weights = tf.constant(_close_weights(inside), dtype)
        self._cell_mass = tf.constant(_phi(t[:-1] + CELL / 2)[:, np.newaxis] * CELL, dtype)
        self._rows = ChunkedFunction(self.of_rows, least_rows=64)

    def __call__(self, seed: tf.Tensor, conditional_input: tf.Tensor | None = None) -> list[tf.Tensor]:
        """`mean` `[B, 1]`, `stddev` `[B, 1]` and `quantiles` `[B, 1, Q]`; `seed` `[B]` only says how many rows."""
        return self._rows(seed, *([] if conditional_input is None else [conditional_input]))

    def of_rows(
        self, seed: tf.Tensor, conditional_input: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """The same of all rows at once."""
        rows = tf.shape(seed)[0]
        x = map_points(self._distribution, self._points, conditional_input, rows=rows)
        quantiles, x = x[: self._levels], x[self._levels :]
        middle = x[x.shape[0] // 2]  # moments about the median: nothing cancels
        _, cells = tf.math.top_k(tf.transpose(tf.abs(x[1:] - x[:-1]) * self._cell_mass), CLOSE_CELLS)  # [B, cells]
        close = map_points(self._distribution, self._of_cells(self._close_points, cells), conditional_input, rows=rows)
        close_weights = self._of_cells(self._close_weights, cells)
        first, second = (
            tf.reduce_sum(self._weights * value, axis=0) + tf.reduce_sum(close_weights * close_value, axis=0)
            for value, close_value in (
                (x - middle, close - middle),
                (tf.square(x - middle), tf.square(close - middle)),
            )
        )
        mass = tf.reduce_sum(self._weights) + tf.reduce_sum(close_weights, axis=0)
        first, second = first / mass, second / mass
        variance = tf.maximum(second - tf.square(first), 0)
        is_sum = self._converges(self._weights * tf.square(x - middle))
        infinite = tf.constant(np.inf, x.dtype)
        stddev = tf.where(is_sum, tf.sqrt(variance), infinite)
        mean = tf.where(is_sum, middle + first, infinite * tf.sign(first))
        quantiles = tf.sort(tf.transpose(quantiles), axis=1)  # ascending they are, but for rounding
        return mean[:, tf.newaxis], stddev[:, tf.newaxis], quantiles[:, tf.newaxis, :]

    def _of_cells(self, table: tf.Tensor, cells: tf.Tensor) -> tf.Tensor:
        """Rows `cells` `[B, K]` of a table `[cells, P]`, as `[K P, B]`."""
        chosen = tf.gather(table, cells)
        return tf.transpose(tf.reshape(chosen, [-1, CLOSE_CELLS * (PARTS + 1)]))

    @staticmethod
    def _converges(terms: tf.Tensor) -> tf.Tensor:
        """`[B]`, whether the outermost of the terms `[M, B]` of an integral are small beside their sum."""
        outside = tf.reduce_sum(terms[:_TAIL_CELLS], axis=0) + tf.reduce_sum(terms[-_TAIL_CELLS:], axis=0)
        total = tf.reduce_sum(terms, axis=0)
        return tf.logical_and(tf.math.is_finite(total), outside <= _MOST_IN_TAILS * total)


def _phi(t: Array) -> Array:
    return np.asarray(np.exp(-0.5 * np.square(t)) / np.sqrt(2 * np.pi))


def _close_weights(inside: Array) -> Array:
    """What a finer rule adds to each cell `[cells, PARTS + 1]`, its coarse part taken away."""
    fine = _phi(inside) * (CELL / PARTS)
    fine[:, [0, -1]] /= 2
    coarse = np.zeros_like(fine)
    coarse[:, [0, -1]] = _phi(inside[:, [0, -1]]) * (CELL / 2)
    return fine - coarse


class RowPoints:
    """N points of base space for each row, from the row's seed."""

    def __init__(self, base: BaseProbabilities, num_draws: int, dtype: Any, steps: Steps) -> None:
        """`steps` are the random ones: uniforms `[B, K]` for seeds `[B]`, odd multiples of 2^-24."""
        self._base = base
        self._steps = steps
        self._dtype = tf.as_dtype(dtype)
        points = np.asarray(tf.math.sobol_sample(base.uniforms, num_draws, skip=0, dtype=tf.float64))
        bits = 20  # so that a sum with a random step is exact
        self._points = np.floor(points * 2.0**bits) * 2.0**-bits

    def __call__(self, seed: tf.Tensor) -> tf.Tensor:
        """`seed` int64 `[B]` to `z` `[B, N, D]`."""
        points = tf.constant(self._points, self._dtype)
        step = self._steps(seed, points.shape[1], self._dtype)[:, tf.newaxis, :]
        wrapped = step - (1 - points)  # exact, and never 0: a step lies between the points' grid
        return self._base.draw(tf.where(wrapped > 0, wrapped, step + points))


class DrawnSummary:
    """Mean, standard deviation and quantiles of D event columns, for rows of finite conditions.

    Attributes:
      points: from seeds `[B]` to base points `[B, N, D]`.
    """

    def __init__(
        self, points: RowPoints, forward: Forward, levels: Sequence[float], num_draws: int, widths: Array | None
    ) -> None:
        """Of a density.

        Args:
          points: base points of each row.
          forward: from `z` `[B N, D]` and conditions to `x`, for finite rows.
          levels: of the quantiles.
          num_draws: N.
          widths: `[D]`, steps to whose multiples a column's draws are rounded, 0 for none; `None` for no such column.
        """
        self.points = points
        self._forward = forward
        self._num_draws = num_draws
        self._widths = widths
        # the least number with a share of `level` at or below it
        self._ranks = [min(num_draws - 1, max(0, int(np.ceil(level * num_draws)) - 1)) for level in levels]

    def __call__(self, seed: tf.Tensor, conditional_input: tf.Tensor | None = None) -> list[tf.Tensor]:
        """`mean` `[B, D]`, `stddev` `[B, D]` and `quantiles` `[B, D, Q]`, for `seed` int64 `[B]`."""
        z = self.points(seed)
        condition = None if conditional_input is None else tf.repeat(conditional_input, self._num_draws, axis=0)
        x, _ = self._forward(tf.reshape(z, [-1, z.shape[2]]), condition)
        return self.of_draws(x)

    def of_draws(self, x: tf.Tensor) -> list[tf.Tensor]:
        """The same of draws `[B N, D]`, those of a row together."""
        size = x.shape[1]
        if self._widths is not None:
            x = rounded_to(x, self._widths)
        x = tf.transpose(tf.reshape(x, [-1, self._num_draws, size]), [0, 2, 1])
        ordered = tf.sort(x, axis=-1)
        middle = ordered[:, :, self._num_draws // 2 :][:, :, :1]  # moments about it: nothing cancels
        off = x - middle
        mean = tf.reduce_mean(off, axis=-1)
        variance = tf.reduce_mean(tf.square(off), axis=-1) - tf.square(mean)
        return [
            middle[:, :, 0] + mean,
            tf.sqrt(tf.maximum(variance, 0)),
            tf.gather(ordered, self._ranks, axis=-1),
        ]
