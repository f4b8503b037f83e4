"""Whether probabilities hold: what counts as noise, and what is said of a model in words.

Two reports look at it in two ways, by ranks among draws and by places in base space. What they find is a `Fit` of
either: shares of rows in regions of known probability, and the largest difference of cumulative shares (Kolmogorov and
Smirnov's) for each event column. This module says the same of the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Literal

from maf_serving.page_numbers import fixed, level, number, percent

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
CONFIDENCE = 0.95
SMALL = 0.01  # a point: more than noise, perhaps, of very many rows, but hardly worth a word
BIASED, SPREAD = 0.01, 0.02
Kind = Literal["good", "fair", "bad", "note"]


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """A sentence of a verdict: `claim` in bold, what it rests on after it."""

    kind: Kind
    claim: str
    ground: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFit:
    """One event column against what the model says of it.

    Attributes:
      column: its name.
      distance: largest difference of the cumulative shares from those that should be.
      mean: of the rows' probabilities of smaller values; 0.5 if right, `None` if not known.
      spread: of them, relative to what it should be; 1 if right, `None` if not known.
    """

    column: str
    distance: float
    mean: float | None = None
    spread: float | None = None

    @property
    def direction(self) -> str:
        """In which way it is off, in words."""
        findings = []
        if self.mean is not None and abs(self.mean - 0.5) > BIASED:
            findings.append("predicted too low" if self.mean > 0.5 else "predicted too high")
        if self.spread is not None and abs(self.spread - 1) > SPREAD:
            findings.append("predicted too narrow" if self.spread > 1 else "predicted too wide")
        return " and ".join(findings) or "shape a little off"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """All event columns, each for itself and jointly.

    Attributes:
      rows: how many the shares are of.
      levels: pairs of the expected and the observed share of the rows in regions of all columns together.
      distance: the largest difference of the two, over regions of all sizes.
      columns: each event column.
      reference_rows: draws that the expected shares are of; `None` where these are exact.
      looked_at: how many such fits are judged together, of groups say.
    """

    rows: int
    levels: tuple[tuple[float, float], ...]
    distance: float
    columns: tuple[ColumnFit, ...]
    reference_rows: int | None = None
    looked_at: int = 1

    @property
    def noise(self) -> float:
        """A perfect model's distances, all columns' and the joint one, stay below it in 95 of 100 cases."""
        return critical_distance(self._rows, (1 - CONFIDENCE) / (self.looked_at * (len(self.columns) + 1)))

    def level_noise(self, expected: float) -> float:
        """A perfect model's shares, at all levels, are within it of what they should be in 95 of 100 cases."""
        tail = (1 - CONFIDENCE) / (2 * self.looked_at * len(self.levels))
        return NormalDist().inv_cdf(1 - tail) * math.sqrt(expected * (1 - expected) / self._rows)

    def is_within(self, expected: float, observed: float) -> bool:
        """Whether a share is as it should be, as far as so many rows can tell."""
        return abs(observed - expected) <= self.level_noise(expected)

    @property
    def levels_within(self) -> int:
        """How many levels are as they should be."""
        return sum(self.is_within(*each) for each in self.levels)

    @property
    def columns_within(self) -> int:
        """How many columns are as they should be, each for itself."""
        return sum(column.distance <= self.noise for column in self.columns)

    @property
    def worst_column(self) -> ColumnFit:
        """The one with the largest distance."""
        return max(self.columns, key=lambda column: column.distance)

    @property
    def joint(self) -> Kind:
        """Of all columns together: `good` within noise, `fair` if off by a point at most, `bad` beyond."""
        if self.levels_within == len(self.levels) and self.distance <= self.noise:
            return "good"
        return "fair" if max(self.distance, *(abs(o - e) for e, o in self.levels)) <= SMALL else "bad"

    @property
    def marginal(self) -> Kind:
        """Of the columns, each for itself; the worst counts."""
        if self.worst_column.distance <= self.noise:
            return "good"
        return "fair" if self.worst_column.distance <= SMALL else "bad"

    @property
    def kind(self) -> Kind:
        """The worse of the two."""
        return max(self.joint, self.marginal, key=("good", "fair", "bad").index)

    @property
    def _rows(self) -> float:
        other = self.reference_rows
        return self.rows if other is None else self.rows * other / (self.rows + other)


def critical_distance(rows: float, tail: float) -> float:
    """The Kolmogorov-Smirnov distance that `rows` of the very distribution exceed with probability `tail`."""
    return math.sqrt(-math.log(tail / 2) / (2 * rows))


