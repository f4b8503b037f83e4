"""The raw columns of a condition, and the entries of `conditional_input` that they become.

A number enters as it is; a category as one entry for every value of its vocabulary, and one that all other values
share, of which exactly one is 1; a column that may be null brings one more entry, which is 1 where it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from export.contract_json import ContractError, fields, typed

CONDITION_KINDS = ("number", "string", "integer")
OTHER = "<other>"

_LEAST_INT64, _GREATEST_INT64 = -(2**63), 2**63 - 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConditionColumn:
    """One raw column of the condition and how it enters `conditional_input`.

    Attributes:
      name: of the column.
      kind: of `CONDITION_KINDS`; `"string"` and `"integer"` are categories.
      vocabulary: of a category, the values that have an entry of their own, in encoded order; any other value shares
        one entry.
      nullable: whether a null is a state of its own, with an indicator; otherwise a row with a null cannot be scored.
    """

    name: str
    kind: str = "number"
    vocabulary: tuple[str, ...] | tuple[int, ...] = ()
    nullable: bool = False

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
                "expected at least one for a category, none for a number"
            )
        for value in self.vocabulary:
            self._check_value(value)
        if len(set(self.vocabulary)) < len(self.vocabulary):
            raise ContractError(f"condition column {self.name!r} has a vocabulary that repeats values; name each once")

    @property
    def is_category(self) -> bool:
        """Whether the column is encoded by a vocabulary."""
        return self.kind != "number"

    @property
    def encoded_names(self) -> tuple[str, ...]:
        """Names of the column's entries of `conditional_input`, in order."""
        values = [f"{self.name}={value}" for value in (*self.vocabulary, OTHER)] if self.is_category else [self.name]
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


def encoded_columns(condition_columns: Sequence[ConditionColumn]) -> tuple[str, ...]:
    """Names of the C entries of `conditional_input`, in order."""
    return tuple(name for column in condition_columns for name in column.encoded_names)


def condition_column_from_json(data: object, where: str) -> ConditionColumn:
    """Reads what `dataclasses.asdict` and JSON made of a column. Raises `ContractError` on anything else."""
    known = fields(ConditionColumn, data, where)
    vocabulary: list[Any] = typed(known.get("vocabulary", []), list, f"{where}.vocabulary")
    return ConditionColumn(
        name=typed(known["name"], str, f"{where}.name"),
        kind=typed(known.get("kind", "number"), str, f"{where}.kind"),
        vocabulary=tuple(vocabulary),
        nullable=typed(known.get("nullable", False), bool, f"{where}.nullable"),
    )
