"""The raw columns of a condition, and the entries of `conditional_input` that they become.

A number enters as it is, or as its distance from an offset where it is large beside its deviation; a category as one
entry for every value of its vocabulary, and one that all other values share, of which exactly one is 1; a column where
null is a state of its own brings one more entry, which is 1 there. A point in time becomes its places in the day, the
week, the month and the year, each as a sine and a cosine, and the days that passed since some day.
"""

from __future__ import annotations

import dataclasses
import keyword
import math
import re
from collections.abc import Collection, Iterable, Sequence

from maf_serving.errors import ContractError
from maf_serving.time_parts import DAY, PARTS, TREND, part_names

TIMESTAMP = "timestamp"
CONDITION_KINDS = ("number", "string", "integer", TIMESTAMP)
OTHER = "<other>"
NULL_TEXT = "<null>"
NULL_INTEGER = -(2**63)
TAKEN_NAMES = ("seed", "probability", "log_prob", "cdf")  # what signatures by column call other tensors

_LEAST_INT64, _GREATEST_INT64 = -(2**63), 2**63 - 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConditionColumn:
    """One raw column of the condition and how it enters `conditional_input`.

        >>> ConditionColumn(name="region", kind="string", vocabulary=("north", "south"), nullable=True).encoded_names
        ('region=north', 'region=south', 'region=<other>', 'region is null')
        >>> ConditionColumn(name="when", offset=1_700_040_000.0).encoded_names
        ('when - 1700040000',)
        >>> ConditionColumn(name="when", kind="timestamp", parts=("hour", "trend"), offset=86_400.0).encoded_names
        ('when hour sin', 'when hour cos', 'when days since 1970-01-02')

    Attributes:
      name: of the column.
      kind: of `CONDITION_KINDS`; `"string"` and `"integer"` are categories, `"timestamp"` is a point in time, which
        enters as seconds since 1970, UTC, in float64.
      vocabulary: of a category, the values that have an entry of their own, in encoded order; any other value shares
        one entry.
      nullable: whether null is a state of its own, with an indicator; otherwise a row with a null has no density.
      offset: of a number, what is taken off in float64 before it becomes one of the model's type: seconds since 1970
        cannot be told apart in float32, seconds since some day of the training rows can. Of a point in time, since
        when its days are counted, in seconds since 1970.
      parts: of a point in time, what the model sees of it; of `time_parts.PARTS`.

    Raises:
      ContractError: if kind and vocabulary, offset or parts do not go together.
    """

    name: str
    kind: str = "number"
    vocabulary: tuple[str, ...] | tuple[int, ...] = ()
    nullable: bool = False
    offset: float = 0.0
    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ContractError(f"column name {self.name!r} is not a name; expected a text of at least one character")
        if self.kind not in CONDITION_KINDS:
            raise ContractError(
                f"condition column {self.name!r} is of kind {self.kind!r}; expected one of {', '.join(CONDITION_KINDS)}"
            )
        if bool(self.vocabulary) != self.is_category:
            raise ContractError(
                f"condition column {self.name!r} is a {self.kind} with a vocabulary of {len(self.vocabulary)} values; "
                "expected at least one for a category, none for a number or a point in time"
            )
        if not math.isfinite(self.offset) or (self.offset and self.is_category):
            raise ContractError(
                f"condition column {self.name!r} is a {self.kind} with the offset {self.offset}; expected a finite "
                "one, of numbers alone"
            )
        if bool(self.parts) != self.is_time or set(self.parts) - set(PARTS) or len(set(self.parts)) < len(self.parts):
            raise ContractError(
                f"condition column {self.name!r} is a {self.kind} with the parts {', '.join(map(str, self.parts))}; "
                f"expected some of {', '.join(PARTS)} for a timestamp, each once, and none for anything else"
            )
        for value in self.vocabulary:
            self._check_value(value)
        if len(set(self.vocabulary)) < len(self.vocabulary):
            raise ContractError(f"condition column {self.name!r} has a vocabulary that repeats values; name each once")

    @property
    def is_category(self) -> bool:
        """Whether the column is encoded by a vocabulary."""
        return self.kind in {"string", "integer"}

    @property
    def is_time(self) -> bool:
        """Whether the column is a point in time."""
        return self.kind == TIMESTAMP

    @property
    def is_plain(self) -> bool:
        """Whether the column is its own encoding."""
        return self.kind == "number" and not self.nullable and not self.offset

    @property
    def unit(self) -> float | None:
        """Of the entry that is a number, in those of the raw column: 1, or a day of seconds; `None` without one."""
        if self.is_time:
            return DAY if TREND in self.parts else None
        return None if self.is_category else 1.0

    @property
    def measured_name(self) -> str:
        """What a value is of, once the offset is taken off."""
        if not self.offset or self.is_time:
            return self.name
        return f"{self.name} {'-' if self.offset > 0 else '+'} {abs(self.offset):.15g}"

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """Names of the column's entries of `conditional_input`, in order."""
        values: Iterable[str] = [self.measured_name]
        if self.is_category:
            values = [f"{self.name}={value}" for value in (*self.vocabulary, OTHER)]
        elif self.is_time:
            values = part_names(self.name, self.parts, self.offset)
        return (*values, *([f"{self.name} is null"] if self.nullable else []))

    def _check_value(self, value: object) -> None:
        kind = str if self.kind == "string" else int
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ContractError(
                f"condition column {self.name!r} of kind {self.kind} has the value {value!r} in its vocabulary; "
                f"expected {kind.__name__}"
            )
        if value == OTHER:
            raise ContractError(
                f"condition column {self.name!r} has the value {OTHER!r} in its vocabulary; that names the entry of "
                "all values that are not in it: leave it out"
            )
        if isinstance(value, int) and not _LEAST_INT64 <= value <= _GREATEST_INT64:
            raise ContractError(f"condition column {self.name!r} has the value {value}; expected a 64-bit integer")


