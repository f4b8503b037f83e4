"""Bounds of event columns: what the rows say of one that is given, and where one is missing.

A column that cannot be below zero, or has to be between 0 and 1, often has much of its density right at that edge. A
flow of an unbounded scale rounds it off, and draws beyond it. `fit_bounds` makes of `--lower_bound` and `--upper_bound`
the `BoundedColumn`s of a flow; `describe_edges` names columns that look as if they had such an edge.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from maf.config import BoundedColumn
from maf.errors import DataError
from maf.event_scales import BoundedScale, least_positive
from maf.starting_point import CLEARLY, normal_cost

if TYPE_CHECKING:
    from maf.config import DataConfig
    from maf.rows import Rows

Array = np.ndarray[Any, Any]
SLACK = 2.0**-10  # of a width, that noise may be off by rounding
EDGE_SHARE = 0.02  # of the rows, that an edge is judged by
EDGE_ROWS = 200
LEVEL = 0.6  # of two equal steps from an edge, the share of the first in the second: an edge that does not fall to zero
GAPS = 3  # mean gaps between rows at the edge, that a round number may be away from the last row


def bounds_of(data: DataConfig, name: str) -> tuple[float | None, float | None]:
    """Between what a column lies once it has its noise: half a width beyond the last multiple of it inside the bounds.

    >>> from maf.config import DataConfig
    >>> rooms = DataConfig(data=("a.csv",), event=("rooms",), lower_bound=("rooms=0.5",), dequantize=("rooms=1",))
    >>> bounds_of(rooms, "rooms")
    (0.4990234375, None)
    """
    lower, upper = data.lower_bounds.get(name), data.upper_bounds.get(name)
    width = data.dequantization_widths.get(name)
    if width is None:
        return lower, upper
    reach = (0.5 + SLACK) * width
    return (
        None if lower is None else math.ceil(lower / width - SLACK) * width - reach,
        None if upper is None else math.floor(upper / width + SLACK) * width + reach,
    )


def check_bounds(data: DataConfig, rows: Rows) -> None:
    """Raises `DataError` if a row of any split is beyond a bound."""
    for index, name in enumerate(data.event):
        given = data.lower_bounds.get(name), data.upper_bounds.get(name)
        for side, sign, said, bound in zip(("lower", "upper"), (1, -1), given, bounds_of(data, name), strict=True):
            if bound is None:
                continue
            values = [split[:, index] for split in (rows.training, rows.validation, rows.test)]
            beyond = sum(int(np.count_nonzero(sign * each < sign * each.dtype.type(bound))) for each in values)
            if beyond:
                farthest = sign * min(float((sign * each).min(initial=np.inf)) for each in values)
                raise DataError(
                    f"event column {name!r} has {beyond:,} of {sum(map(len, values)):,} rows beyond its {side} bound "
                    f"{said:g}, as far as {farthest:g}; correct these rows, or --{side}_bound {name}=VALUE"
                )


def within_bounds(data: DataConfig, event: Array) -> Array:
    """`event` `[N, D]` in float64 with what another type has rounded beyond a bound at the bound."""
    limits = [bounds_of(data, name) for name in data.event]
    lower = [-np.inf if low is None else low for low, _ in limits]
    upper = [np.inf if high is None else high for _, high in limits]
    return np.clip(event, lower, upper)


def fit_bounds(
    data: DataConfig, event: Array, regressors: Array, *, step: int, dtype: str
) -> tuple[BoundedColumn, ...]:
    """The bounded columns of a flow.

    Args:
      data: names the columns and their bounds.
      event: `[N, D]` of training rows, with noise where columns have some; float64, `within_bounds`.
      regressors: `[n, C]`, standardised condition of every so manieth row, C may be 0.
      step: how manieth.
      dtype: of the model.
    """
    columns = []
    for index, name in enumerate(data.event):
        lower, upper = bounds_of(data, name)
        if lower is not None or upper is not None:
            margin = 2 * SLACK * data.dequantization_widths.get(name, 0.0)
            columns.append(
                _fit(
                    event[:, index],
                    index,
                    lower,
                    upper,
                    margin,
                    event[::step, index],
                    regressors,
                    least_positive(dtype),
                )
            )
    return tuple(columns)


def _fit(
    values: Array,
    index: int,
    lower: float | None,
    upper: float | None,
    margin: float,
    few: Array,
    regressors: Array,
    least: float,
) -> BoundedColumn:
    distances = np.min([np.abs(values - bound) for bound in (lower, upper) if bound is not None], axis=0)
    distances = distances[distances > 0]
    is_spread = len(distances) > 0
    if not is_spread:  # every row looked at is at a bound
        distances = np.ones(1) if lower is None or upper is None else np.array([SLACK * (upper - lower)])
    unit = 2 * float(np.median(distances)) if lower is None or upper is None else upper - lower
    closest = max(0.5 * float(distances.min()), 16 * least * max(1.0, unit))
    column = BoundedColumn(index=index, lower=lower, upper=upper, unit=unit, closest=closest, margin=margin)
    if not is_spread or (lower is not None and upper is not None):
        return column
    by_odds = BoundedColumn(
        index=index, lower=lower, upper=upper, unit=unit / 2, closest=closest, margin=margin, far_side="odds"
    )
    gain = _cost(column, few, regressors) - _cost(by_odds, few, regressors)
    return by_odds if gain > CLEARLY else column


def _cost(column: BoundedColumn, values: Array, regressors: Array) -> float:
    """NLL, in raw units, of a normal around the regression on the column's scale, but for what all have in common."""
    scale = BoundedScale([_only(column)], 1)
    x = tf.constant(values[:, np.newaxis])
    y = scale.inverse(x).numpy()[:, 0]
    return normal_cost(y, regressors) - float(scale.inverse_log_det_jacobian(x, event_ndims=1).numpy().mean())


