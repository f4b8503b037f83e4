"""Conditions worth a picture, and the test rows around them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from maf.report.likelihoods import fit_linear_gaussian

if TYPE_CHECKING:
    from maf.report.rows import ReportRows
    from maf_serving.columns import ConditionColumn

Array = np.ndarray[Any, Any]
QUANTILES = (0.1, 0.37, 0.63, 0.9)
SHARE, FEWEST, MOST = 0.04, 150, 2_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """Test rows whose conditions are about the same.

    Attributes:
      condition: `[K]`, in the middle of it.
      rows: `[n]`, indices of the test rows nearest to it.
    """

    condition: Array
    rows: Array


def choose_neighbourhoods(rows: ReportRows) -> tuple[Neighbourhood, ...]:
    """Conditions from low to high, each with its nearest rows; all rows in one for an unconditional model.

    With one conditional column they are its quantiles. With several they are those of the rows' predictions by linear
    regression, along the direction in which these vary most: conditions that differ in what they say of x. The rows
    of a neighbourhood have the same category, if there is one, in the category that matters most.
    """
    if not rows.c.shape[1]:
        return (Neighbourhood(condition=np.zeros(0), rows=np.arange(len(rows.x))),)
    if rows.condition is not None:
        leading = leading_category(rows)
        middles = _middles(prediction_order(rows))
        return _around(rows, middles, lambda middle: nearest(rows, middle, _size(rows), leading))
    scale = np.where(rows.c.std(axis=0) > 0, rows.c.std(axis=0), 1.0)
    standard = (rows.c - rows.c.mean(axis=0)) / scale
    order = np.argsort(standard @ _direction(rows, scale), kind="stable")

    def nearest_numbers(middle: int) -> Array:
        distance = ((standard - standard[middle]) ** 2).sum(axis=1)
        return np.argsort(distance, kind="stable")[: _size(rows)]

    return _around(rows, _middles(order), nearest_numbers)


def _middles(order: Array) -> list[int]:
    return [int(order[int(quantile * (len(order) - 1))]) for quantile in QUANTILES]


def _size(rows: ReportRows) -> int:
    return min(len(rows.c), max(FEWEST, min(MOST, int(SHARE * len(rows.c)))))


def _around(rows: ReportRows, middles: list[int], rows_around: Callable[[int], Array]) -> tuple[Neighbourhood, ...]:
    """A neighbourhood for each different condition."""
    found: dict[tuple[str, ...], Neighbourhood] = {}
    for middle in middles:
        condition = rows.c[middle]
        key = tuple(map(repr, condition.tolist()))  # null is NaN, which is never equal
        if key not in found:
            found[key] = Neighbourhood(condition=condition, rows=rows_around(middle))
    return tuple(found.values())


def influence(rows: ReportRows) -> Array:
    """`[K]`: how much a standard deviation of each conditional column moves x, in its own, by linear regression."""
    if rows.condition is not None:
        return column_influence(rows)
    lengths: Array = np.linalg.norm(_slopes(rows, rows.c.std(axis=0)), axis=1)
    return lengths


def _direction(rows: ReportRows, scale: Array) -> Array:
    """`[C]`, over standardised conditions."""
    if rows.c.shape[1] == 1:
        return np.ones(1)
    return np.linalg.svd(_slopes(rows, scale))[0][:, 0]


def _slopes(rows: ReportRows, scale: Array) -> Array:
    """`[C, D]`, from standardised conditions to x in standard deviations."""
    event_size = rows.x.shape[1]
    deviation = rows.scaled.deviation[:event_size]
    coefficients = fit_linear_gaussian(rows.scaled, event_size).coefficients
    return scale[:, None] * coefficients / np.where(deviation > 0, deviation, 1.0)


LOOKED_AT = 2**24  # numbers of an encoding that are in memory at a time
OTHER_VALUE = 4.0  # squared distance of another category, or of null from any number: two deviations
FEWEST_ALIKE = 30


def predictions(rows: ReportRows, seen: Array) -> Array:
    """`[n, K, D]`: what each conditional column of the rows `seen` adds to x, in deviations, by linear regression."""
    if rows.condition is None:
        raise ValueError("the condition has neither categories nor nulls")
    event_size = rows.x.shape[1]
    deviation = rows.scaled.deviation[:event_size]
    slopes = fit_linear_gaussian(rows.scaled, event_size).coefficients / np.where(deviation > 0, deviation, 1.0)
    sizes = [len(column.encoded_names) for column in rows.condition.columns]
    bounds = np.cumsum([0, *sizes])
    added = np.empty((len(seen), len(sizes), event_size))
    step = max(1, LOOKED_AT // int(bounds[-1]))
    for start in range(0, len(seen), step):
        encoded = rows.encoded(rows.c[seen[start : start + step]])
        for index, (low, high) in enumerate(itertools.pairwise(bounds)):
            added[start : start + step, index] = encoded[:, low:high] @ slopes[low:high]
    return added


def column_influence(rows: ReportRows) -> Array:
    """`[K]`: how much each raw column moves x, in deviations of both."""
    deviations = predictions(rows, np.arange(len(rows.c))).std(axis=0)
    lengths: Array = np.linalg.norm(deviations, axis=1)
    return lengths


def prediction_order(rows: ReportRows) -> Array:
    """Indices of the rows from those for which a linear fit predicts least, in the direction that varies most."""
    total = predictions(rows, np.arange(len(rows.c))).sum(axis=1)
    centred = total - total.mean(axis=0)
    direction = np.linalg.svd(centred.T @ centred)[0][:, 0]
    order: Array = np.argsort(centred @ (direction * (np.sign(direction.sum()) or 1)), kind="stable")
    return order


def leading_category(rows: ReportRows) -> int | None:
    """Index of the category that moves x most; `None` if there is none."""
    if rows.condition is None:
        raise ValueError("the condition has neither categories nor nulls")
    categories = [index for index, column in enumerate(rows.condition.columns) if column.is_category]
    return max(categories, key=column_influence(rows).__getitem__) if categories else None


def nearest(rows: ReportRows, middle: int, size: int, leading: int | None) -> Array:
    """The rows nearest to one of them; all of its own category in the column `leading`, if there are enough."""
    if rows.condition is None:
        raise ValueError("the condition has neither categories nor nulls")
    columns, c = rows.condition.columns, rows.c
    distance = np.zeros(len(c))
    for index, column in enumerate(columns):
        distance += _category_distance(column, c[:, index], c[middle, index])
    order = np.argsort(distance, kind="stable")
    if leading is not None:
        alike = order[c[order, leading] == c[middle, leading]]
        order = alike if len(alike) >= FEWEST_ALIKE else order
    return order[:size]


def _category_distance(column: ConditionColumn, values: Array, value: float) -> Array:
    """Squared, `[N]`."""
    if column.is_category:
        return np.where(values == value, 0.0, OTHER_VALUE)
    null, scale = np.isnan(values), np.nanstd(values) or 1.0
    if np.isnan(value):
        return np.where(null, 0.0, OTHER_VALUE)
    return np.where(null, OTHER_VALUE, ((values - value) / scale) ** 2)
