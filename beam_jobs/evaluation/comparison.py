"""Two models on the same rows: what is counted, what it comes to, and whether one of them is better.

Rows differ far more from each other than two models of them do. So the difference of the NLL is taken row by row: its
standard error is that of the differences, often a hundred times smaller than that of either mean, as of the paired
t-test. That of the CRPS is taken on a sample of rows, for which both models draw with the same seeds.

A row that only one model answers, or gives a density above zero, is in no mean, and would make the other look good:
such rows are counted by whose they are, and judged by a sign test. A model that loses more rows than the other by more
than chance is worse, however likely it finds the rest.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np

from beam_jobs.evaluation.results import (
    EvaluationResult,
    GroupResult,
    Histogram,
    finite_number,
    histogram_of,
    make_result,
)
from beam_jobs.evaluation.statistics import Statistics, ValueSketch, check_room, finite_points
from beam_jobs.evaluation.verdict import SURE
from beam_jobs.options.judging import BASELINE, MODEL, SIDES
from maf_serving.errors import JobError
from maf_serving.moments import Moments
from maf_serving.strict_json import parse_dataclass

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from beam_jobs.evaluation.column_scores import ColumnResult, ColumnScores
    from beam_jobs.evaluation.row_sample import SampleScores
    from beam_jobs.rows import Grouping
    from maf_serving.arrow_columns import Floats, Mask

QUANTILE_LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
# Less is rounding: two exports of one model differ by that much in float32.
ROUNDING = 1e-4
_SHOWN_SHARE = 0.98  # of the rows, in the histogram
Verdict = Literal["better", "no different", "worse"]


class PairedStatistics:
    """What rows, or a part of them, say of two models; can be merged. Its size depends on columns and groups alone.

    Attributes:
      sides: by `MODEL` and `BASELINE`, the evaluation of each on the rows that both answer.
      overall: differences of all rows; `groups` of those of each group.
      seconds: by side and what was asked (`model row`), how long a call took.
    """

    def __init__(self, dimensions: int, grouping: Grouping) -> None:
        self._grouping = grouping
        self.sides = {side: Statistics(dimensions, grouping) for side in SIDES}
        self.overall = DifferenceStatistics()
        self.groups: dict[str, DifferenceStatistics] = {}
        self.seconds = {f"{side} {asked}": ValueSketch() for side in SIDES for asked in ("row", "batch")}

    def add(self, answers: Mapping[str, Mapping[str, Floats]], both: Mask, groups: pa.StringArray | None) -> None:
        """Takes in rows.

        Args:
          answers: of each side, `log_prob` `[B]` and `z` `[B, D]`, and maybe `base_z` `[*, D]`, draws of its base.
          both: which of the rows `[B]` both sides answer.
          groups: of which group each of these is; `None` if that was not asked for.
        """
        log_prob = {side: found["log_prob"][both] for side, found in answers.items()}
        for side, statistics in self.sides.items():
            statistics.add(answers[side]["z"][both], log_prob[side], groups)
            if "base_z" in answers[side]:
                statistics.base_draws.add(finite_points(answers[side]["base_z"]))
        self.overall.add(log_prob)
        if groups is not None:
            encoded = groups.dictionary_encode()
            index = encoded.indices.to_numpy(zero_copy_only=False)
            for place, name in enumerate(encoded.dictionary.to_pylist()):
                mine = index == place
                self._group(name).add({side: values[mine] for side, values in log_prob.items()})

    def refuse(self, answered: Mapping[str, Mask], groups: pa.StringArray | None) -> None:
        """Takes in rows that a model refuses: which rows `[B]` each side answers."""
        self.overall.refuse(answered)
        if groups is not None:
            names = groups.to_numpy(zero_copy_only=False)
            for name in set(names):
                self._group(name).refuse({side: mask[names == name] for side, mask in answered.items()})

    def merge(self, other: PairedStatistics) -> None:
        """Takes in what another has seen. Raises `JobError` if there are too many groups."""
        for side in SIDES:
            self.sides[side].merge(other.sides[side])
        self.overall.merge(other.overall)
        for name, group in other.groups.items():
            self._group(name).merge(group)
        for asked, sketch in other.seconds.items():
            self.seconds[asked].merge(sketch)

    def _group(self, name: str) -> DifferenceStatistics:
        if name not in self.groups:
            check_room(self.groups, self._grouping)
            self.groups[name] = DifferenceStatistics()
        return self.groups[name]


class DifferenceStatistics:
    """Differences of the NLL of rows, and the rows that have none.

    Attributes:
      nll: moments of the NLL of the model, of the baseline, and of their difference, in nats.
      sketch: of the difference.
      model_ahead: rows that the model finds likelier than the baseline does.
      refused: rows without an answer, by who refuses: `model`, `baseline` or `both`.
      zero: the same of rows that are answered with a density of zero.
    """

    def __init__(self) -> None:
        self.nll = Moments(3)
        self.sketch = ValueSketch()
        self.model_ahead = 0
        self.refused: Counter[str] = Counter()
        self.zero: Counter[str] = Counter()

    def add(self, log_prob: Mapping[str, Floats]) -> None:
        """Takes in rows that both answer: log_prob `[B]` by side, minus infinity where the density is zero."""
        finite = {side: np.isfinite(values) for side, values in log_prob.items()}
        _count(self.zero, finite)
        both = finite[MODEL] & finite[BASELINE]
        model, baseline = (-log_prob[side][both].astype(np.float64) for side in SIDES)
        self.nll.add(np.stack([model, baseline, model - baseline], axis=1))
        self.sketch.add(model - baseline)
        self.model_ahead += int((model < baseline).sum())

    def refuse(self, answered: Mapping[str, Mask]) -> None:
        """Takes in rows of which a side, or both, has no answer."""
        _count(self.refused, answered)

    def merge(self, other: DifferenceStatistics) -> None:
        """Takes in what another has seen."""
        self.nll.merge(other.nll)
        self.sketch.merge(other.sketch)
        self.model_ahead += other.model_ahead
        self.refused.update(other.refused)
        self.zero.update(other.zero)


def _count(lost: Counter[str], there: Mapping[str, Mask]) -> None:
    model, baseline = (there[side] for side in SIDES)
    lost.update({MODEL: int((~model & baseline).sum()), BASELINE: int((model & ~baseline).sum())})
    lost["both"] += int((~model & ~baseline).sum())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LostRows:
    """Rows that are in no mean, by whose they are: one alone's, or both's."""

    model: int = 0
    baseline: int = 0
    both: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CrpsDifference:
    """The CRPS of an event column, in its units; less is better. `difference` is the model's less the baseline's.

    `verdict` is of the model, beyond the noise of all columns.
    """

    column: str
    model: float
    baseline: float
    difference: float
    standard_error: float | None
    verdict: Verdict


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is known of a group of rows, or of all.

    Attributes:
      group: its name; `None` for all rows.
      rows: rows that both models give a density above zero: the means are of them.
      nll, baseline_nll: mean negative log-likelihood of each, in nats.
      nll_difference: the model's less the baseline's: below zero, the model is better.
      standard_error: of that, from the differences of the rows.
      noise: what a difference has to exceed to be more than chance: see `SURE`.
      share_ahead: of the rows, that the model finds likelier.
      refused: rows without an answer.
      zero_density: rows that are answered with a density of zero.
      loses_rows: whether the model loses more rows than the baseline, by more than chance.
      ks, baseline_ks: the largest Kolmogorov-Smirnov distance of a column in base space.
      ks_by_chance: what a perfect model stays below in 95 of 100 such samples.
      crps_rows: rows of the sample that `crps` is of.
      crps: of each event column; empty where no row was scored so.
      verdict: of the model.
    """

    group: str | None
    rows: int
    nll: float | None
    baseline_nll: float | None
    nll_difference: float | None
    standard_error: float | None
    noise: float | None
    share_ahead: float | None
    refused: LostRows
    zero_density: LostRows
    loses_rows: bool
    ks: float | None
    baseline_ks: float | None
    ks_by_chance: float | None
    crps_rows: int
    crps: tuple[CrpsDifference, ...]
    verdict: Verdict


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Median seconds of a call in a worker, `encode_condition` and `inverse`, by what it is of; `None` of no call."""

    asked: str
    model: float | None
    baseline: float | None

    @property
    def ratio(self) -> float | None:
        """How many times as long the model takes."""
        return self.model / self.baseline if self.model and self.baseline else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonResult:
    """All that is measured.

    Attributes:
      model, baseline: the evaluation of each, on the rows that both answer.
      overall: all rows.
      groups: by name.
      quantiles: of the difference of the NLL, by level.
      histogram: of it, without the 1 % at either end.
      latency: of a row, and of a batch.
    """

    model: EvaluationResult
    baseline: EvaluationResult
    overall: Difference
    groups: tuple[Difference, ...]
    quantiles: Mapping[str, float | None]
    histogram: Histogram
    latency: tuple[Latency, ...]

    def to_json(self) -> str:
        """Text that `from_json` reads back."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ComparisonResult:
        """Reads what `to_json` wrote."""
        return parse_dataclass(cls, text, "result", error=JobError)


