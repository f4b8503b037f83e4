"""What a model takes from its training rows before the fit: sizes, moments, bins, the scale of each column.

Event columns whose likelihood has no finite maximum are found here too, before a model spends its weights on them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from maf.bounds import describe_edges, fit_bounds, within_bounds
from maf.condition_encoder import FARTHEST, ConditionBins
from maf.event_scales import BoundedScale, least_positive
from maf.flow import build_flow, chosen, resolve, size_training
from maf.shrinkage import find_unrelated
from maf.standardization import dequantized, noise_widths
from maf.starting_point import (
    find_heavy_tails,
    find_logarithmic,
    start_at_identity,
    start_at_regression,
)
from maf_serving.columns import number_entries

if TYPE_CHECKING:
    from maf.config import BoundedColumn, DataConfig, FlowConfig, RunConfig
    from maf.rows import Rows
    from maf.standardization import Standardization

Array = np.ndarray[Any, Any]
MOST_ROWS = 200_000  # looked at for quantiles
REGRESSION_ROWS = 20_000
WEIGHT_STREAM = 0x3E1647
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
    sample = _sample(rows, config.training.seed)
    numbers = [index for index, column in enumerate(rows.columns, d) if column.unit is not None]
    config = describe_columns(config, rows)
    flow, standardization = _scale_columns(config, rows, sample)
    training = size_training(config.training, len(rows.training), event_size=d, condition_size=flow.condition_size)
    if config.training.unrelated_columns is None and training.column_shrinkage:
        unrelated = [flow.numbers[k] for k in find_unrelated(sample[:, numbers], sample[:, :d])]
        training = dataclasses.replace(training, unrelated_columns=tuple(unrelated))
    if flow.projected_columns is None:
        related = [column for column in flow.numbers if column not in chosen(training.unrelated_columns)]
        flow = dataclasses.replace(flow, projected_columns=tuple(related))
    flow = resolve(flow, seed=training.seed, rows=len(rows.training))
    units = np.array([column.unit for column in rows.columns if column.unit is not None])
    bins = ConditionBins.fit(sample[:, numbers] / units, chosen(flow.condition_bins)) if flow.condition_bins else None
    distribution = build_flow(flow, standardization=standardization, bins=bins, seed=training.seed)
    start_at_identity(distribution)
    if 0 < flow.condition_size <= MOST_REGRESSORS:
        few = sample[:: _step(sample)]
        start_at_regression(distribution, few[:, :d], _encoded(rows, few[:, d:]))
    return Prepared(dataclasses.replace(config, flow=flow, training=training), distribution)


def _sample(rows: Rows, seed: int) -> Array:
    """Training rows `[n, D + K]`, float64, at most `MOST_ROWS` of them; drawn by their weights, if they have some."""
    every = -(-len(rows.training) // MOST_ROWS)
    sample, weights = np.asarray(rows.training[::every], np.float64), rows.weights_of("training")
    if weights is None:
        return sample
    shares = np.asarray(weights[::every], np.float64)
    rng = np.random.default_rng([seed, WEIGHT_STREAM])
    drawn: Array = sample[rng.choice(len(sample), len(sample), p=shares / shares.sum())]
    return drawn


def _scale_columns(config: RunConfig, rows: Rows, sample: Array) -> tuple[FlowConfig, Standardization]:
    """The flow with the scale of each event column decided, and what columns are standardised by on these scales."""
    data, flow, d = config.data, config.flow, config.flow.event_size
    few = sample[:: _step(sample)]
    regressors = _regressors(flow, rows, few[:, d:])
    noisy = within_bounds(data, dequantized(sample, noise_widths(data), seed=(config.training.seed,))[:, :d])
    bounded, logarithmic = flow.bounded, flow.logarithmic
    if bounded is None:
        bounded = fit_bounds(data, noisy, regressors, step=_step(sample), dtype=flow.dtype)
    with_bounds = [column.index for column in bounded]
    if logarithmic is None:
        found = _find_logarithmic(data, flow, rows, few[:, :d], regressors)
        logarithmic = tuple(index for index in found if index not in with_bounds)
    event = _on_scales(sample[:, :d], noisy, bounded, logarithmic)
    heavy, median, middle = find_heavy_tails(event)
    if flow.heavy_tailed is not None:
        heavy = flow.heavy_tailed
    known = rows.standardization
    places = [np.isin(np.arange(d), heavy), np.isin(np.arange(d), [*logarithmic, *with_bounds])]
    standardization = dataclasses.replace(
        known,
        event_loc=np.select(places, [median, event.mean(axis=0)], known.event_loc),
        event_scale=np.select(places, [middle, event.std(axis=0)], known.event_scale),
    )
    return dataclasses.replace(flow, heavy_tailed=heavy, logarithmic=logarithmic, bounded=bounded), standardization


def _step(sample: Array) -> int:
    """How manieth of the rows the regressions are made of."""
    return -(-len(sample) // REGRESSION_ROWS)


def _regressors(flow: FlowConfig, rows: Rows, condition: Array) -> Array:
    """`[n, C]`, the standardised entries of raw `condition` `[n, K]`; C is 0 where there would be too many."""
    if not 0 < flow.condition_size <= MOST_REGRESSORS:
        return np.empty((len(condition), 0))
    loc, scale = rows.standardization.condition_loc, rows.standardization.condition_scale
    return np.clip((_encoded(rows, condition) - loc) / scale, -FARTHEST, FARTHEST)


def _find_logarithmic(data: DataConfig, flow: FlowConfig, rows: Rows, few: Array, regressors: Array) -> tuple[int, ...]:
    """The columns that `find_logarithmic` finds, but those with noise, or with a value that is too small in any row.

    The rows of all splits are asked for their sign, since a single zero among them would leave no likelihood.
    """
    event = data.event
    least = least_positive(flow.dtype)
    return tuple(
        index
        for index in find_logarithmic(few, regressors)
        if event[index] not in data.dequantization_widths
        and all(split[:, index].min(initial=np.inf) >= least for split in (rows.training, rows.validation, rows.test))
    )


def _on_scales(event: Array, noisy: Array, bounded: Sequence[BoundedColumn], logarithmic: Sequence[int]) -> Array:
    """`event` `[N, D]` with logarithms, and unbounded values of what is bounded, for which noise counts."""
    scaled = np.array(event)
    scaled[:, logarithmic] = np.log(event[:, logarithmic])
    if bounded:
        columns = [column.index for column in bounded]
        scaled[:, columns] = BoundedScale(bounded, event.shape[1]).inverse(tf.constant(noisy)).numpy()[:, columns]
    return scaled


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
    sample = rows.training[:: -(-len(rows.training) // MOST_ROWS)]
    degeneracies = describe_degeneracies(rows.training[:, columns], event, condition)
    repeating = [name for name in event if any(line.startswith(f"event column {name!r} ") for line in degeneracies)]
    for line in (*degeneracies, *describe_edges(sample, data, repeating)):
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
        is_positive = distinct[0] >= 0
        yield (
            f"event column {name!r} is whole numbers: the model is continuous, its draws are fractions"
            f"{' and may be negative' if is_positive else ''}; train with --dequantize {name}=1"
            f"{f' --lower_bound {name}=0' if is_positive else ''}"
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
