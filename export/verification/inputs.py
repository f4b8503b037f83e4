"""Inputs on which an exported version is compared with its model: encoded ones, and raw columns.

What NumPy encodes raw columns to, the serving graph must too.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from export.contract import BY_COLUMN, Contract
from export.signatures import signature_features
from maf.condition_encoder import ConditionEncoder
from maf_serving.columns import (
    NULL_INTEGER,
    NULL_TEXT,
    OTHER,
    TIMESTAMP,
    ConditionColumn,
    number_entries,
    numbers_dtype,
)
from maf_serving.time_parts import END, START, TREND, encode_time

Array = np.ndarray[Any, Any]
TYPICAL_ROWS = 128
FAR_ROWS = 64
_OF_MODEL = ("x", "z", "conditional_input")
_NULL_SHARE = 0.1
Function = Callable[[Mapping[str, Array]], dict[str, Array]]


@dataclasses.dataclass(frozen=True, slots=True)
class VerificationInputs:
    """One array for every input that a signature can have; rows past `TYPICAL_ROWS` lie far in the tails.

    Attributes:
      arrays: `x` and `z` `[N, D]`, `conditional_input` `[N, C]` if there is one, `seed` and `probability` `[N]`; what
        the signatures for raw columns take, if there are any.
      raw: the raw columns that `conditional_input` is the encoding of; `None` if there is none.
      columns: by name of its tensor, each event column and raw column of the condition, `[N]`.
    """

    arrays: Mapping[str, Array]
    raw: RawRows | None = None
    columns: Mapping[str, Array] = dataclasses.field(default_factory=dict)

    def of(self, names: Iterable[str]) -> dict[str, Array]:
        """The arrays of these names."""
        return {name: self.arrays[name] for name in names}

    def of_signature(self, contract: Contract, name: str) -> dict[str, Array]:
        """What a signature takes, as features of Examples or as tensors."""
        if name not in BY_COLUMN:
            return self.of(signature_features(contract, name))
        known = {**self.arrays, **self.columns}
        return {each: known[each] for each in contract.signature(name).inputs}

    def typical(self, rows: int) -> VerificationInputs:
        """As many rows as wanted, near the middle of the model and finite; they repeat where there are too few."""
        of_model = self.of(name for name in _OF_MODEL if name in self.arrays)
        matrices = [value[:TYPICAL_ROWS].reshape(TYPICAL_ROWS, -1) for value in of_model.values()]
        finite = np.all([np.isfinite(value).all(axis=1) for value in matrices], axis=0)
        index = np.resize(np.flatnonzero(finite), rows)
        arrays, columns = ({name: value[index] for name, value in each.items()} for each in (self.arrays, self.columns))
        return VerificationInputs(arrays, columns=columns)


def typical_conditions(distribution: Any, size: int, rows: int, rng: np.random.Generator) -> Array:
    """Conditions `[rows, size]` such as the model may have been trained on.

    Normal, with the mean and standard deviation of the training rows where the model standardises its condition;
    else standard normal, which is right for a model whose owner standardised beforehand.
    """
    conditions = rng.normal(size=(rows, size))
    for module in distribution.submodules:
        if isinstance(module, ConditionEncoder):
            conditions = module.loc.numpy() + module.scale.numpy() * conditions
            break
    return conditions


def draw_inputs(model: Reference, contract: Contract, *, seed: int) -> VerificationInputs:
    """Conditions as in training, x from the model itself at those conditions, and tails of all of them.

    Far rows: z 3 times as far from zero, x 10 times as far from its median, conditions 3 times as far from their mean.
    Where the condition has raw columns it is the encoding of some: numbers as above, categories and nulls at random.
    """
    rng = np.random.default_rng(seed)
    rows = TYPICAL_ROWS + FAR_ROWS
    far = np.arange(rows) >= TYPICAL_ROWS
    arrays = {"z": model.base_draws(rows, seed), "seed": rng.integers(-(2**63), 2**63 - 1, size=rows)}
    arrays["probability"] = _probabilities(far, seed).astype(model.dtype)
    raw = None
    if contract.condition_size:
        conditions = model.typical_conditions(contract.condition_size, rows, rng)
        conditions = _pushed(conditions, far, 3.0, conditions.mean(axis=0)).astype(model.dtype)
        raw = draw_raw_rows(contract.raw_condition_columns, conditions, rng)
        if contract.condition_columns:
            conditions = raw.encode(model.null_values(contract.condition_columns))
        arrays["conditional_input"] = conditions
    x = model.functions["forward"]({name: arrays[name] for name in ("z", "conditional_input") if name in arrays})["x"]
    arrays["x"] = _pushed(x, far, 10.0, np.median(x[~far], axis=0)).astype(model.dtype)
    arrays["z"] = _pushed(arrays["z"], far, 3.0, np.zeros(1)).astype(model.dtype)
    if raw is not None and contract.condition_columns:
        arrays |= {**raw.inputs, "examples": raw.examples(contract.event_columns, arrays["x"])}
    return VerificationInputs(arrays, raw, column_tensors(contract, raw, arrays["x"]) if contract.tensor_names else {})


def column_tensors(contract: Contract, raw: RawRows | None, x: Array) -> dict[str, Array]:
    """By name of its tensor, each column of x `[N, D]` and of raw conditions, `[N]`."""
    names = contract.tensor_names
    event = {names[name]: x[:, place].astype(np.float64) for place, name in enumerate(contract.event_columns)}
    return event | ({names[name]: value for name, value in raw.tensors.items()} if raw is not None else {})


def _probabilities(far: Array, seed: int) -> Array:
    """`[N]` in (0, 1), those of the far rows near the one end or the other."""
    uniform = np.random.default_rng((seed, 1)).uniform(0.02, 0.98, len(far))
    ends = 10 ** (-5 * uniform)
    return np.where(far, np.where(uniform < 0.5, ends, 1 - ends), uniform)


def _pushed(values: Array, far: Array, factor: float, centre: Array) -> Array:
    """`values` `[N, K]`, the far rows `factor` times as far from `centre`."""
    return np.where(far[:, np.newaxis], centre + factor * (values - centre), values)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RawRows:
    """Raw conditions of N rows, in the inputs of `encode_condition`.

    Attributes:
      columns: the raw columns, in order.
      numbers: `[N, Kn]` of the dtype that `encode_condition` takes, NaN for null.
      categories: `[N, Kc]` of `bytes` objects, integers as decimal text; anything for null.
      null_categories: `[N, Kc]`, which are null.
      dtype: of the model.
    """

    columns: Sequence[ConditionColumn]
    dtype: Any
    numbers: Array
    categories: Array
    null_categories: Array

    def take(self, rows: Any) -> RawRows:
        """Some of the rows."""
        values = {name: getattr(self, name)[rows] for name in ("numbers", "categories", "null_categories")}
        return dataclasses.replace(self, **values)

    def in_float32(self) -> RawRows:
        """The numbers as a `tf.Example` holds them, times in whole seconds, in the dtype that they have here."""
        is_time = [column.is_time for column in self.columns if not column.is_category]
        floats = self.numbers.astype(np.float32).astype(self.numbers.dtype)
        return dataclasses.replace(self, numbers=np.where(is_time, np.floor(self.numbers), floats))

    @property
    def inputs(self) -> dict[str, Array]:
        """All that `encode_condition` could take; its signature says which of them it does."""
        return {"numbers": self.numbers, "categories": self.categories, "null_categories": self.null_categories}

    @property
    def tensors(self) -> dict[str, Array]:
        """By name of the column, `[N]` as the signatures by column take it."""
        tensors: dict[str, Array] = {}
        for column, values, null in self._each():
            if not column.is_category:
                tensors[column.name] = values.astype(np.float64)
            elif column.kind == "string":
                tensors[column.name] = np.where(null, NULL_TEXT.encode(), values).astype(object)
            else:
                tensors[column.name] = np.where(null, NULL_INTEGER, values.astype(np.int64))
        return tensors

    def encode(self, null_values: Array) -> Array:
        """`conditional_input` `[N, C]`, of rows without a null where none may be; a null number is `null_values`.

        The angles of points in time are those of NumPy, which may differ from a server's in the last digits.
        """
        pieces: list[Array] = []
        usual = iter(null_values)
        for column, values, null in self._each():
            if column.is_category:
                known = {str(value).encode(): place for place, value in enumerate(column.vocabulary)}
                places = np.array([known.get(value, len(known)) for value in values])
                one_hot = places[:, np.newaxis] == np.arange(len(known) + 1)
                pieces.append(one_hot & ~null[:, np.newaxis])
            elif column.is_time:
                times = encode_time(np.where(null, 0.0, values - column.offset), column.parts, column.offset, np)
                middle = [0.0, 0.0]
                stand_ins = [each for part in column.parts for each in ([next(usual)] if part == TREND else middle)]
                pieces += [np.where(null, s, entry)[:, np.newaxis] for s, entry in zip(stand_ins, times, strict=True)]
            else:
                numbers = (values - column.offset).astype(self.dtype)
                pieces.append(np.where(null, next(usual), numbers)[:, np.newaxis])
            if column.nullable:
                pieces.append(null[:, np.newaxis])
        return np.concatenate(pieces, axis=1).astype(self.dtype)

    def examples(self, event_columns: Sequence[str], x: Array) -> Array:
        """`[N]` serialized `tf.Example`s of these rows and x `[N, D]`, floats rounded to float32; null is absent."""
        serialized = np.empty(len(x), object)
        columns = list(self._each())
        for row in range(len(x)):
            present = ~np.isnan(x[row])
            feature = {n: _floats(v) for n, v, there in zip(event_columns, x[row], present, strict=True) if there}
            feature |= {c.name: _feature(c.kind, values[row]) for c, values, null in columns if not null[row]}
            serialized[row] = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
        return serialized

    def _each(self) -> list[tuple[ConditionColumn, Array, Array]]:
        """Each column with its values and which of them are null, `[N]`."""
        numbers, categories = iter(self.numbers.T), iter(zip(self.categories.T, self.null_categories.T, strict=True))
        each = []
        for column in self.columns:
            values, null = next(categories) if column.is_category else ((number := next(numbers)), np.isnan(number))
            each.append((column, values, null))
        return each


Break = tuple[str, int, Any]
"""Array, place in it and value of what makes a row one that cannot be scored."""


def breaks_of(columns: Sequence[ConditionColumn]) -> list[Break]:
    """What raw columns of the condition may not be."""
    numbers = [column for column in columns if not column.is_category]
    categories = [column for column in columns if column.is_category]
    breaks: list[Break] = [("numbers", place, np.inf) for place in range(len(numbers))]
    breaks += [("numbers", place, np.nan) for place, column in enumerate(numbers) if not column.nullable]
    return breaks + [("null_categories", place, True) for place, column in enumerate(categories) if not column.nullable]


def breaks_of_x(contract: Contract) -> list[Break]:
    """What event columns may not be."""
    return [("x", place, np.nan) for place in range(contract.event_size)]


def broken_rows(raw: RawRows, x: Array, breaks: Sequence[Break]) -> tuple[RawRows, Array]:
    """A copy of the first row for each of `breaks`, with nothing else null in it."""
    rows = [0] * len(breaks)
    arrays = {
        "numbers": np.nan_to_num(raw.numbers[rows]),
        "null_categories": np.zeros_like(raw.null_categories[rows]),
        "x": x[rows],
    }
    for row, (array, place, value) in enumerate(breaks):
        arrays[array][row, place] = value
    broken = dataclasses.replace(raw.take(rows), numbers=arrays["numbers"], null_categories=arrays["null_categories"])
    return broken, arrays["x"]


def draw_raw_rows(columns: Sequence[ConditionColumn], conditions: Array, rng: np.random.Generator) -> RawRows:
    """Raw rows with the numbers of `conditions` `[N, C]`; categories, known and unknown, and nulls at random."""
    rows = len(conditions)
    dtype = numbers_dtype(columns, conditions.dtype.name)
    known = iter(conditions[:, number_entries(columns)].T)
    each = [_raw_numbers(column, known, rng, rows) for column in columns if not column.is_category]
    numbers = np.stack(each, axis=1).astype(dtype) if each else np.empty((rows, 0), dtype)
    nullable = [column.nullable for column in columns if not column.is_category]
    numbers[(rng.random(numbers.shape) < _NULL_SHARE) & np.array(nullable, bool)] = np.nan
    categories = [column for column in columns if column.is_category]
    values = np.empty((rows, len(categories)), object)
    for place, column in enumerate(categories):
        known = [str(value).encode() for value in (*column.vocabulary, unknown(column))]
        values[:, place] = [known[draw] for draw in rng.integers(len(known), size=rows)]
    nullable = [column.nullable for column in categories]
    null = (rng.random(values.shape) < _NULL_SHARE) & np.array(nullable, bool)
    return RawRows(columns=columns, dtype=conditions.dtype, numbers=numbers, categories=values, null_categories=null)


def _raw_numbers(column: ConditionColumn, known: Iterator[Array], rng: np.random.Generator, rows: int) -> Array:
    """`[rows]` of a number, as it is known; of a point in time, around its days if they are known, in any year."""
    if column.unit is None:
        return rng.uniform(START, END, rows)
    dtype = np.float64 if column.is_time or column.offset else None
    numbers: Array = next(known).astype(dtype) if dtype else next(known)
    if column.is_time:
        return np.clip(numbers * column.unit + column.offset, START, END - 1)
    return numbers + column.offset if column.offset else numbers


def null_numbers(columns: Sequence[ConditionColumn], dtype: Any) -> RawRows:
    """One row whose numbers are null where they may be and else 0, with categories that nobody knows."""
    nullable = [column.nullable for column in columns if not column.is_category]
    categories = [str(unknown(column)).encode() for column in columns if column.is_category]
    return RawRows(
        columns=columns,
        dtype=dtype,
        numbers=np.where(np.array([nullable], bool), np.nan, 0).astype(numbers_dtype(columns, np.dtype(dtype).name)),
        categories=np.array([categories], object),
        null_categories=np.zeros((1, len(categories)), bool),
    )


def unknown(column: ConditionColumn) -> str | int:
    """A value that is not in the column's vocabulary."""
    if column.kind == "string":
        return OTHER
    return next(value for value in range(len(column.vocabulary) + 1) if value not in column.vocabulary)


