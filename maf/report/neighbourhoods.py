"""Conditions worth a picture, and the test rows around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from maf.report.category_neighbourhoods import column_influence, leading_category, nearest, prediction_order
from maf.report.gaussians import fit_linear_gaussian
from maf.report.table_rows import ReportRows

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
    deviation = rows.training.deviation[:event_size]
    coefficients = fit_linear_gaussian(rows.training, event_size).coefficients
    return scale[:, None] * coefficients / np.where(deviation > 0, deviation, 1.0)
