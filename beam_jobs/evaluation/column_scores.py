"""How good a density is as a forecast of each event column: CRPS, and the coverage and width of central intervals.

The continuous ranked probability score of a distribution F of a column and its value x,

    CRPS(F, x) = integral of (F(y) - [x <= y])^2 dy = E|X - x| - E|X - X'| / 2,      X and X' independent draws of F,

is in the units of the column; less is better, and of a forecast that is a single number it is the absolute error [1].

Of one event column F is known by its quantiles, and of several by draws of each row, whose mean squared distances are
corrected for their number [2]: neither is off for being made of few points, but for noise that has no bias.

[1] Gneiting, Raftery: "Strictly proper scoring rules, prediction, and estimation" (2007), equations 20 and 21.
[2] Ferro: "Fair scores for ensemble forecasts" (2014).
"""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maf_serving.weights import WeightedMoments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maf_serving.arrow_columns import Floats
    from maf_serving.model_inputs import Array

Values = npt.NDArray[np.float64]
INTERVALS = (0.5, 0.9)
SCORES = 1 + 2 * len(
    INTERVALS
)  # of a row and column: CRPS, and of each interval whether it holds the value, and its width
# One draw less than a multiple of the levels' denominators: the interval between two draws, counted from both ends,
# then holds its level of such values exactly, for which it is some 2 % wider than that of the distribution itself.
NUM_DRAWS = 99
_STEP, _FARTHEST = 1 / 8, 4.0


def _normal_points() -> Values:
    """Where on a normal scale the quantiles are that F is known by: an even grid, and the ends of `INTERVALS`."""
    ends = [NormalDist().inv_cdf((1 - level) / 2) for level in INTERVALS]
    grid = np.arange(-_FARTHEST, _FARTHEST + _STEP / 2, _STEP)
    points: Values = np.unique([*grid, *ends, *(-end for end in ends)])
    return points


POINTS = _normal_points()
PROBABILITIES: Values = np.array([NormalDist().cdf(point) for point in POINTS])


def scores_of_quantiles(quantiles: Floats, x: Floats) -> Values:
    """Scores `[B, 1, SCORES]` of one event column.

    Between neighbouring quantiles F is taken for what is linear on a normal scale: exact for a normal distribution,
    and off by the square of the step for a smooth one. Beyond the outermost F is 0 and 1.

    Args:
      quantiles: `[B, K]`, for `PROBABILITIES`.
      x: `[B, 1]`, the values.
    """
    q = np.maximum.accumulate(quantiles.astype(np.float64), axis=1)  # ascending they are, but for rounding
    value = x.astype(np.float64)[:, 0]
    rows = np.arange(len(q))
    rise, steps = np.diff(q, axis=1), np.diff(POINTS)
    below, above = _below(POINTS), _below(-POINTS)
    cell = np.clip((q <= value[:, np.newaxis]).sum(axis=1) - 1, 0, len(steps) - 1)
    left = np.cumsum(rise * (np.diff(below) / steps), axis=1)
    right = np.cumsum((rise * (-np.diff(above) / steps))[:, ::-1], axis=1)[:, ::-1]
    left, right = (np.pad(part, ((0, 0), pad)) for part, pad in ((left, (1, 0)), (right, (0, 1))))
    inside = np.clip(value, q[:, 0], q[:, -1])
    width = rise[rows, cell]
    share = np.divide(inside - q[rows, cell], width, out=np.zeros_like(width), where=width > 0)
    split = POINTS[cell] + share * steps[cell]
    crps = left[rows, cell] + right[rows, cell + 1] + np.abs(value - inside)
    crps += width / steps[cell] * (_below(split) - below[cell] + _below(-split) - above[cell + 1])
    ends = [np.searchsorted(POINTS, NormalDist().inv_cdf(tail)) for tail in _tails()]
    return _assembled(crps[:, np.newaxis], [q[:, [end]] for end in ends], x)


def scores_of_draws(draws: Floats, x: Floats) -> Values:
    """Scores `[B, D, SCORES]` of each event column.

    Args:
      draws: `[B, NUM_DRAWS, D]`, of each row.
      x: `[B, D]`, the values.
    """
    offset = x.astype(np.float64)[:, np.newaxis, :]
    off = np.sort(draws.astype(np.float64) - offset, axis=1)
    count = off.shape[1]
    weights = (2 * np.arange(count) - count + 1) / (count * (count - 1))
    crps = np.abs(off).mean(axis=1) - np.einsum("bnd,n->bd", off, weights)
    ends = [off[:, round(tail * (count + 1)) - 1, :] + offset[:, 0, :] for tail in _tails()]
    return _assembled(crps, ends, x)


def _tails() -> list[float]:
    """Levels of the lower and the upper end of each of `INTERVALS`."""
    return [side for level in INTERVALS for side in ((1 - level) / 2, (1 + level) / 2)]


