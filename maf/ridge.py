"""Linear regression whose strength of regularisation is chosen by what it predicts of rows it has not seen."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
PENALTIES = 10.0 ** np.arange(-4, 5)  # times the mean variance of the columns, for each row


@dataclasses.dataclass(frozen=True, slots=True)
class LinearFit:
    """Columns `y` `[N, D]` as linear functions of columns `c` `[N, C]`.

    Attributes:
      weights: `[C, D]`.
      intercept: `[D]`.
      error: `[D]`, root mean square error of each row's prediction by a fit to all others.
    """

    weights: Array
    intercept: Array
    error: Array


def fit_ridge(c: Array, y: Array) -> LinearFit:
    """Ridge regression, with the penalty of the least leave-one-out error for each column of `y`.

    Errors without one row each follow from the fit to all, `e_i / (1 - H_ii)`, and every penalty from one
    decomposition: `O(N C^2)` in all.

    Args:
      c: `[N, C]`, standardised; float64.
      y: `[N, D]`, float64.
    """
    loc, mean = c.mean(axis=0), y.mean(axis=0)
    variances, axes = np.linalg.eigh((c - loc).T @ (c - loc) / len(c))
    turned, centred = (c - loc) @ axes, y - mean
    products = turned.T @ centred / len(c)
    best = LinearFit(np.zeros((c.shape[1], y.shape[1])), mean, np.full(y.shape[1], np.inf))
    for penalty in PENALTIES * (float(variances.mean()) or 1.0):
        shrunk = 1 / (np.maximum(variances, 0) + penalty)
        leverage = (1 + (turned**2 * shrunk).sum(axis=1)) / len(c)
        turned_weights = shrunk[:, None] * products
        left_out = (centred - turned @ turned_weights) / np.maximum(1 - leverage, 1e-9)[:, None]
        error = np.sqrt((left_out**2).mean(axis=0))
        weights = axes @ turned_weights
        better = error < best.error
        best = LinearFit(
            np.where(better, weights, best.weights),
            np.where(better, mean - loc @ weights, best.intercept),
            np.where(better, error, best.error),
        )
    return best
