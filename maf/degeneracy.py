"""Event columns whose likelihood has no finite maximum, found before a model spends its weights on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
MOST_ROWS = 20_000
FEW_VALUES = 100  # distinct values that splines could put a peak on each
SPIKE_SHARE = 0.005  # of the rows, that one value has
FEWEST_REPEATS = 12
OUTSTANDING = 4  # times as often as the value that comes tenth: rounding alone repeats all values alike
EXACT = 1e-4  # share of a column's variance that others leave unexplained
MANY = 10  # times as many rows as columns: fewer can be explained by any columns
SOME = 0.01  # of a column's deviation, that a column must explain to be named


def describe_degeneracies(rows: Array, event: Sequence[str], condition: Sequence[str]) -> list[str]:
    """A line for each event column that repeats values or is a function of another column.

    Args:
      rows: `[N, D + C]`, event columns first; every so manieth is looked at if there are many.
      event: names of the first columns.
      condition: names of the others.

    Returns:
      What is wrong and what to do, a line each; none for a table with a density.
    """
    sample = np.asarray(rows[:: -(-len(rows) // MOST_ROWS)], np.float64)
    names = [*event, *condition]
    lines = [line for column, name in enumerate(event) for line in _repeats(sample[:, column], name)]
    for column, name in enumerate(event):
        for other in range(len(names)):
            # of two event columns that are functions of each other one line is enough
            if other > column and _is_function(sample[:, column], sample[:, other]):
                lines.append(
                    f"event column {name!r} is a function of {names[other]!r}: given one, the other has no density; "
                    f"leave one out, or add noise with --dequantize {name}=WIDTH"
                )
                break
        else:
            lines += _linear(sample, column, names)
    return lines


def _repeats(values: Array, name: str) -> Iterator[str]:
    distinct, counts = np.unique(values, return_counts=True)
    width = f"{np.diff(distinct).min():.3g}" if len(distinct) > 1 else "WIDTH"
    advice = f"the likelihood rewards peaks on repeated values; add noise with --dequantize {name}={width}"
    most = counts.argmax()
    usual = np.sort(counts)[-min(10, len(counts))]
    if len(distinct) <= FEW_VALUES and len(values) >= FEWEST_REPEATS * len(distinct):
        yield f"event column {name!r} has {len(distinct)} distinct values in {len(values):,} rows: {advice}"
    elif counts[most] >= max(FEWEST_REPEATS, SPIKE_SHARE * len(values), OUTSTANDING * usual):
        yield (
            f"event column {name!r} is {distinct[most]:g} in {counts[most] / len(values):.1%} of the rows: {advice}, "
            "or model those rows apart"
        )


def _is_function(values: Array, of: Array) -> bool:
    """Whether `values` hardly change between neighbours in `of` (von Neumann's ratio).

    Half the mean square of successive differences estimates what `of` leaves unexplained, whatever the function's
    shape as long as it is smooth between neighbours.
    """
    variance = values.var()
    if variance == 0 or len(values) < 100 or len(np.unique(of)) < len(of) / 2:
        return False
    steps = np.diff(values[np.argsort(of, kind="stable")])
    return bool(0.5 * np.median(steps**2) < 0.45 * EXACT * variance and 0.5 * (steps**2).mean() < EXACT * variance)


def _linear(sample: Array, column: int, names: Sequence[str]) -> Iterator[str]:
    """A line if an event column is a linear function of several of the columns after it."""
    values, others = sample[:, column], sample[:, column + 1 :]
    varying = np.flatnonzero(others.std(axis=0) > 0)
    if values.std() == 0 or len(varying) == 0 or len(values) < MANY * len(varying):
        return
    standard = (others[:, varying] - others[:, varying].mean(axis=0)) / others[:, varying].std(axis=0)
    centred = values - values.mean()
    weights = np.linalg.lstsq(standard, centred, rcond=None)[0]
    squares = (centred - standard @ weights) ** 2
    low, high = np.quantile(values, [0.25, 0.75])
    middle = (high - low) / 1.349  # a few values far out are no reason to call all others explained
    if squares.mean() < EXACT * values.var() and np.median(squares) < 0.45 * EXACT * middle**2:
        used = [names[column + 1 + varying[i]] for i in np.flatnonzero(np.abs(weights) > SOME * values.std())]
        yield (
            f"event column {names[column]!r} is a linear function of {', '.join(map(repr, used))}: given these, it has "
            f"no density; leave one out, or add noise with --dequantize {names[column]}=WIDTH"
        )
