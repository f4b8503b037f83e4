"""Sizes and regularisation that nobody chose, from the number of rows and columns.

The rules come from tables of 400 to 50,000 rows, with one to five event columns and up to thirteen conditional ones,
where each was changed alone and judged by validation rows. What they have in common: few rows want strong
regularisation and many passes, many rows want a wider network and fewer passes.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, TypeVar

from maf.errors import ConfigError

if TYPE_CHECKING:
    from maf.config import FlowConfig, TrainingConfig

T = TypeVar("T")

TYPICAL_ROWS = 50_000  # where nobody says how many there are
FEW_ROWS = 3_000
MANY_ROWS = 20_000
MOST_BINS = 512  # of all conditional columns that are numbers together


def size_flow(config: FlowConfig, rows: int) -> FlowConfig:
    """`config` with nothing automatic left, for a table of `rows` training rows.

    One event column needs few layers, since a spline is as flexible as it has bins and all else is in the condition's
    network. Several columns need layers in both orders, two or three also finer splines if there are rows for them.
    """
    columns = config.condition_size
    width = min(128 if rows < FEW_ROWS else 256, {0: 64, 1: 64, 2: 128}.get(columns, 256))
    depth = 2 if rows < MANY_ROWS or columns < 3 else 3
    automatic: dict[str, Any] = {
        "num_bins": 16 if config.event_size in {2, 3} and rows >= MANY_ROWS else 8,
        "num_layers": (1 if rows < FEW_ROWS else 2) if config.event_size == 1 else 4,
        "condition_units": (width,) * depth,
        "condition_bins": next((bins for bins in (32, 16, 8) if bins * config.num_numbers <= MOST_BINS), 4),
        "heavy_tailed": (),
        "logarithmic": (),
        "number_columns": tuple(range(columns)),
    }
    return dataclasses.replace(config, **_missing(config, automatic))


def size_training(config: TrainingConfig, rows: int, condition_size: int) -> TrainingConfig:
    """`config` with nothing automatic left, for a table of `rows` training rows and `condition_size` conditions."""
    limits = ((2_000, 128), (MANY_ROWS, 256), (1_000_000, 512))
    epochs = config.max_epochs or min(200, max(8, round(8_000 / math.sqrt(rows))))
    automatic: dict[str, Any] = {
        "batch_size": next((size for limit, size in limits if rows < limit), 1_024),
        "max_epochs": epochs,
        "patience": max(10, epochs // 3),
        "weight_decay": min(2.0, 50 / math.sqrt(rows)),
        "dropout": 0.1 if condition_size >= 3 and rows < 200_000 else 0.0,
    }
    return dataclasses.replace(config, **_missing(config, automatic))


def size_all(flow: FlowConfig, training: TrainingConfig, rows: int) -> tuple[FlowConfig, TrainingConfig]:
    """Both with nothing automatic left, for a table of `rows` training rows."""
    return size_flow(flow, rows), size_training(training, rows, flow.condition_size)


def chosen(value: T | None) -> T:
    """`value` of an option that is no longer automatic."""
    if value is None:
        raise ConfigError("an option is still automatic; size_flow and size_training set them from the rows")
    return value


def _missing(config: FlowConfig | TrainingConfig, automatic: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in automatic.items() if getattr(config, name) is None}