def compare_statistics(
    statistics: PairedStatistics, columns: Mapping[str, Sequence[str]], scores: SampleScores | None = None
) -> ComparisonResult:
    """The numbers from the sums.

    Args:
      statistics: of all rows.
      columns: by side, the event columns in its order.
      scores: of the sample, of the model's columns, the baseline's in the same order, and the differences.
    """
    results = {side: make_result(statistics.sides[side], columns[side]) for side in SIDES}
    by_group: dict[str | None, ColumnScores] = {}
    if scores is not None:
        by_group |= {None: scores.overall} | scores.groups
    distances = {
        side: {group.group: _largest_ks(group) for group in (results[side].overall, *results[side].groups)}
        for side in SIDES
    }
    chance = {group.group: group.ks_by_chance for group in (results[MODEL].overall, *results[MODEL].groups)}

    def make(name: str | None, found: DifferenceStatistics) -> Difference:
        rows, known = found.nll.count, found.nll.count > 0
        looked_at = 1 if name is None else len(statistics.groups)
        means = [float(mean) if known else None for mean in found.nll.mean]
        error = finite_number(found.nll.standard_error()[2])
        noise = None if error is None else max(sureness(looked_at) * error, ROUNDING)
        refused, zero = LostRows(**found.refused), LostRows(**found.zero)
        loses = lost_more(refused.model + zero.model, refused.baseline + zero.baseline, sureness(looked_at))
        wins = lost_more(refused.baseline + zero.baseline, refused.model + zero.model, sureness(looked_at))
        scored = by_group.get(name)
        return Difference(
            group=name,
            rows=rows,
            nll=means[0],
            baseline_nll=means[1],
            nll_difference=means[2],
            standard_error=error,
            noise=noise,
            share_ahead=found.model_ahead / rows if rows else None,
            refused=refused,
            zero_density=zero,
            loses_rows=loses,
            ks=distances[MODEL].get(name),
            baseline_ks=distances[BASELINE].get(name),
            ks_by_chance=chance.get(name),
            crps_rows=0 if scored is None else scored.rows,
            crps=() if scored is None else _crps(scored, columns[MODEL]),
            verdict=judge_pair(means[2], noise, loses_rows=loses, wins_rows=wins),
        )

    sketch = statistics.overall.sketch
    quantiles = [finite_number(value) for value in sketch.quantiles(QUANTILE_LEVELS)]
    return ComparisonResult(
        model=results[MODEL],
        baseline=results[BASELINE],
        overall=make(None, statistics.overall),
        groups=tuple(make(name, group) for name, group in sorted(statistics.groups.items())),
        quantiles={f"{level:g}": value for level, value in zip(QUANTILE_LEVELS, quantiles, strict=True)},
        histogram=histogram_of(sketch, _SHOWN_SHARE),
        latency=tuple(
            Latency(asked=asked, **{side: _median(statistics.seconds[f"{side} {asked}"]) for side in SIDES})
            for asked in ("row", "batch")
        ),
    )


