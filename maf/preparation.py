"""What a model takes from its training rows before the fit: sizes, moments, bins, which columns have heavy tails."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from maf.automatic import chosen, size_training
from maf.condition_bins import ConditionBins
from maf.condition_columns import number_entries
from maf.config import RunConfig
from maf.degeneracy import describe_degeneracies
from maf.flow import build_flow, resolve
from maf.heavy_tails import find_heavy_tails
from maf.identity_start import start_at_identity
from maf.linear_start import start_at_regression
from maf.rows import Rows

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
    heavy, median, middle = find_heavy_tails(sample[:, :d])
    if config.flow.heavy_tailed is not None:
        heavy = config.flow.heavy_tailed
    flow = resolve(
        dataclasses.replace(config.flow, heavy_tailed=heavy), seed=config.training.seed, rows=len(rows.training)
    )
    training = size_training(config.training, len(rows.training), flow.condition_size)
    is_heavy = np.isin(np.arange(d), heavy)
    standardization = dataclasses.replace(
        rows.standardization,
        event_loc=np.where(is_heavy, median, rows.standardization.event_loc),
        event_scale=np.where(is_heavy, middle, rows.standardization.event_scale),
    )
    bins = ConditionBins.fit(sample[:, numbers], chosen(flow.condition_bins)) if flow.condition_bins else None
    distribution = build_flow(flow, standardization=standardization, bins=bins, seed=training.seed)
    start_at_identity(distribution)
    if 0 < flow.condition_size <= MOST_REGRESSORS:
        few = sample[:: -(-len(sample) // REGRESSION_ROWS)]
        start_at_regression(distribution, few[:, :d], _encoded(rows, few[:, d:]))
    return Prepared(dataclasses.replace(config, flow=flow, training=training), distribution)


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
        number_columns=number_entries(rows.columns),
    )
    return dataclasses.replace(config, flow=flow, data=dataclasses.replace(config.data, condition_columns=rows.columns))


def warn_of_rows(config: RunConfig, rows: Rows, announce: Callable[[str], None]) -> None:
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
