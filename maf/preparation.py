"""What a model takes from its training rows before the fit: sizes, moments, bins, the scale of each column.

Event columns whose likelihood has no finite maximum are found here too, before a model spends its weights on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from maf.condition_encoder import FARTHEST, ConditionBins
from maf.event_scales import least_positive
from maf.flow import build_flow, chosen, resolve, size_training
from maf.starting_point import (
    find_heavy_tails,
    find_logarithmic,
    start_at_identity,
    start_at_regression,
)
from maf_serving.columns import number_entries

if TYPE_CHECKING:
    from maf.config import DataConfig, FlowConfig, RunConfig
    from maf.rows import Rows

Array = np.ndarray[Any, Any]
MOST_ROWS = 200_000  # looked at for quantiles
REGRESSION_ROWS = 20_000
MOST_REGRESSORS = 500  # entries of the condition; with more the regression would take memory and time
MOST_ROWS_COMPARED = 20_000
FEW_VALUES = 100  # distinct values that splines could put a peak on each
MOST_COUNT = 2**22  # beyond, numbers of float32 are whole, or nearly so, whatever they were
SPIKE_SHARE = 0.005  # of the rows, that one value has
FEWEST_REPEATS = 12
OUTSTANDING = 4  # times as often as the value that comes tenth: rounding alone repeats all values alike
EXACT = 1e-4  # share of a column's variance that others leave unexplained
MANY = 10  # times as many rows as columns: fewer can be explained by any columns
SOME = 0.01  # of a column's deviation, that a column must explain to be named


@dataclasses.dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is ready to be fitted.

    Attributes:
      config: nothing automatic is left in it.
      distribution: the flow of `config`, with new weights, at the identity.
    """

    config: RunConfig
    distribution: Any


def prepare(config: RunConfig, rows: Rows) -> Prepared:
    """Resolves `config` for the training rows, and builds its flow."""
    d = config.flow.event_size
    sample = np.asarray(rows.training[:: -(-len(rows.training) // MOST_ROWS)], np.float64)
    numbers = [index for index, column in enumerate(rows.columns, d) if not column.is_category]
    config = describe_columns(config, rows)
    logarithmic = config.flow.logarithmic
    if logarithmic is None:
        logarithmic = _find_logarithmic(config.data, config.flow, rows, sample)
    event = _on_log_scale(sample[:, :d], logarithmic)
    heavy, median, middle = find_heavy_tails(event)
    if config.flow.heavy_tailed is not None:
        heavy = config.flow.heavy_tailed
    flow = resolve(
        dataclasses.replace(config.flow, heavy_tailed=heavy, logarithmic=logarithmic),
        seed=config.training.seed,
        rows=len(rows.training),
    )
    training = size_training(config.training, len(rows.training), flow.condition_size)
    is_heavy, is_logarithmic = np.isin(np.arange(d), heavy), np.isin(np.arange(d), logarithmic)
    standardization = dataclasses.replace(
        rows.standardization,
        event_loc=np.select([is_heavy, is_logarithmic], [median, event.mean(axis=0)], rows.standardization.event_loc),
        event_scale=np.select(
            [is_heavy, is_logarithmic], [middle, event.std(axis=0)], rows.standardization.event_scale
        ),
    )
    bins = ConditionBins.fit(sample[:, numbers], chosen(flow.condition_bins)) if flow.condition_bins else None
    distribution = build_flow(flow, standardization=standardization, bins=bins, seed=training.seed)
    start_at_identity(distribution)
    if 0 < flow.condition_size <= MOST_REGRESSORS:
        few = sample[:: -(-len(sample) // REGRESSION_ROWS)]
        start_at_regression(distribution, few[:, :d], _encoded(rows, few[:, d:]))
    return Prepared(dataclasses.replace(config, flow=flow, training=training), distribution)


def _find_logarithmic(data: DataConfig, flow: FlowConfig, rows: Rows, sample: Array) -> tuple[int, ...]:
    """The columns that `find_logarithmic` finds, but those with noise, or with a value that is too small in any row.

    The rows of all splits are asked for their sign, since a single zero among them would leave no likelihood.
    """
    event, condition_size = data.event, flow.condition_size
    few = sample[:: -(-len(sample) // REGRESSION_ROWS)]
    regressors = np.empty((len(few), 0))
    if 0 < condition_size <= MOST_REGRESSORS:
        loc, scale = rows.standardization.condition_loc, rows.standardization.condition_scale
        regressors = np.clip((_encoded(rows, few[:, len(event) :]) - loc) / scale, -FARTHEST, FARTHEST)
    least = least_positive(flow.dtype)
    return tuple(
        index
        for index in find_logarithmic(few[:, : len(event)], regressors)
        if event[index] not in data.dequantization_widths
        and all(split[:, index].min(initial=np.inf) >= least for split in (rows.training, rows.validation, rows.test))
    )


def _on_log_scale(event: Array, columns: Sequence[int]) -> Array:
    logs = np.array(event)
    logs[:, columns] = np.log(event[:, columns])
    return logs


def _encoded(rows: Rows, condition: Array) -> Array:
    """`conditional_input` `[N, C]` of raw columns `[N, K]`."""
    return condition if rows.condition is None else np.asarray(rows.condition.encode(tf.constant(condition)))


def describe_columns(config: RunConfig, rows: Rows) -> RunConfig:
    """`config` with what the rows say of the condition: vocabularies and nulls, and the size of its encoding."""
    if rows.condition is None:
        return config
    flow = dataclasses.replace(
        config.flow,
        condition_size=len(rows.standardization.condition_loc),
        number_columns=tuple(number_entries(rows.columns)),
    )
    return dataclasses.replace(config, flow=flow, data=dataclasses.replace(config.data, condition_columns=rows.columns))


def warn_of_rows(data: DataConfig, rows: Rows, announce: Callable[[str], object]) -> None:
    """Says what is odd about the training rows, a line each."""
    names = [*data.event, *data.condition]
    for finding in rows.findings:
        announce(finding)
    if rows.dropped:
        announce(f"warning: {rows.dropped:,} rows dropped: a value is missing, NaN or infinite")
    for name in rows.constant:
        announce(f"warning: column {name!r} is the same in every training row; the model learns nothing from it")
    widths = data.dequantization_widths
    event = [name for name in data.event if name not in widths]
    condition = [column.name for column in rows.columns if not column.is_category]
    columns = [names.index(name) for name in (*event, *condition)]
    for line in describe_degeneracies(rows.training[:, columns], event, condition):
        announce(f"warning: {line}")


def describe_degeneracies(rows: Array, event: Sequence[str], condition: Sequence[str]) -> list[str]:
    """A line for each event column that repeats values or is a function of another column.

    Args:
      rows: `[N, D + C]`, event columns first; every so manieth is looked at if there are many.
      event: names of the first columns.
      condition: names of the others.

    Returns:
      What is wrong and what to do, a line each; none for a table with a density.
    """
    sample = np.asarray(rows[:: -(-len(rows) // MOST_ROWS_COMPARED)], np.float64)
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
    elif len(distinct) > FEW_VALUES and _are_counts(distinct):
        negative = " and may be negative" if distinct[0] >= 0 else ""
        yield (
            f"event column {name!r} is whole numbers: the model is continuous, its draws are fractions{negative}; "
            f"train with --dequantize {name}=1 and round the draws"
        )


def _are_counts(values: Array) -> bool:
    """Whether all are whole numbers, and small enough that float32 has fractions beside them."""
    return bool(np.abs(values).max() < MOST_COUNT and (values == np.round(values)).all())


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
