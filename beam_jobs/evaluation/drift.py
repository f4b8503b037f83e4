"""Whether the rows of a table are like those of training: what the counts come to, what is noise, and the verdict.

Of the counts between the quantiles of training, and of its categories (`column_counts.py`), come

    KS     the largest difference of the cumulative shares, of a number
    PSI    the population stability index, the sum of (p - q) log(p / q) over about ten bins: p today's, q training's
    shares of nulls, of values outside what training saw, of unknown categories, of what is no value at all

Of a point in time the shares of nulls and of what is none are judged alone: it is later now than in training.

A figure says drift if it is above what matters (`Limits`) and above what so many rows do by chance. Chance is that of
all figures together: in 99 of 100 tables of the training's own distribution none is above it, by Bonferroni's
correction. Bounds: Massart's for KS; for PSI, which times n n0 / (n + n0) has a chi-square distribution, its quantile;
for shares the normal approximation of the two-sample test, with a correction for continuity.
"""

from __future__ import annotations

import dataclasses
import json
import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from beam_jobs.evaluation.base_space import chi_square_quantile
from beam_jobs.evaluation.paired_nll import PairedDrift
from maf_serving.calibration import critical_distance
from maf_serving.columns import TIMESTAMP
from maf_serving.errors import JobError
from maf_serving.strict_json import parse_dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_jobs.evaluation.column_counts import ColumnCounts, Counts, NumberCounts
    from maf_serving.training_profile import ColumnProfile, NllProfile, Quantiles

