"""From raw columns of the condition to `conditional_input`, in the serving graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from maf_serving.columns import ConditionColumn

Array = np.ndarray[Any, Any]
Tensors = Mapping[str, tf.Tensor]


class RawCondition(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Encodes rows of raw columns: `numbers` `[B, Kn]`, `categories` `[B, Kc]` and `null_categories` `[B, Kc]`.

    A category's place in its vocabulary comes from a static hash table, which a SavedModel holds and every loader
    initialises. Integers are looked up as decimal text.

    Attributes:
      columns: the raw columns, in order.
      tables: of the categories, in order, from value to place; whatever is saved has to own them.
    """

    def __init__(self, columns: Sequence[ConditionColumn], null_values: Array, dtype: Any) -> None:
        """Encodes to `dtype`; `null_values` `[Kn]` stand where a number is null, beside its indicator."""
        super().__init__(name="raw_condition")
        self.columns = tuple(columns)
        self.tables = [_table(column) for column in self.columns if column.is_category]
        self._null_values = np.asarray(null_values)
        self._dtype = tf.as_dtype(dtype)

    def __call__(self, inputs: Tensors) -> tf.Tensor:
        """`conditional_input` `[B, C]`; NaN in a row with a null where none may be, or with an infinite number."""
        pieces: list[tf.Tensor] = []
        broken: list[tf.Tensor] = []
        numbers = categories = 0
        for column in self.columns:
            if column.is_category:
                null = inputs["null_categories"][:, categories] if "null_categories" in inputs else None
                pieces.append(self._one_hot(column, categories, inputs["categories"][:, categories], null))
                categories += 1
            else:
                value = inputs["numbers"][:, numbers]
                null = tf.math.is_nan(value)
                broken.append(tf.math.is_inf(value))
                usual = tf.constant(self._null_values[numbers], self._dtype)
                pieces.append((tf.where(null, usual, value) if column.nullable else value)[:, tf.newaxis])
                numbers += 1
            if column.nullable:
                pieces.append(tf.cast(null, self._dtype)[:, tf.newaxis])
            elif null is not None:
                broken.append(null)
        encoded = tf.concat(pieces, axis=1)
        if not broken:
            return encoded
        is_broken = tf.reduce_any(tf.stack(broken), axis=0)
        return tf.where(is_broken[:, tf.newaxis], tf.constant(float("nan"), self._dtype), encoded)

    def _one_hot(self, column: ConditionColumn, index: int, value: tf.Tensor, null: tf.Tensor | None) -> tf.Tensor:
        place = self.tables[index].lookup(value)
        if null is not None:
            place = tf.where(null, tf.constant(-1, tf.int64), place)  # no entry is 1
        return tf.one_hot(place, len(column.vocabulary) + 1, dtype=self._dtype)


def _table(column: ConditionColumn) -> tf.lookup.StaticHashTable:
    keys = tf.constant([str(value).encode() for value in column.vocabulary], tf.string)
    places = tf.range(len(column.vocabulary), dtype=tf.int64)
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, places), len(column.vocabulary))
