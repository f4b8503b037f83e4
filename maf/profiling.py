"""What training saw, from the split rows: a `TrainingProfile`.

Moments, extremes, nulls and categories are of all training rows, which are gone through once, a chunk at a time. The
quantiles between the extremes are of every so manieth row, enough of them to know a share to about a thousandth.
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
    for start in range(0, len(rows.training), CHUNK_ROWS):
        chunk = np.ascontiguousarray(rows.training[start : start + CHUNK_ROWS].T)
        for each, values in zip(seen, chunk, strict=True):
            each.add(values)
    sample = np.ascontiguousarray(rows.training[:: -(-len(rows.training) // MOST_ROWS_SORTED)].T)
    profiles = tuple(
        each.profile(values, null_is_trained=each.column.name in rows.nullable)
        for each, values in zip(seen, sample, strict=True)
    )
    return TrainingProfile(
        event=profiles[: len(event)], condition=profiles[len(event) :], nll=_nll_profile(-validation_log_probs)
    )


class _Seen:
    """What has come of one column: a number without its offset, NaN for null, or the place of a category."""

    def __init__(self, column: ConditionColumn) -> None:
        self.column = column
        self._rows = self._nulls = 0
        self._moments = Moments(1)
        self._counts = np.zeros(len(column.vocabulary) + 1, np.int64)

    def add(self, values: Array) -> None:
        """Takes in rows `[n]`."""
        null = values < 0 if self.column.is_category else np.isnan(values)
        self._rows += len(values)
        self._nulls += int(null.sum())
        known = values[~null] if null.any() else values
        if self.column.is_category:
            self._counts += np.bincount(known.astype(np.int64), minlength=len(self._counts))
        else:
            self._moments.add(known[:, np.newaxis])

    def profile(self, sample: Array, *, null_is_trained: bool) -> ColumnProfile:
        """Of the column; `sample` `[n]` is of the rows that have come."""
        return ColumnProfile(
            name=self.column.name,
            kind=self.column.kind,
            rows=self._rows,
            nulls=self._nulls,
            null_is_trained=null_is_trained,
            **(self._category() if self.column.is_category else self._number(sample)),
        )

    def _category(self) -> dict[str, Any]:
        known = self._counts[:-1]
        most = np.argsort(-known, kind="stable")[:MOST_CATEGORIES]
        shares = self._counts / max(int(self._counts.sum()), 1)
        return {
            "categories": tuple(self.column.vocabulary[place] for place in most),
            "shares": tuple(shares[most].round(SHARE_DIGITS).tolist()),
            # that a few rows have others is not to be lost
            "others": float(shares[-1]),
        }

    def _number(self, sample: Array) -> dict[str, Any]:
        if not self._moments.count:
            return {}
        offset = self.column.offset
        ends = np.concatenate([self._moments.minimum, self._moments.maximum]).astype(sample.dtype)
        return {
            "mean": float(self._moments.mean[0]) + offset,
            "stddev": float(self._moments.scale[0]),
            "quantiles": make_quantiles(sample[~np.isnan(sample)], ends=ends, offset=offset),
        }


def make_quantiles(sample: Array, *, ends: Array | None = None, offset: float = 0.0) -> Quantiles:
    """The quantiles of finite values `[n]`, of which there is one or more.

        >>> make_quantiles(np.array([3.0, 1.0, 1.0, 2.0]))
        Quantiles(values=(1.0, 2.0, 3.0), cumulative=(0.5, 0.75, 1.0))

    Args:
      sample: what is sorted; it may be a part of what came.
      ends: `[2]`, the least and the greatest of all that came; `None` where the sample is all.
      offset: is added to the values.
    """
    ordered = np.sort(sample)
    if ends is not None:
        ordered = np.concatenate([ends[:1], ordered[1:-1], ends[1:]])
    levels = np.arange(QUANTILE_STEPS + 1) / QUANTILE_STEPS
    places = np.clip(np.ceil(levels * len(ordered)).astype(np.int64) - 1, 0, None)
    distinct = np.unique(ordered[places])
    cumulative = np.searchsorted(ordered, distinct, side="right") / len(ordered)
    # two that an offset makes one are told apart by nobody
    shares = dict(zip((_shortest(value) + offset for value in distinct), cumulative.round(SHARE_DIGITS), strict=True))
    return Quantiles(values=tuple(shares), cumulative=tuple(map(float, shares.values())))


def _shortest(value: Any) -> float:
    """The number of fewest digits that is this one in its own type: 0.7, and not the 0.699999988 that float32 has."""
    return float(str(value))


def _nll_profile(nlls: Array) -> NllProfile | None:
    finite = nlls[np.isfinite(nlls)]
    if not len(finite):
        return None
    few = finite[:: -(-len(finite) // MOST_ROWS_SORTED)].astype(np.float32)
    ends = np.array([finite.min(), finite.max()], np.float32)
    return NllProfile(
        rows=len(finite),
        mean=float(finite.mean()),
        stddev=float(finite.std()),
        quantiles=make_quantiles(few, ends=ends),
    )
