"""The groups of rows that a column makes."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pyarrow.compute as pc

NULL_GROUP = "(null)"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Which column makes groups, or `None` for no groups, and the largest number of groups."""

    column: str | None
    max_groups: int


def group_names(column: pa.Array) -> pa.StringArray:
    """The values of a column as names of groups; null stays null."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(pa.string())


def count_groups(column: pa.Array) -> dict[str, int]:
    """How many values each group has."""
    counted = pc.value_counts(group_names(column).fill_null(NULL_GROUP))
    return {entry["values"]: entry["counts"] for entry in counted.to_pylist()}