def _floats(value: float) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=[value]))


def _feature(kind: str, value: Any) -> tf.train.Feature:
    if kind == "number":
        return _floats(value)
    if kind == TIMESTAMP:
        value = math.floor(value) if math.isfinite(value) else 2**63 - 1
    if kind == "string":
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))


class Reference(Protocol):
    """A model as functions of arrays, and typical inputs to it."""

    @property
    def distribution(self) -> Any:
        """The `tfd.TransformedDistribution`; `None` for a version."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of its inputs and outputs."""
        ...

    @property
    def functions(self) -> Mapping[str, Function]:
        """`log_prob`, `inverse` and `forward` as the signatures of these names; of a version, its answers too."""
        ...

    def base_draws(self, rows: int, seed: int) -> Array:
        """`z` `[rows, D]` drawn from the base distribution."""
        ...

    def rounded_weights(self, rng: np.random.Generator) -> AbstractContextManager[None]:
        """While it is open, every weight is off by one unit of rounding, up or down as `rng` says."""
        ...

    def typical_conditions(self, size: int, rows: int, rng: np.random.Generator) -> Array:
        """Conditions `[rows, size]` such as the model may have been trained on."""
        ...

    def null_values(self, columns: Sequence[ConditionColumn]) -> Array:
        """`[Kn]`, what stands in `conditional_input` for a null of each number or trend among the raw columns."""
        ...
