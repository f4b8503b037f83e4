"""Quantile bins of the conditional columns, for a piecewise-linear encoding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np

from maf.standardization import Standardization

Array = np.ndarray[Any, Any]
MOST_ROWS = 200_000  # enough for quantiles


@dataclasses.dataclass(frozen=True, slots=True)
class ConditionBins:
    """Where each conditional column has its bins, in raw units.

    Bin t of column j encodes `c` as `clip((c_j - low_jt) * rate_jt, 0, 1)`: 0 below the bin, 1 above, linear inside
    (Gorishniy et al. 2022, section 3.1). A dense layer on top is piecewise linear in `c` with a slope of its own in
    each bin, which is what tables with steps, thresholds and skewed columns need; outside of the training rows' range
    it is constant.

    Reference: https://arxiv.org/abs/2203.05556

    Attributes:
      low: `[C, T]`, where the bins begin; of the columns that are numbers.
      rate: `[C, T]`, one over their widths; 0 for a bin that a column has no use for.
    """

    low: Array
    rate: Array

    @classmethod
    def fit(cls, columns: Array, num_bins: int) -> ConditionBins:
        """Bins of about equally many of the rows `columns` `[N, C]`; fewer for a column with few distinct values.

        NaN is no value.
        """
        sample = np.asarray(columns[:: -(-len(columns) // MOST_ROWS)], np.float64)
        shares = np.linspace(0, 1, num_bins + 1)
        known = [values[~np.isnan(values)] for values in sample.T]
        # of a column without values in the sample there is nothing to divide
        knots = [np.quantile(v, shares, method="inverted_cdf") if len(v) else np.zeros(1) for v in known]
        return cls._between(knots, num_bins)

    @classmethod
    def normal(
        cls, standardization: Standardization, num_bins: int, columns: Sequence[int] | None = None
    ) -> ConditionBins:
        """Bins for normal columns of that mean and deviation, where there are no rows to fit to; `None` for all."""
        shares = np.linspace(0, 1, num_bins + 3)[1:-1]
        quantiles = np.array([NormalDist().inv_cdf(share) for share in shares])
        chosen = slice(None) if columns is None else list(columns)
        loc, scale = standardization.condition_loc[chosen], standardization.condition_scale[chosen]
        return cls._between(list(loc[:, None] + scale[:, None] * quantiles), num_bins)

    @classmethod
    def _between(cls, knots: list[Array], num_bins: int) -> ConditionBins:
        low, rate = np.zeros((len(knots), num_bins)), np.zeros((len(knots), num_bins))
        for column, values in enumerate(knots):
            distinct = np.unique(values)
            low[column, : len(distinct) - 1] = distinct[:-1]
            rate[column, : len(distinct) - 1] = 1 / np.diff(distinct)
        return cls(low, rate)
