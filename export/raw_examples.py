"""Rows of raw columns that come as `tf.Example`s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from export.raw_condition import RawCondition
    from maf_serving.columns import ConditionColumn

Parsed = Mapping[str, Any]

_FEATURE_DTYPES = {"number": tf.float32, "string": tf.string, "integer": tf.int64}


class RawExamples:
    """Reads serialized `tf.Example`s whose features are the raw columns by name, one value each.

    Floats for event columns and numbers, bytes for texts, int64 for integers. A feature that is absent or empty is
    null. An Example that cannot be parsed, or has a feature of another kind or with two values, fails the request: the
    error names the feature.

    Attributes:
      condition: encodes the raw columns of the condition.
    """

    def __init__(self, event_columns: Sequence[str], condition: RawCondition, dtype: Any) -> None:
        self.condition = condition
        self._event = tuple(event_columns)
        self._dtype = tf.as_dtype(dtype)

    def parse(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """`examples` `[B]` to `x` `[B, D]` and `conditional_input` `[B, C]`; NaN for a null where none may be."""
        columns = self.condition.columns
        kinds = dict.fromkeys(self._event, "number") | {column.name: column.kind for column in columns}
        features = {name: tf.io.RaggedFeature(_FEATURE_DTYPES[kind]) for name, kind in kinds.items()}
        parsed = tf.io.parse_example(examples, features)
        raw = {}
        numbers = [self._number(column.name, parsed) for column in columns if not column.is_category]
        categories = [column for column in columns if column.is_category]
        if numbers:
            raw["numbers"] = tf.stack(numbers, axis=1)
        if categories:
            raw["categories"] = tf.stack([_text(column, parsed) for column in categories], axis=1)
            nulls = [tf.equal(parsed[column.name].row_lengths(), 0) for column in categories]
            raw["null_categories"] = tf.stack(nulls, axis=1)
        x = tf.stack([self._number(name, parsed) for name in self._event], axis=1)
        return {"x": x, "conditional_input": self.condition(raw)}

    def _number(self, name: str, parsed: Parsed) -> tf.Tensor:
        """`[B]`, NaN for null."""
        return tf.cast(_one_value(name, parsed[name], float("nan")), self._dtype)


def _text(column: ConditionColumn, parsed: Parsed) -> tf.Tensor:
    """`[B]`, anything for null."""
    if column.kind == "string":
        return _one_value(column.name, parsed[column.name], "")
    return tf.strings.as_string(_one_value(column.name, parsed[column.name], 0))


def _one_value(name: str, feature: tf.RaggedTensor, null: Any) -> tf.Tensor:
    """The value of each row `[B]`, `null` where there is none; two values fail the request."""
    lengths = feature.row_lengths()
    at_most_one = tf.debugging.Assert(
        tf.reduce_all(lengths <= 1), [f"Feature: {name} has more than one value; expected one, or none for null"]
    )
    with tf.control_dependencies([at_most_one]):
        padded = tf.concat([feature.values, tf.constant([null], feature.dtype)], axis=0)
    last = tf.shape(padded, tf.int64)[0] - 1
    return tf.gather(padded, tf.where(lengths > 0, tf.cast(feature.row_starts(), tf.int64), last))