def as_condition_columns(columns: Iterable[str | ConditionColumn]) -> tuple[ConditionColumn, ...]:
    """The columns of a condition, of which a name alone is that of a plain number.

        >>> [column.is_plain for column in as_condition_columns(["season", ConditionColumn(name="age", nullable=True)])]
        [True, False]

    Raises:
      ContractError: for a name that is no text, or empty.
    """
    return tuple(column if isinstance(column, ConditionColumn) else ConditionColumn(name=column) for column in columns)


def encoded_columns(columns: Sequence[ConditionColumn]) -> tuple[str, ...]:
    """Names of the C entries of `conditional_input`, in order."""
    return tuple(name for column in columns for name in column.encoded_names)


def tensor_names(columns: Iterable[str], taken: Collection[str] = ()) -> dict[str, str]:
    """What the tensors of columns are called: as the columns, wherever TensorFlow takes such a name.

        >>> tensor_names(["price", "price (EUR)", "Price", "class", "2nd"])
        {'price': 'price', 'price (EUR)': 'price__EUR_', 'Price': 'Price_2', 'class': 'class_2', '2nd': 'column_2nd'}

    It takes names of Python's functions' arguments: ASCII letters, digits and `_`, no digit or `_` first, no keyword.
    Two names that differ in capitals alone are one to it.

    Args:
      columns: names that differ.
      taken: names that other tensors have.
    """
    used = {name.lower() for name in (*taken, "self")}
    names = {}
    for column in columns:
        name = re.sub(r"[^A-Za-z0-9_]", "_", column)
        name = name if name[0].isalpha() else f"column_{name.lstrip('_')}"
        number, tried = 1, name
        while tried.lower() in used or keyword.iskeyword(tried):
            number += 1
            tried = f"{name}_{number}"
        used.add(tried.lower())
        names[column] = tried
    return names


def number_entries(columns: Sequence[ConditionColumn]) -> list[int]:
    """Where in `conditional_input` the numbers are, days that passed among them, in order."""
    entries, place = [], 0
    for column in columns:
        if column.is_time and TREND in column.parts:
            entries.append(place + len(part_names(column.name, column.parts[: column.parts.index(TREND)], 0.0)))
        elif column.unit is not None:
            entries.append(place)
        place += len(column.encoded_names)
    return entries


def numbers_dtype(columns: Iterable[ConditionColumn], dtype: str) -> str:
    """The type of the numbers that `encode_condition` takes: float64 with an offset or a time, else the model's."""
    return "float64" if any(column.offset or column.is_time for column in columns) else dtype


def rows_dtype(columns: Iterable[ConditionColumn], dtype: str) -> str:
    """The type of rows whose offsets are taken off: float64 if one is a point in time, else the model's."""
    return "float64" if any(column.is_time for column in columns) else dtype
