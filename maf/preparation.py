"""What a model takes from its training rows before the fit: sizes, moments, bins, the scale of each column."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from maf.automatic import chosen, size_training
from maf.condition_bins import ConditionBins
from maf.condition_encoder import FARTHEST
from maf.config import RunConfig
from maf.degeneracy import describe_degeneracies
from maf.flow import build_flow, resolve
from maf.heavy_tails import find_heavy_tails
from maf.identity_start import start_at_identity
from maf.linear_start import start_at_regression
from maf.logarithmic import find_logarithmic, least_positive
from maf.rows import Rows
from maf_serving.columns import number_entries

Array = np.ndarray[Any, Any]
MOST_ROWS = 200_000  # looked at for quantiles
REGRESSION_ROWS = 20_000
MOST_REGRESSORS = 500  # entries of the condition; with more the regression would take memory and time


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
        logarithmic = _find_logarithmic(config, rows, sample)
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


def _find_logarithmic(config: RunConfig, rows: Rows, sample: Array) -> tuple[int, ...]:
    """The columns that `find_logarithmic` finds, but those with noise, or with a value that is too small in any row.

    The rows of all splits are asked for their sign, since a single zero among them would leave no likelihood.
    """
    event, condition_size = config.data.event, config.flow.condition_size
    few = sample[:: -(-len(sample) // REGRESSION_ROWS)]
    regressors = np.empty((len(few), 0))
    if 0 < condition_size <= MOST_REGRESSORS:
        loc, scale = rows.standardization.condition_loc, rows.standardization.condition_scale
        regressors = np.clip((_encoded(rows, few[:, len(event) :]) - loc) / scale, -FARTHEST, FARTHEST)
    least = least_positive(config.flow.dtype)
    return tuple(
        index
        for index in find_logarithmic(few[:, : len(event)], regressors)
        if event[index] not in config.data.dequantization_widths
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


def warn_of_rows(config: RunConfig, rows: Rows, announce: Callable[[str], object]) -> None:
    """Says what is odd about the training rows, a line each."""
    names = [*config.data.event, *config.data.condition]
    for finding in rows.findings:
        announce(finding)
    if rows.dropped:
        announce(f"warning: {rows.dropped:,} rows dropped: a value is missing, NaN or infinite")
    for name in rows.constant:
        announce(f"warning: column {name!r} is the same in every training row; the model learns nothing from it")
    widths = config.data.dequantization_widths
    event = [name for name in config.data.event if name not in widths]
    condition = [column.name for column in rows.columns if not column.is_category]
    columns = [names.index(name) for name in (*event, *condition)]
    for line in describe_degeneracies(rows.training[:, columns], event, condition):
        announce(f"warning: {line}")
