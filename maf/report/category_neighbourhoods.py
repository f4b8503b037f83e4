"""Conditions worth a picture where categories or nulls are among the conditional columns."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from maf.report.gaussians import fit_linear_gaussian
from maf.report.table_rows import ReportRows
from maf_serving.columns import ConditionColumn

Array = np.ndarray[Any, Any]
LOOKED_AT = 2**24  # numbers of an encoding that are in memory at a time
OTHER_VALUE = 4.0  # squared distance of another category, or of null from any number: two deviations
FEWEST_ALIKE = 30


def predictions(rows: ReportRows, seen: Array) -> Array:
    """`[n, K, D]`: what each conditional column of the rows `seen` adds to x, in deviations, by linear regression."""
    if rows.condition is None:
        raise ValueError("the condition has neither categories nor nulls")
    event_size = rows.x.shape[1]
    deviation = rows.training.deviation[:event_size]
    slopes = fit_linear_gaussian(rows.training, event_size).coefficients / np.where(deviation > 0, deviation, 1.0)
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
        distance += _distance(column, c[:, index], c[middle, index])
    order = np.argsort(distance, kind="stable")
    if leading is not None:
        alike = order[c[order, leading] == c[middle, leading]]
        order = alike if len(alike) >= FEWEST_ALIKE else order
    return order[:size]


def _distance(column: ConditionColumn, values: Array, value: float) -> Array:
    """Squared, `[N]`."""
    if column.is_category:
        return np.where(values == value, 0.0, OTHER_VALUE)
    null, scale = np.isnan(values), np.nanstd(values) or 1.0
    if np.isnan(value):
        return np.where(null, 0.0, OTHER_VALUE)
    return np.where(null, OTHER_VALUE, ((values - value) / scale) ** 2)
