"""How values of conditional columns are written on the page."""

from __future__ import annotations

from typing import Any

import numpy as np

from maf_serving.columns import OTHER, ConditionColumn
from maf_serving.page import short
from maf_serving.page_numbers import number, percent

Array = np.ndarray[Any, Any]
MAX_LETTERS = 24
MAX_VALUES = 6
NULL = "null"


def value_of(column: ConditionColumn, value: float) -> str:
    """A number, or the category whose place in the vocabulary it is."""
    if np.isnan(value) or (column.is_category and value < 0):
        return NULL
    if not column.is_category:
        return number(value, 3)
    return short(str((*column.vocabulary, OTHER)[int(value)]), MAX_LETTERS)


def values_of(column: ConditionColumn, values: Array, middle: float) -> str:
    """The range of `values` `[n]`; of a category, how many of them are as in the middle."""
    if column.is_category or np.isnan(middle):
        alike = np.isnan(values) if np.isnan(middle) else values == middle
        return f"{column.name} {value_of(column, middle)} in {percent(float(alike.mean()))}"
    return f"{column.name} from {number(float(np.nanmin(values)), 3)} to {number(float(np.nanmax(values)), 3)}"


def categories_of(column: ConditionColumn, shares: Array) -> str:
    """The most frequent categories with their `shares` `[V + 1]` of the rows, others last."""
    values = [
        f"{short(str(value), MAX_LETTERS)} {percent(float(share))}"
        for value, share in zip(column.vocabulary, shares, strict=False)
    ]
    more = len(values) - MAX_VALUES
    listed = values[:MAX_VALUES] + ([f"{more:,} more"] if more > 0 else [])
    return ", ".join([*listed, f"others {percent(float(shares[-1]))}"])