def _only(column: BoundedColumn) -> BoundedColumn:
    return BoundedColumn(
        index=0,
        lower=column.lower,
        upper=column.upper,
        unit=column.unit,
        closest=column.closest,
        far_side=column.far_side,
    )


def describe_edges(rows: Array, data: DataConfig, left_out: Sequence[str] = ()) -> Iterator[str]:
    """A line for each end of an event column that has a density right up to it, and no bound.

    Args:
      rows: `[N, D + K]` of training rows, event columns first.
      data: names the columns and the bounds that there are.
      left_out: names of columns that are not looked at.
    """
    for index, name in enumerate(data.event):
        if name in left_out or name in data.dequantization_widths or len(rows) < EDGE_ROWS:
            continue
        values = np.sort(np.asarray(rows[:, index], np.float64))
        for side, sign, word in (("lower", 1, "below"), ("upper", -1, "above")):
            if name not in getattr(data, f"{side}_bounds"):
                edge = find_edge(values if sign > 0 else -values[::-1])
                if edge is not None:
                    yield (
                        f"event column {name!r} ends abruptly at {sign * edge + 0.0:g}: if nothing can lie {word}, "
                        f"train with --{side}_bound {name}={sign * edge + 0.0:g}; otherwise draws will"
                    )


def find_edge(values: Array) -> float | None:
    """Where the least of ascending `values` `[N]` end abruptly; `None` where they thin out, or the least one repeats.

    The rows that are nearest to the end are counted in two steps of equal length. Where a density does not fall to
    zero, as many are in the first as in the second, or more; of a normal column one in ten.
    """
    count = max(round(EDGE_SHARE * len(values)), min(EDGE_ROWS, len(values) // 4))
    least, far = values[0], values[count]
    if far <= least or values[1] == least:
        return None
    first = int(np.searchsorted(values, least + (far - least) / 2))
    if first < LEVEL * (count - first):
        return None
    return _roundest(float(least), GAPS * float(far - least) / count)


def _roundest(value: float, room: float) -> float:
    """The number of the fewest digits between `value - room` and `value`."""
    exponent = math.ceil(math.log10(max(abs(value), room))) + 1
    while True:
        step = 10.0**exponent
        found = math.floor(value / step) * step
        if value - found <= room:
            return float(f"{found:.12g}")
        exponent -= 1
