"""The condition of rows as they are kept, a number for each raw column, and its encoding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from maf.table import NULL_CODE
from maf_serving.columns import ConditionColumn, number_entries

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowEncoder:
    """Encodes rows `[B, K]`: numbers, NaN for null, and categories as places in their vocabularies.

    The place after the last is that of all other values; a null category is `NULL_CODE`.

    Attributes:
      columns: the raw columns.
      null_values: `[Kn]`, what stands for a null of each number, beside its indicator: its mean.
      nullable: names of the columns whose nulls are trained by hiding values.
    """

    columns: tuple[ConditionColumn, ...]
    null_values: Array
    nullable: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, columns: Sequence[ConditionColumn], condition_loc: Array, *, nullable: Sequence[str] = ()
    ) -> RowEncoder | None:
        """That of columns whose encoding has the means `condition_loc` `[C]`; `None` if all are plain numbers."""
        if all(column.is_plain for column in columns):
            return None
        null_values = np.asarray(condition_loc)[number_entries(columns)]
        return cls(columns=tuple(columns), null_values=null_values, nullable=tuple(nullable))

    def encode(self, rows: tf.Tensor) -> tf.Tensor:
        """`conditional_input` `[B, C]` of `rows` `[B, K]`."""
        pieces, numbers = [], iter(self.null_values)
        for index, column in enumerate(self.columns):
            value = rows[:, index]
            if column.is_category:
                null = value < 0
                pieces.append(tf.one_hot(tf.cast(value, tf.int32), len(column.vocabulary) + 1, dtype=rows.dtype))
            else:
                null = tf.math.is_nan(value)
                pieces.append(tf.where(null, tf.constant(next(numbers), rows.dtype), value)[:, tf.newaxis])
            if column.nullable:
                pieces.append(tf.cast(null, rows.dtype)[:, tf.newaxis])
        return tf.concat(pieces, axis=1)

    def with_hidden(self, rows: Array, share: float, *, event_size: int, seed: Sequence[int]) -> tuple[Array, Array]:
        """`rows` `[N, D + K]`, in a share of which some categories are unknown and some `nullable` values null.

        So the entries of unknown categories and of nulls are trained, and mean what is true on average over all values.
        In a row that is chosen, by `seed`, one value may be hidden, or several, or all: each number of them as often as
        any other.

        Returns:
          The rows, and which of them are as they were, `[N]`.
        """
        unknown = [(i, len(c.vocabulary)) for i, c in enumerate(self.columns, event_size) if c.is_category]
        nulls = [
            (i, NULL_CODE if column.is_category else np.nan)
            for i, column in enumerate(self.columns, event_size)
            if column.name in self.nullable
        ]
        rng = np.random.default_rng(list(seed))
        # a rate that is uniform for each row makes the number of successes uniform
        rates = np.where(rng.random(len(rows)) < share, rng.random(len(rows)), 0.0)
        changed, same = np.array(rows), np.ones(len(rows), bool)
        for index, stand_in in (*unknown, *nulls):
            is_null = np.isnan(rows[:, index]) if np.isnan(stand_in) else rows[:, index] == NULL_CODE
            hidden = (rng.random(len(rows)) < rates) & ~is_null
            changed[hidden, index] = stand_in
            same &= ~hidden
        return changed, same
