"""The raw columns of the condition, and the entries of `conditional_input` that they become.

A number enters as it is; a category as one entry for every value of its vocabulary and one that all other values
share, of which exactly one is 1; a column where null is a state of its own brings one more entry, which is 1 there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

OTHER = "<other>"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConditionColumn:
    """One raw column of the condition.

    Attributes:
      name: of the column.
      kind: `"number"`, or `"string"` or `"integer"` for a category.
      vocabulary: of a category, the values that have an entry of their own, in order; any other value shares one.
      nullable: whether null is a state of its own; otherwise a row with a null has no density.
    """

    name: str
    kind: str = "number"
    vocabulary: tuple[str, ...] | tuple[int, ...] = ()
    nullable: bool = False

    @property
    def is_category(self) -> bool:
        """Whether the column is encoded by a vocabulary."""
        return self.kind != "number"

    @property
    def is_plain(self) -> bool:
        """Whether the column is its own encoding."""
        return not self.is_category and not self.nullable

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """Names of the column's entries of `conditional_input`, in order."""
        values = [f"{self.name}={value}" for value in (*self.vocabulary, OTHER)] if self.is_category else [self.name]
        return (*values, *([f"{self.name} is null"] if self.nullable else []))


def encoded_columns(columns: Sequence[ConditionColumn]) -> tuple[str, ...]:
    """Names of the C entries of `conditional_input`, in order."""
    return tuple(name for column in columns for name in column.encoded_names)


def number_entries(columns: Sequence[ConditionColumn]) -> tuple[int, ...]:
    """Where in `conditional_input` the numbers are, in order."""
    entries, place = [], 0
    for column in columns:
        entries += [] if column.is_category else [place]
        place += len(column.encoded_names)
    return tuple(entries)