def column_verdict(column: ColumnFit, fit: Fit) -> str:
    """What is found of a column, in a few words."""
    return "calibrated, as far as can be told" if column.distance <= fit.noise else column.direction


def joint_verdict(fit: Fit) -> str:
    """What is found of all columns together, in a few words."""
    words = {"good": "calibrated, as far as can be told", "fair": "nearly calibrated", "bad": "not calibrated"}
    return words[fit.joint] + ("" if fit.joint == "good" else f", up to {_points(_largest(fit))} off")


def findings_of(fit: Fit, region: str) -> list[Finding]:
    """The verdict on a fit: jointly first, then each column for itself.

    Args:
      fit: what was found.
      region: what its regions are called, "densest region" say.
    """
    return [_joint_finding(fit, region), _column_finding(fit)]


def _joint_finding(fit: Fit, region: str) -> Finding:
    within = f"{fit.levels_within} of {len(fit.levels)} levels within noise"
    on = f"on {fit.rows:,} rows"
    if fit.joint == "good":
        claim = "Calibrated:" if fit.marginal == "good" else "Calibrated as a whole:"
        return Finding("good", claim, f"{within}, all event columns together, {on}.")
    if fit.joint == "fair":
        return Finding(
            "fair",
            "Nearly calibrated:",
            f"all event columns together up to {_points(_largest(fit))} off, which is more than noise {on}, but small.",
        )
    expected, observed = max(fit.levels, key=lambda each: abs(each[1] - each[0]) / fit.level_noise(each[0]))
    if fit.is_within(expected, observed):
        ground = f"{within}, but between them the coverage is up to {_points(fit.distance)} off, {on}."
    else:
        way = "wide" if observed > expected else "narrow"
        ground = (
            f"{within}; the {level(expected)} {region} holds {percent(observed)} of the rows, so it is too {way}, {on}."
        )
    return Finding("bad", "Not calibrated, all event columns together:", ground)


def _column_finding(fit: Fit) -> Finding:
    count, worst = len(fit.columns), fit.worst_column
    if fit.marginal == "good":
        if fit.joint == "good":
            return Finding("good", "Each column for itself:", f"{count} of {count} within noise.")
        off = "how they go together" if count > 1 else "the shape of its density"
        return Finding("note", "Each column for itself", f"is within noise ({count} of {count}); what is off is {off}.")
    named = f"worst is {worst.column}, {worst.direction} (KS {fixed(worst.distance, 3)}, noise {fixed(fit.noise, 3)})."
    if fit.marginal == "fair":
        return Finding("fair", "Columns nearly calibrated:", f"{fit.columns_within} of {count} within noise; {named}")
    together = "" if fit.joint == "good" or not fit.columns_within else ", each for itself, which together are not"
    return Finding("bad", f"{fit.columns_within} of {count} columns calibrated{together}:", named)


def group_finding(fits: Sequence[tuple[str, Fit]], noun: str) -> Finding | None:
    """The verdict on several groups of rows, and which is the worst; `None` if there is none."""
    known = [(name, dataclasses.replace(fit, looked_at=len(fits))) for name, fit in fits if fit.rows]
    if not known:
        return None
    within = sum(fit.kind == "good" for _, fit in known)
    kind = max((fit.kind for _, fit in known), key=("good", "fair", "bad").index)
    if kind == "good":
        return Finding("good", f"Calibrated in each {noun}:", f"{within} of {len(known)} within noise.")
    name, worst = max(known, key=lambda each: _excess(each[1]))
    what = (
        f"{worst.worst_column.column} is {worst.worst_column.direction}"
        if worst.marginal != "good"
        else (f"its coverage is up to {_points(_largest(worst))} off")
    )
    return Finding(
        kind,
        f"{within} of {len(known)} values of {noun} calibrated:",
        f"worst is {noun} = {name}, where {what} (KS {fixed(max(worst.distance, worst.worst_column.distance), 3)}, "
        f"noise {fixed(worst.noise, 3)}, {worst.rows:,} rows).",
    )


def _excess(fit: Fit) -> float:
    return max(fit.distance, fit.worst_column.distance) / fit.noise


def _largest(fit: Fit) -> float:
    return max(fit.distance, *(abs(observed - expected) for expected, observed in fit.levels))


def _points(share: float) -> str:
    return f"{number(100 * share, 2)} points"