Values = npt.NDArray[np.float64]
FALSE_ALARMS = 0.01
FEW_ROWS = 100
_BIN = 0.1  # of the training rows, that a bin of PSI has at least
_SMALL_CATEGORY = 0.01
_TAIL = 1 / 64  # of the validation rows: the least likely of them
Verdict = Literal["drift", "no drift", "too few rows"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What matters: figures below are no drift, however sure they are.

    Attributes:
      ks: Kolmogorov-Smirnov distance.
      psi: population stability index; below 0.1 it is commonly called stable.
      share: of the rows, by which a share may differ.
      nll: nats, by which the NLL of pairs may differ: half of what PSI is, which is a divergence in both directions.
    """

    ks: float = 0.05
    psi: float = 0.1
    share: float = 0.01
    nll: float = 0.05


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of the rows, today's and training's; `noise` is by how much they may differ by chance."""

    name: str
    today: float
    training: float
    noise: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """A column, or the NLL, against training.

    Attributes:
      column: its name.
      kind: `number`, `string` or `integer`; `nll`.
      rows: today's; `values` of them are values.
      ks, psi: of the values; `None` where there is none of them, KS also of a category.
      ks_noise, psi_noise: what so many rows may have by chance.
      mean, trained_mean: of a number.
      shares: of the rows that are null, unusable, outside, unknown.
      bins, trained_bins: shares of the values in the bins of PSI, from the least value, or by category.
      bin_names: what these are.
      reasons: what says drift, in words.
      verdict: of all figures.
    """

    column: str
    kind: str
    rows: int
    values: int
    ks: float | None
    ks_noise: float | None
    psi: float | None
    psi_noise: float | None
    mean: float | None
    trained_mean: float | None
    shares: tuple[Share, ...]
    bins: tuple[float, ...]
    trained_bins: tuple[float, ...]
    bin_names: tuple[str, ...]
    reasons: tuple[str, ...]
    verdict: Verdict


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DriftResult:
    """All columns, the NLL, which is `None` where the profile has none, and pairs, `None` where none were asked for."""

    columns: tuple[ColumnDrift, ...]
    nll: ColumnDrift | None
    paired: PairedDrift | None = None

    @property
    def all(self) -> tuple[ColumnDrift, ...]:
        """The columns, and the NLL."""
        return (*self.columns, *([self.nll] if self.nll is not None else []))

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the columns that are drift, `NLL`, and `NLL of pairs`."""
        pairs = self.paired is not None and self.paired.verdict == "drift"
        return (*(each.column for each in self.all if each.verdict == "drift"), *(["NLL of pairs"] if pairs else []))

    @property
    def verdict(self) -> Verdict:
        """`drift` if one says so; `too few rows` if none does, and one cannot tell."""
        found = {each.verdict for each in self.all}
        if self.paired is not None:
            found.add(self.paired.verdict)
        return "drift" if "drift" in found else "too few rows" if "too few rows" in found else "no drift"

    def to_json(self) -> str:
        """Text that `from_json` reads back."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> DriftResult:
        """Reads what `to_json` wrote."""
        return parse_dataclass(cls, text, "result", error=JobError)


class Judge:
    """Compares counts with a profile.

    Attributes:
      tail: how probable a figure of the training's own distribution may be above its noise.
      limits: what matters.
    """

    _FIGURES = 5  # of a column, at most: KS, PSI, nulls, unusable, and outside or unknown

    def __init__(self, looked_at: int, limits: Limits) -> None:
        """`looked_at` is how many columns are judged together, the NLL, and that of pairs, among them."""
        self.tail = FALSE_ALARMS / (max(looked_at, 1) * self._FIGURES)
        self.limits = limits

    def column(self, profile: ColumnProfile, counts: ColumnCounts) -> ColumnDrift:
        """A raw column."""
        cells, rows, trained = counts.cells, counts.rows, profile.worth
        values, trained_values = int(cells.sum()), trained * (1 - profile.null_share)
        shares = [
            self._share("null", counts.nulls, rows, profile.null_share * trained, trained),
            self._share("unusable", counts.unusable, rows, 0, trained),
        ]
        if profile.quantiles is not None:
            outside = int(cells[0] + cells[-1])
            shares.append(self._share("outside", outside, values, 0, trained_values))
            bins, expected, names = _number_bins(cells, profile.quantiles)
            distance = _distance(cells, profile.quantiles)
        else:
            unknown = profile.others * trained_values  # of a number without quantiles, all values are
            shares.append(self._share("unknown", int(cells[-1]), values, unknown, trained_values))
            bins, expected, names = _category_bins(cells, profile)
            distance = None
        return self._judged(
            column=profile.name,
            kind=profile.kind,
            rows=rows,
            shares=shares,
            ks=distance,
            bins=(bins, expected, names),
            trained=trained_values,
            mean=None if counts.numbers is None else counts.numbers.mean,
            trained_mean=profile.mean,
        )

    def nll(self, profile: NllProfile, counts: NumberCounts, *, zero_density: int) -> ColumnDrift:
        """The NLL of today's rows against that of the validation rows; `zero_density` rows have none."""
        cells, quantiles = counts.cells, profile.quantiles
        values = int(cells.sum())
        tail = next(place for place, share in enumerate(quantiles.cumulative) if share >= 1 - _TAIL)
        unlikely = 1 - quantiles.cumulative[tail]
        shares = [
            self._share("zero density", zero_density, values + zero_density, 0, profile.worth),
            self._share("unlikely", int(cells[tail + 2 :].sum()), values, unlikely * profile.worth, profile.worth),
        ]
        return self._judged(
            column="NLL",
            kind="nll",
            rows=values + zero_density,
            shares=shares,
            ks=_distance(cells, quantiles),
            bins=_number_bins(cells, quantiles),
            trained=profile.worth,
            mean=counts.mean,
            trained_mean=profile.mean,
        )

    def _judged(
        self,
        *,
        column: str,
        kind: str,
        rows: int,
        shares: Sequence[Share],
        ks: float | None,
        bins: tuple[Values, Values, tuple[str, ...]],
        trained: float,
        mean: float | None,
        trained_mean: float | None,
    ) -> ColumnDrift:
        counts, expected, names = bins
        values = int(counts.sum())
        enough = min(values, trained) >= FEW_ROWS
        passes = kind == TIMESTAMP  # time does, and new rows are later than those of training
        both = values * trained / max(values + trained, 1)
        ks_noise = critical_distance(both, self.tail) if ks is not None and both else None
        psi = stability_index(counts, expected, trained) if both else None
        psi_noise = chi_square_quantile(1 - self.tail, len(counts) - 1) / both if both and len(counts) > 1 else None
        reasons = []
        is_judged = enough and not passes
        if is_judged and ks is not None and ks_noise is not None and ks > max(self.limits.ks, ks_noise):
            reasons.append(f"KS {ks:.3f}")
        if is_judged and psi is not None and psi_noise is not None and psi > max(self.limits.psi, psi_noise):
            reasons.append(f"PSI {psi:.3f}")
        if rows >= FEW_ROWS:
            judged = [each for each in shares if not (passes and each.name == "outside")]
            off = [each for each in judged if abs(each.today - each.training) > max(self.limits.share, each.noise)]
            reasons += [f"{100 * each.today:.1f} % {each.name} ({100 * each.training:.1f} %)" for each in off]
        verdict: Verdict = "drift" if reasons else "no drift" if enough else "too few rows"
        return ColumnDrift(
            column=column,
            kind=kind,
            rows=rows,
            values=values,
            ks=ks if values else None,
            ks_noise=ks_noise,
            psi=psi,
            psi_noise=psi_noise,
            mean=mean,
            trained_mean=trained_mean,
            shares=tuple(shares),
            bins=tuple((counts / max(values, 1)).tolist()),
            trained_bins=tuple(expected.tolist()),
            bin_names=names,
            reasons=tuple(reasons),
            verdict=verdict,
        )

    def _share(self, name: str, count: int, rows: int, trained_count: float, trained: float) -> Share:
        today, training = count / max(rows, 1), trained_count / max(trained, 1)
        if not rows or not trained:
            return Share(name=name, today=today, training=training, noise=1.0)
        pooled = (count + trained_count) / (rows + trained)
        inverse = 1 / rows + 1 / trained
        sure = NormalDist().inv_cdf(1 - self.tail / 2)
        noise = sure * math.sqrt(pooled * (1 - pooled) * inverse) + 0.5 * inverse
        return Share(name=name, today=today, training=training, noise=noise)


def stability_index(counts: Values, expected: Values, trained: float) -> float:
    """PSI of counts `[B]` against shares `[B]` of so many training rows; half a row more in each bin, for empty ones.

    >>> round(stability_index(np.array([50, 50]), np.array([0.5, 0.5]), 1000), 3)
    0.0
    >>> round(stability_index(np.array([900, 100]), np.array([0.5, 0.5]), 10**6), 2)
    0.88
    """
    bins = len(counts)
    p = (counts + 0.5) / (counts.sum() + 0.5 * bins)
    q = (expected * trained + 0.5) / (trained + 0.5 * bins)
    return float(((p - q) * np.log(p / q)).sum())


def _distance(cells: Counts, quantiles: Quantiles) -> float:
    """KS at the quantiles' values, and below the least; exact to the resolution of the quantiles."""
    today = np.cumsum(cells[:-1]) / max(cells.sum(), 1)
    return float(np.abs(today - np.array([0.0, *quantiles.cumulative])).max())


def _number_bins(cells: Counts, quantiles: Quantiles) -> tuple[Values, Values, tuple[str, ...]]:
    """Counts in bins of a tenth of the training values at least, one below and one above them; shares; up to where."""
    shares = np.diff([0.0, *quantiles.cumulative])
    ends, reached = [], 0.0
    for place, share in enumerate(shares):
        reached += share
        if reached >= _BIN or place == len(shares) - 1:
            ends.append(place)
            reached = 0.0
    if len(ends) > 1 and quantiles.cumulative[ends[-1]] - quantiles.cumulative[ends[-2]] < _BIN / 2:
        del ends[-2]
    starts = [0, *(end + 1 for end in ends[:-1])]
    counts = [cells[0], *np.add.reduceat(cells[1:-1], starts), cells[-1]]
    expected = [0.0, *np.add.reduceat(shares, starts), 0.0]
    names = ["below", *(f"up to {quantiles.values[end]:g}" for end in ends), "above"]
    return np.array(counts, np.float64), np.array(expected), tuple(names)


def _category_bins(cells: Counts, profile: ColumnProfile) -> tuple[Values, Values, tuple[str, ...]]:
    """Counts of the categories that are not rare, of the rare ones together, of unknown ones; shares; names."""
    shares = np.array([*profile.shares, 0.0, profile.others])
    shares[-2] = max(1 - shares.sum(), 0.0)
    frequent = np.flatnonzero(shares[:-2] >= _SMALL_CATEGORY)
    rare = np.setdiff1d(np.arange(len(shares) - 1), frequent)
    counts = [*cells[frequent], cells[rare].sum(), cells[-1]]
    expected = [*shares[frequent], shares[rare].sum(), shares[-1]]
    names = (*(str(profile.categories[place]) for place in frequent), "others", "unknown")
    return np.array(counts, np.float64), np.array(expected), names
