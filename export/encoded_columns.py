"""The columns of a condition as an export is told them: names of plain numbers, or raw columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from export.contract import ConditionColumn, ContractError, encoded_columns


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EncodedColumns:
    """Both forms of a condition's columns, as a contract has them."""

    conditional_columns: tuple[str, ...]
    condition_columns: tuple[ConditionColumn, ...] = ()


def read_columns(conditional_columns: Sequence[str], condition_columns: Sequence[ConditionColumn]) -> EncodedColumns:
    """The columns, of which one list or none is given; raw columns that are plain numbers are no more than names.

    Raises:
      ContractError: if both lists are given.
    """
    if conditional_columns and condition_columns:
        raise ContractError(
            f"got {len(conditional_columns)} conditional_columns and {len(condition_columns)} condition_columns; "
            "expected one of them: condition_columns where there are categories or nulls"
        )
    if all(not column.is_category and not column.nullable for column in condition_columns):
        return EncodedColumns(conditional_columns=(*conditional_columns, *(each.name for each in condition_columns)))
    return EncodedColumns(
        conditional_columns=encoded_columns(condition_columns), condition_columns=tuple(condition_columns)
    )
