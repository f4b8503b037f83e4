"""From raw columns of the condition to `conditional_input`, in the serving graph: tensors, or `tf.Example`s."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export.contract import IN_RANGE
from maf.condition_encoder import ConditionEncoder, number_or_time
from maf_serving.columns import number_entries, numbers_dtype
from maf_serving.condition_range import condition_ranges, encoded_bounds
from maf_serving.errors import ContractError
from maf_serving.time_parts import END, START

if TYPE_CHECKING:
    from export.contract import Contract
    from maf_serving.columns import ConditionColumn

Array = np.ndarray[Any, Any]
Tensors = Mapping[str, tf.Tensor]
Parsed = Mapping[str, Any]
_FEATURE_DTYPES = {"number": tf.float32, "string": tf.string, "integer": tf.int64, "timestamp": tf.int64}


class ConditionGraph(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Encodes rows of raw columns: `numbers` `[B, Kn]`, `categories` `[B, Kc]` and `null_categories` `[B, Kc]`.

    Numbers are of the type that `numbers_dtype` says, of which an offset is taken off before it becomes the model's;
    points in time are among them, as seconds since 1970.

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
        numbers = categories = usual = 0
        for column in self.columns:
            if column.is_category:
                null = inputs["null_categories"][:, categories] if "null_categories" in inputs else None
                pieces.append(self._one_hot(column, categories, inputs["categories"][:, categories], null))
                categories += 1
            else:
                value = inputs["numbers"][:, numbers]
                null = tf.math.is_nan(value)
                if column.is_time:
                    broken.append(tf.logical_or(value < START, value >= END))
                if column.offset:
                    value -= tf.constant(column.offset, tf.float64)
                if not column.is_time:
                    value = tf.cast(value, self._dtype)
                    broken.append(tf.math.is_inf(value))
                stand_in = 0.0 if column.unit is None else self._null_values[usual]
                entries = number_or_time(column, value, null, tf.constant(stand_in, value.dtype))
                pieces.append(tf.cast(entries, self._dtype))
                usual += column.unit is not None
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


class RawExamples:
    """Reads serialized `tf.Example`s whose features are the raw columns by name, one value each.

    Floats for event columns and numbers, bytes for texts, int64 for integers and for points in time, in whole seconds
    since 1970. A feature that is absent or empty is
    null. An Example that cannot be parsed, or has a feature of another kind or with two values, fails the request: the
    error names the feature.

    Attributes:
      condition: encodes the raw columns of the condition.
    """

    def __init__(self, event_columns: Sequence[str], condition: ConditionGraph, dtype: Any) -> None:
        self.condition = condition
        self._event = tuple(event_columns)
        self._numbers_dtype = numbers_dtype(condition.columns, tf.as_dtype(dtype).name)
        self._dtype = tf.as_dtype(dtype)

    def parse(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """`examples` `[B]` to `x` `[B, D]` and `conditional_input` `[B, C]`; NaN for a null where none may be."""
        columns = self.condition.columns
        kinds = dict.fromkeys(self._event, "number") | {column.name: column.kind for column in columns}
        features = {name: tf.io.RaggedFeature(_FEATURE_DTYPES[kind]) for name, kind in kinds.items()}
        parsed = tf.io.parse_example(examples, features)
        raw = {}
        numbers = [
            _seconds(column.name, parsed) if column.is_time else self._number(column.name, parsed, self._numbers_dtype)
            for column in columns
            if not column.is_category
        ]
        categories = [column for column in columns if column.is_category]
        if numbers:
            raw["numbers"] = tf.stack(numbers, axis=1)
        if categories:
            raw["categories"] = tf.stack([_text(column, parsed) for column in categories], axis=1)
            nulls = [tf.equal(parsed[column.name].row_lengths(), 0) for column in categories]
            raw["null_categories"] = tf.stack(nulls, axis=1)
        x = tf.stack([self._number(name, parsed, self._dtype) for name in self._event], axis=1)
        return {"x": x, "conditional_input": self.condition(raw)}

    def _number(self, name: str, parsed: Parsed, dtype: Any) -> tf.Tensor:
        """`[B]`, NaN for null."""
        return tf.cast(_one_value(name, parsed[name], float("nan")), dtype)


def _seconds(name: str, parsed: Parsed) -> tf.Tensor:
    """`[B]` float64, NaN for null."""
    value = tf.cast(_one_value(name, parsed[name], 0), tf.float64)
    return tf.where(parsed[name].row_lengths() > 0, value, tf.constant(float("nan"), tf.float64))


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


def encoded_bounds_of(contract: Contract) -> tuple[Array, Array]:
    """The least and the greatest value `[C]` of each entry of `conditional_input` in the range that training saw.

    Raises:
      ContractError: the contract knows no ranges.
    """
    profile = contract.training.profile if contract.training is not None else None
    if profile is None:
        raise ContractError(f"the contract has no {IN_RANGE}: it knows no ranges; expected training.profile")
    columns = contract.raw_condition_columns
    ranges = condition_ranges(columns, profile.condition, [column.name for column in columns], contract.dtype)
    return encoded_bounds(columns, ranges, contract.dtype)


def is_in_range(lower: Array, upper: Array) -> Callable[[Tensors], Tensors]:
    """From `conditional_input` `[B, C]` to `in_range` `[B]`: whether every entry is within its bounds; NaN is not."""

    def in_range(inputs: Tensors) -> Tensors:
        condition = inputs["conditional_input"]
        return {"in_range": tf.reduce_all(tf.logical_and(condition >= lower, condition <= upper), axis=1)}

    return in_range


def null_values(distribution: Any, columns: Sequence[ConditionColumn]) -> Array:
    """`[Kn]`, what stands in `conditional_input` for a null of each number or trend: the mean of its training rows.

    0 where the model does not standardise its condition: its owner did it beforehand.
    """
    entries = number_entries(columns)
    for module in distribution.submodules:
        if isinstance(module, ConditionEncoder):
            return np.asarray(module.loc.numpy()[entries])
    return np.zeros(len(entries))
