"""How numbers, names and values of conditions are written on the page."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from maf_serving.columns import OTHER, ConditionColumn


def number(value: float, digits: int = 4) -> str:
    """As many digits that count, with thousands apart."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    magnitude = math.floor(math.log10(abs(value)))
    if -4 <= magnitude < 7:
        return f"{value:,.{max(0, digits - 1 - magnitude)}f}"
    return f"{value:.{digits - 1}e}"


def nats(value: float) -> str:
    """Four decimals."""
    return f"{value:.4f}"


def percent(share: float) -> str:
    """One decimal."""
    return f"{100 * share:.1f} %"


def short(name: str, most: int) -> str:
    """A name, cut if it is longer than `most` characters."""
    return name if len(name) <= most else name[: most - 1] + "…"


def heading_of(names: tuple[str, ...], most: int = 40) -> str:
    """Names with commas if they fit, else how many there are."""
    text = ", ".join(names)
    return text if len(text) <= most else f"{len(names)} columns" if len(names) > 1 else short(text, most)


def listed(names: tuple[str, ...], most: int = 8) -> str:
    """Names with commas; of many the first, and how many more."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


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
