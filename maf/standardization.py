"""What x and c are standardised by, and uniform noise on columns of repeated values.

A column of integers has no density: splines put ever narrower peaks on the values, and the likelihood grows without
limit and means nothing. With noise of the width of the grid the density of the noisy column is finite, and its mean
log is a lower bound of the log-probability of the value, up to the log of the width (Theis et al. 2016, section 3.1,
https://arxiv.org/abs/1511.01844).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from maf.config import DataConfig

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Standardization:
    """Location and scale of the raw columns: `event_*` `[D]`, `condition_*` `[C]`."""

    event_loc: Array
    event_scale: Array
    condition_loc: Array
    condition_scale: Array


def noise_widths(config: DataConfig) -> Array | None:
    """The widths `[D]` of the noise on each event column, 0 for none; `None` if no column is to have any."""
    widths = config.dequantization_widths
    return np.array([widths.get(name, 0.0) for name in config.event]) if widths else None


def dequantized(rows: Array, widths: Array | None, *, seed: Sequence[int]) -> Array:
    """`rows` `[N, D + C]` with noise in `[-w/2, w/2)` on the event columns, decided by `seed`."""
    if widths is None:
        return rows
    noise = (np.random.default_rng(list(seed)).random((len(rows), len(widths))) - 0.5) * widths
    noisy = np.array(rows)
    noisy[:, : len(widths)] += noise.astype(rows.dtype)
    return noisy