def _below(t: Values) -> Values:
    """The integral of the squared normal distribution function up to `t`."""
    cdf = _normal_cdf(t)
    density = np.exp(-0.5 * np.square(t)) / math.sqrt(2 * math.pi)
    area: Values = t * np.square(cdf) + 2 * density * cdf - _normal_cdf(math.sqrt(2) * t) / math.sqrt(math.pi)
    return area


def _normal_cdf(t: Values) -> Values:
    return np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in t])


def _assembled(crps: Values, ends: list[Values], x: Floats) -> Values:
    """`[B, D, SCORES]`: CRPS, and of each of `INTERVALS` whether it holds the value, and its width."""
    columns = [crps]
    for low, high in zip(ends[::2], ends[1::2], strict=True):
        columns += [((low <= x) & (x <= high)).astype(np.float64), high - low]
    return np.stack(columns, axis=-1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class IntervalResult:
    """The central intervals of each row that hold `level` of an event column.

    Attributes:
      level: what they should hold.
      coverage: the share of the rows whose value is in theirs.
      standard_error: of that share.
      mean_width: in the column's units; at the same coverage, narrower is better.
    """

    level: float
    coverage: float
    standard_error: float | None
    mean_width: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ColumnResult:
    """An event column as a forecast of its values; see `column_scores.py`.

    Attributes:
      column: its name.
      mean_crps: mean continuous ranked probability score, in the column's units; less is better.
      crps_standard_error: of that mean.
      crps_without_conditions: what the same values score for the distribution of all of them.
      intervals: central ones, of one level each.
    """

    column: str
    mean_crps: float
    crps_standard_error: float | None
    crps_without_conditions: float | None
    intervals: tuple[IntervalResult, ...]


class ColumnScores:
    """Sums of the scores of rows, or of a part of them; they can be merged.

    Attributes:
      failed: rows whose scores are not finite, which are in no mean.
    """

    def __init__(self, dimensions: int) -> None:
        self.failed = 0
        self._dimensions = dimensions
        self._moments = WeightedMoments(dimensions * SCORES)

    @property
    def rows(self) -> int:
        """How many the means are of."""
        return self._moments.count

    @property
    def effective_rows(self) -> float | None:
        """As how many rows of equal weight these tell; `None` where all count alike."""
        return self._moments.effective_rows if self._moments.is_weighted else None

    def add(self, scores: Values, weights: Values | None = None) -> None:
        """Takes in `[B, D, SCORES]`, of rows that count as much as `weights` `[B]` says, above 0."""
        flat = scores.reshape(len(scores), self._dimensions * SCORES)
        finite = np.isfinite(flat).all(axis=1)
        self.failed += int((~finite).sum())
        self._moments.add(flat[finite], None if weights is None else weights[finite])

    def merge(self, other: ColumnScores) -> None:
        """Takes in what another has seen."""
        self.failed += other.failed
        self._moments.merge(other._moments)

    def results(self, event_columns: Sequence[str], alone: Array | None) -> tuple[ColumnResult, ...]:
        """The means of each column; none of no rows.

        Args:
          event_columns: names of the D columns.
          alone: `[D]`, `half_mean_distance` of the rows, if that is known.
        """
        if not self.rows:
            return ()
        shape = (self._dimensions, SCORES)
        means, errors = self._moments.mean.reshape(shape), self._moments.standard_error().reshape(shape)
        return tuple(
            ColumnResult(
                column=name,
                mean_crps=float(means[index, 0]),
                crps_standard_error=_finite(errors[index, 0]),
                crps_without_conditions=None if alone is None else _finite(alone[index]),
                intervals=tuple(
                    IntervalResult(
                        level=level,
                        coverage=float(means[index, place]),
                        standard_error=_finite(errors[index, place]),
                        mean_width=float(means[index, place + 1]),
                    )
                    for level, place in zip(INTERVALS, range(1, SCORES, 2), strict=True)
                ),
            )
            for index, name in enumerate(event_columns)
        )


def _finite(value: float) -> float | None:
    """JSON has no infinity and no NaN."""
    return float(value) if math.isfinite(value) else None


def half_mean_distance(x: Floats, weights: Values | None = None) -> Values:
    """`[D]`, half the mean distance of two of the values `[B, D]`: the CRPS of forecasts that know no conditions.

    That is what the values score, each for the distribution of all others. NaN of fewer than two. Weights `[B]` count
    in both: a value as often as its own says, and each other in its distribution as much.
    """
    if len(x) < 2:
        return np.full(x.shape[1], np.nan)
    order = np.argsort(x, axis=0)
    ordered = np.take_along_axis(x.astype(np.float64), order, axis=0)
    counting = np.ones(x.shape) if weights is None else weights[order]
    total = counting.sum(axis=0)
    pairs = np.square(total) - np.square(counting).sum(axis=0)
    # a value is above all before it and below all behind it
    above = np.cumsum(counting, axis=0) - counting
    lean = counting * (2 * above + counting - total)
    half: Values = (lean * (ordered - ordered[len(x) // 2])).sum(axis=0) / pairs
    return half
