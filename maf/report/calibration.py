"""Whether the model's probabilities are what happens: ranks of the test rows among the model's own draws.

For each of some test rows, K draws of p(x | c) at the row's condition. If the model is right, the rank of a row's value
among the K draws is uniform on 0, ..., K, in each event column (the probability integral transform, Dawid 1984), and so
is the rank of its density among theirs: the highest-density region of probability p holds the row with probability p,
whatever the dimension (Hyndman 1996). Rows with weights count as much in the shares.
"""

from __future__ import annotations

import dataclasses
import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from maf_serving.calibration import CONFIDENCE, LEVELS, ColumnFit, Fit
from maf_serving.weights import effective_rows, sample_rows

if TYPE_CHECKING:
    from maf.report.model import ReportModel

Array = np.ndarray[Any, Any]
DRAWS = 99  # ranks 0 to 99, which bins of 5 and 10 divide
MAX_RANKED_ROWS = 4_000
MIN_RANKED_ROWS = 500
DRAW_BUDGET = 800_000  # draws times event columns: a draw costs TFP a network for each column


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ColumnCalibration:
    """Ranks of one event column.

    Attributes:
      column: its name.
      shares: of the rows, in bins of equal probability.
      distance: largest difference of the cumulative shares from uniform ones, Kolmogorov and Smirnov's.
      mean, spread: of the ranks as probabilities; 0.5 and 1 if right, `spread` being relative to a uniform one's.
      covered: shares of the rows in central intervals of probability `LEVELS`.
    """

    column: str
    shares: tuple[float, ...]
    distance: float
    mean: float
    spread: float
    covered: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Calibration of all columns, each for itself and jointly.

    Attributes:
      rows: that were ranked.
      effective_rows: as how many rows of equal weight they tell; `None` where all count alike.
      columns: each event column's.
      coverage: shares of the rows in highest-density regions of probability 0.01, 0.02, ..., 1.
      covered: the same for `LEVELS`.
      distance: the largest difference of `coverage` from these probabilities.
      share_by_chance: a perfect model's bin shares are within this of their mean, all of a column, in 95 of 100 cases.
    """

    rows: int
    columns: tuple[ColumnCalibration, ...]
    coverage: tuple[float, ...]
    covered: tuple[float, ...]
    distance: float
    share_by_chance: float
    effective_rows: float | None = None

    @property
    def fit(self) -> Fit:
        """The same as what is judged."""
        return Fit(
            rows=self.rows if self.effective_rows is None else max(1, round(self.effective_rows)),
            levels=tuple(zip(LEVELS, self.covered, strict=True)),
            distance=self.distance,
            columns=tuple(
                ColumnFit(column=each.column, distance=each.distance, mean=each.mean, spread=each.spread)
                for each in self.columns
            ),
        )


def calibrate(
    model: ReportModel, x: Array, c: Array, weights: Array | None = None, *, columns: tuple[str, ...], seed: int
) -> Calibration:
    """Ranks rows x `[N, D]` among draws given c `[N, C]`; of many rows, a sample, by their weights `[N]` if any."""
    rng = np.random.default_rng(seed)
    most = min(MAX_RANKED_ROWS, max(MIN_RANKED_ROWS, DRAW_BUDGET // (DRAWS * model.event_size)))
    chosen, weights = sample_rows(len(x), most, weights, rng)
    x, c = x[chosen], c[chosen]
    repeated = np.repeat(c, DRAWS, axis=0)
    draws = model.sample(repeated, seed=seed)
    densities = model.log_prob(draws, repeated).reshape(len(x), DRAWS)
    by_column = _ranks(draws.reshape(len(x), DRAWS, -1), x, rng)
    by_density = DRAWS - _ranks(densities[..., None], model.log_prob(x, c)[:, None], rng)[:, 0]
    worth = None if weights is None else effective_rows(weights)
    bins = 20 if (len(x) if worth is None else worth) >= 400 else 10
    return Calibration(
        rows=len(x),
        columns=tuple(_column(name, by_column[:, i], weights, bins, rng) for i, name in enumerate(columns)),
        coverage=tuple(_share(by_density < k, weights) for k in range(1, DRAWS + 2)),
        covered=tuple(_share(by_density < round(level * (DRAWS + 1)), weights) for level in LEVELS),
        distance=_distance(by_density, weights),
        share_by_chance=_share_by_chance(len(x) if worth is None else worth, bins),
        effective_rows=worth,
    )


def _share(rows: Array, weights: Array | None) -> float:
    """Of those that are true, `[N]`."""
    return float(np.average(rows, weights=weights))


def _ranks(draws: Array, values: Array, rng: np.random.Generator) -> Array:
    """How many of the draws `[N, K, D]` are below the values `[N, D]`; at random among equal ones."""
    below = (draws < values[:, None]).sum(axis=1)
    equal = (draws == values[:, None]).sum(axis=1)
    ranks: Array = below + rng.integers(0, equal + 1)
    return ranks


def _column(name: str, ranks: Array, weights: Array | None, bins: int, rng: np.random.Generator) -> ColumnCalibration:
    probabilities = (ranks + rng.random(len(ranks))) / (DRAWS + 1)  # between draws anywhere: uniform if right
    shares = np.bincount(ranks * bins // (DRAWS + 1), weights, minlength=bins)
    off = np.abs(probabilities - 0.5)
    return ColumnCalibration(
        column=name,
        shares=tuple((shares / shares.sum()).tolist()),
        distance=_distance(ranks, weights),
        mean=float(np.average(probabilities, weights=weights)),
        spread=float(np.sqrt(np.average(off**2, weights=weights) * 12)),
        covered=tuple(_share(off < level / 2, weights) for level in LEVELS),
    )


def _distance(ranks: Array, weights: Array | None) -> float:
    cumulative = np.bincount(ranks, weights, minlength=DRAWS + 1).cumsum()
    return float(np.abs(cumulative / cumulative[-1] - np.arange(1, DRAWS + 2) / (DRAWS + 1)).max())


def _share_by_chance(rows: float, bins: int) -> float:
    """Normal approximation of the binomial, with Bonferroni's correction for the number of bins."""
    quantile = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / (2 * bins))
    return quantile * math.sqrt((1 - 1 / bins) / (bins * rows))
