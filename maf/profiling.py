"""What training saw, from the split rows: a `TrainingProfile`.

Moments, extremes, nulls and categories are of all training rows, which are gone through once, a chunk at a time. The
quantiles between the extremes are of every so manieth row, enough of them to know a share to about a thousandth.

Rows with weights count as much as these say: a profile is what rows are later compared with, and a model knows its rows
by their weights. Weights that undo how rows were sampled give the profile of what they were sampled from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from maf_serving.columns import ConditionColumn
from maf_serving.moments import Moments
from maf_serving.training_profile import (
    MOST_CATEGORIES,
    QUANTILE_STEPS,
    ColumnProfile,
    NllProfile,
    Quantiles,
    TrainingProfile,
)
from maf_serving.weights import effective_rows

if TYPE_CHECKING:
    from maf.rows import Rows

Array = np.ndarray[Any, Any]
CHUNK_ROWS = 65_536
MOST_ROWS_SORTED = 200_000
SHARE_DIGITS = 6  # enough for shares of so many rows to differ


def profile_rows(rows: Rows, event: tuple[str, ...], validation_log_probs: Array) -> TrainingProfile:
    """The profile of the training rows, and of how likely the validation rows are.

    Args:
      rows: the splits.
      event: names of the D event columns.
      validation_log_probs: `[M]`, of the validation rows by the weights that are kept, in nats.
    """
    columns = [*(ConditionColumn(name=name) for name in event), *rows.columns]
    seen = [_Seen(column) for column in columns]
    weights = rows.weights_of("training")
    for start in range(0, len(rows.training), CHUNK_ROWS):
        chunk = np.ascontiguousarray(rows.training[start : start + CHUNK_ROWS].T)
        counting = None if weights is None else np.asarray(weights[start : start + CHUNK_ROWS], np.float64)
        for each, values in zip(seen, chunk, strict=True):
            each.add(values, counting)
    step = -(-len(rows.training) // MOST_ROWS_SORTED)
    sample = np.ascontiguousarray(rows.training[::step].T)
    counting = None if weights is None else np.asarray(weights[::step], np.float64)
    worth = None if weights is None else effective_rows(weights)
    profiles = tuple(
        each.profile(values, counting, worth, null_is_trained=each.column.name in rows.nullable)
        for each, values in zip(seen, sample, strict=True)
    )
    return TrainingProfile(
        event=profiles[: len(event)],
        condition=profiles[len(event) :],
        nll=_nll_profile(-validation_log_probs, rows.weights_of("validation")),
    )


class _Seen:
    """What has come of one column: a number without its offset, NaN for null, or the place of a category."""

    def __init__(self, column: ConditionColumn) -> None:
        self.column = column
        self._rows = self._nulls = 0
        self._weight = self._null_weight = 0.0
        self._moments = Moments(1)
        self._counts = np.zeros(len(column.vocabulary) + 1)

    def add(self, values: Array, weights: Array | None) -> None:
        """Takes in rows `[n]`, that count as much as `weights` `[n]` says; alike if it is `None`."""
        null = values < 0 if self.column.is_category else np.isnan(values)
        self._rows += len(values)
        self._nulls += int(null.sum())
        self._weight += len(values) if weights is None else float(weights.sum())
        self._null_weight += float(null.sum() if weights is None else weights[null].sum())
        known = values[~null] if null.any() else values
        counting = None if weights is None else weights[~null]
        if self.column.is_category:
            self._counts += np.bincount(known.astype(np.int64), counting, minlength=len(self._counts))
        else:
            self._moments.add(known[:, np.newaxis], counting)

    def profile(
        self, sample: Array, weights: Array | None, worth: float | None, *, null_is_trained: bool
    ) -> ColumnProfile:
        """Of the column.

        Args:
          sample: `[n]`, of the rows that have come.
          weights: `[n]`, theirs, or `None`.
          worth: as how many rows of equal weight all tell, or `None`.
          null_is_trained: see `ColumnProfile`.
        """
        return ColumnProfile(
            name=self.column.name,
            kind=self.column.kind,
            rows=self._rows,
            nulls=self._nulls,
            effective_rows=worth,
            null_is_trained=null_is_trained,
            weighted_null_share=None if worth is None else self._null_weight / self._weight,
            **(self._category() if self.column.is_category else self._number(sample, weights)),
        )

    def _category(self) -> dict[str, Any]:
        known = self._counts[:-1]
        most = np.argsort(-known, kind="stable")[:MOST_CATEGORIES]
        shares = self._counts / (self._counts.sum() or 1.0)
        return {
            "categories": tuple(self.column.vocabulary[place] for place in most),
            "shares": tuple(shares[most].round(SHARE_DIGITS).tolist()),
            # that a few rows have others is not to be lost
            "others": float(shares[-1]),
        }

    def _number(self, sample: Array, weights: Array | None) -> dict[str, Any]:
        if not self._moments.count:
            return {}
        offset = self.column.offset
        ends = np.concatenate([self._moments.minimum, self._moments.maximum]).astype(sample.dtype)
        known = ~np.isnan(sample)
        counting = None if weights is None else weights[known]
        return {
            "mean": float(self._moments.mean[0]) + offset,
            "stddev": float(self._moments.scale[0]),
            "quantiles": make_quantiles(sample[known], counting, ends=ends, offset=offset),
        }


def make_quantiles(
    sample: Array, weights: Array | None = None, *, ends: Array | None = None, offset: float = 0.0
) -> Quantiles:
    """The quantiles of finite values `[n]`, of which there is one or more.

        >>> make_quantiles(np.array([3.0, 1.0, 1.0, 2.0]))
        Quantiles(values=(1.0, 2.0, 3.0), cumulative=(0.5, 0.75, 1.0))

    Args:
      sample: what is sorted; it may be a part of what came.
      weights: `[n]`, how much each counts, above 0; `None` where all count alike.
      ends: `[2]`, the least and the greatest of all that came; `None` where the sample is all.
      offset: is added to the values.
    """
    order = np.argsort(sample, kind="stable")
    ordered = sample[order]
    if ends is not None:
        ordered = np.concatenate([ends[:1], ordered[1:-1], ends[1:]])
    levels = np.arange(QUANTILE_STEPS + 1) / QUANTILE_STEPS
    if weights is None:
        up_to = np.arange(1, len(ordered) + 1) / len(ordered)
        places = np.clip(np.ceil(levels * len(ordered)).astype(np.int64) - 1, 0, None)
    else:
        up_to = np.cumsum(weights[order] if len(ordered) == len(order) else np.full(len(ordered), 1.0))
        up_to /= up_to[-1]
        places = np.searchsorted(up_to, levels[:-1])
        places = np.append(places, len(ordered) - 1)
    distinct = np.unique(ordered[places])
    cumulative = _ascending(up_to[np.searchsorted(ordered, distinct, side="right") - 1])
    # two that an offset makes one are told apart by nobody
    shares = dict(zip((_shortest(value) + offset for value in distinct), cumulative, strict=True))
    return Quantiles(values=tuple(shares), cumulative=tuple(map(float, shares.values())))


def _ascending(shares: Array) -> Array:
    """Rounded, and each above the last all the same: a value of hardly any weight has come too."""
    most = 10**SHARE_DIGITS
    ranks = np.arange(len(shares))
    units = np.maximum.accumulate(np.round(shares * most).astype(np.int64) - ranks) + ranks
    units = np.clip(units, ranks + 1, most - ranks[::-1])
    ascending: Array = (units / most).round(SHARE_DIGITS)
    return ascending


def _shortest(value: Any) -> float:
    """The number of fewest digits that is this one in its own type: 0.7, and not the 0.699999988 that float32 has."""
    return float(str(value))


def _nll_profile(nlls: Array, weights: Array | None) -> NllProfile | None:
    known = np.isfinite(nlls)
    finite, counting = nlls[known], None if weights is None else np.asarray(weights, np.float64)[known]
    if not len(finite):
        return None
    step = -(-len(finite) // MOST_ROWS_SORTED)
    moments = Moments(1)
    moments.add(finite[:, np.newaxis], counting)
    ends = np.array([finite.min(), finite.max()], np.float32)
    return NllProfile(
        rows=len(finite),
        mean=float(moments.mean[0]),
        stddev=float(moments.scale[0]),
        quantiles=make_quantiles(
            finite[::step].astype(np.float32), None if counting is None else counting[::step], ends=ends
        ),
        effective_rows=None if counting is None else effective_rows(counting),
    )