def sureness(looked_at: int) -> float:
    """How many standard errors are more than chance, of so many differences that are judged together.

    >>> round(sureness(1), 2), round(sureness(20), 2)
    (2.0, 3.05)
    """
    return NormalDist().inv_cdf(1 - (1 - NormalDist().cdf(SURE)) / max(looked_at, 1))


def lost_more(one: int, other: int, sure: float) -> bool:
    """Whether one model loses more rows than the other by more than chance: a sign test of those that one loses alone.

    >>> lost_more(5, 0, 2.0), lost_more(6, 0, 2.0), lost_more(60, 50, 2.0), lost_more(0, 99, 2.0)
    (False, True, False, False)
    """
    return one > other and (one - other - 1) > sure * math.sqrt(one + other)


def noise_of(error: float | None, looked_at: int) -> float | None:
    """What a difference with that standard error has to exceed, of so many that are judged together."""
    return None if error is None else sureness(looked_at) * error


def judge_pair(gap: float | None, noise: float | None, *, loses_rows: bool = False, wins_rows: bool = False) -> Verdict:
    """The verdict on a model whose NLL, or CRPS, is `gap` above the baseline's. Nothing makes up for what is worse.

    >>> [judge_pair(-0.2, 0.01, loses_rows=loses) for loses in (False, True)]
    ['better', 'worse']
    """
    way = 0 if gap is None or noise is None or abs(gap) <= noise else math.copysign(1, gap)
    if loses_rows or way > 0:
        return "worse"
    return "better" if wins_rows or way < 0 else "no different"


def _largest_ks(group: GroupResult) -> float | None:
    return max((each.ks for each in group.dimensions if each.ks is not None), default=None)


def _crps(scores: ColumnScores, columns: Sequence[str]) -> tuple[CrpsDifference, ...]:
    """The three parts of the scores, side by side."""
    found: tuple[ColumnResult, ...] = scores.results([*columns] * 3, None)
    size = len(columns) if found else 0
    return tuple(
        CrpsDifference(
            column=one.column,
            model=one.mean_crps,
            baseline=other.mean_crps,
            difference=gap.mean_crps,
            standard_error=gap.crps_standard_error,
            verdict=judge_pair(gap.mean_crps, noise_of(gap.crps_standard_error, size)),
        )
        for one, other, gap in zip(found[:size], found[size : 2 * size], found[2 * size :], strict=True)
    )


def _median(sketch: ValueSketch) -> float | None:
    return finite_number(sketch.quantiles([0.5])[0])
