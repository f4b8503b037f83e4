"""The model's mean NLL beside those of simple densities, fitted to the training rows in closed form."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from maf.errors import DataError
from maf_serving.weights import effective_rows, mean_and_error

if TYPE_CHECKING:
    from maf.report.rows import ReportRows
    from maf_serving.moments import Covariances

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Likelihood:
    """One density on the test rows; nats per row, raw units.

    Attributes:
      name: of the density.
      nll: mean negative log-likelihood.
      standard_error: of that mean.
      excess: mean of how much more it is than the model's, row by row.
      excess_error: standard error of the excess; smaller than those of the means, for the rows are the same.
    """

    name: str
    nll: float
    standard_error: float
    excess: float
    excess_error: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Likelihoods:
    """The model first, then the baselines.

    Attributes:
      each: in the order in which they are shown.
      rows: of which the means are.
      effective_rows: as how many rows of equal weight they tell; `None` where all count alike.
      rows_without_density: rows left out because the model's density is zero or no number there.
    """

    each: tuple[Likelihood, ...]
    rows: int
    rows_without_density: int
    effective_rows: float | None = None


def compare_likelihoods(log_prob: Array, rows: ReportRows) -> Likelihoods:
    """Compares the model's `log_prob` `[N]` of the test rows with Gaussians fitted to the training rows.

    The Gaussians are of columns on the model's own scale: log-normal where that is a log scale. Those of the raw
    columns would be beaten by anything.

    Raises:
      DataError: if the model gives no row a density.
    """
    known = np.isfinite(log_prob)
    if not known.any():
        raise DataError("the model gives none of the test rows a density; expected rows such as it was trained on")
    x, c, nll = rows.x[known], rows.c[known], -log_prob[known]
    event_size = x.shape[1]
    baselines = {"Gaussian": fit_gaussian(rows.scaled, event_size)}
    if c.shape[1]:
        baselines["conditional linear Gaussian"] = fit_linear_gaussian(rows.scaled, event_size)
    others = {name: -_in_chunks(density, x, c, rows) for name, density in baselines.items()}
    weights = None if rows.weights is None else rows.weights[known]
    return Likelihoods(
        each=tuple(_likelihood(name, values, nll, weights) for name, values in {"this model": nll, **others}.items()),
        rows=int(known.sum()),
        rows_without_density=int((~known).sum()),
        effective_rows=None if weights is None else effective_rows(weights),
    )


def _in_chunks(density: LinearGaussian, x: Array, c: Array, rows: ReportRows) -> Array:
    """`density.log_prob`, with the condition of a chunk of rows encoded at a time."""
    step = rows.at_once
    starts = range(0, len(x), step)
    y = rows.on_scale(x)
    log_densities = [density.log_prob(y[i : i + step], rows.encoded(c[i : i + step])) for i in starts]
    slopes: Array = y[:, list(rows.logarithmic)].sum(axis=1)  # of the logarithm: log(dx/dy) = y
    return np.concatenate(log_densities) - slopes


def _likelihood(name: str, nll: Array, model_nll: Array, weights: Array | None) -> Likelihood:
    (mean, error), (excess, excess_error) = (mean_and_error(values, weights) for values in (nll, nll - model_nll))
    return Likelihood(name=name, nll=mean, standard_error=error, excess=excess, excess_error=excess_error)


SMALLEST_EIGENVALUE = 1e-10  # of correlations: columns that are functions of others keep a density


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinearGaussian:
    """x | c normal with mean `x_mean + (c - c_mean) coefficients` and one covariance for all c.

    Without conditional columns it is the Gaussian of x.

    Attributes:
      x_mean: `[D]`.
      c_mean: `[C]`.
      coefficients: `[C, D]`.
      covariance: `[D, D]`, of what the mean leaves.
    """

    x_mean: Array
    c_mean: Array
    coefficients: Array
    covariance: Array

    def log_prob(self, x: Array, c: Array) -> Array:
        """`[N]` nats, of x `[N, D]` given c `[N, C]`."""
        deviation = np.sqrt(np.maximum(np.diag(self.covariance), np.finfo(np.float64).tiny))
        values, vectors = np.linalg.eigh(self.covariance / np.outer(deviation, deviation))
        values = np.maximum(values, SMALLEST_EIGENVALUE)
        whitened = ((x - self.x_mean - (c - self.c_mean) @ self.coefficients) / deviation) @ vectors / np.sqrt(values)
        normalizer = 0.5 * np.log(values).sum() + np.log(deviation).sum() + 0.5 * x.shape[1] * math.log(2 * math.pi)
        log_density: Array = -0.5 * (whitened**2).sum(axis=1) - normalizer
        return log_density


def fit_gaussian(moments: Covariances, event_size: int) -> LinearGaussian:
    """Maximum likelihood of x alone: the condition is not looked at."""
    d = event_size
    coefficients = np.zeros((len(moments.mean) - d, d))
    return LinearGaussian(
        x_mean=moments.mean[:d],
        c_mean=moments.mean[d:],
        coefficients=coefficients,
        covariance=moments.covariance[:d, :d],
    )


def fit_linear_gaussian(moments: Covariances, event_size: int) -> LinearGaussian:
    """Maximum likelihood of x given c: linear regression, and the covariance of what it leaves."""
    d = event_size
    deviation = np.where(moments.deviation > 0, moments.deviation, 1.0)
    correlation = moments.covariance / np.outer(deviation, deviation)
    slopes = np.linalg.pinv(correlation[d:, d:], rcond=1e-9, hermitian=True) @ correlation[d:, :d]
    residual = correlation[:d, :d] - correlation[:d, d:] @ slopes
    return LinearGaussian(
        x_mean=moments.mean[:d],
        c_mean=moments.mean[d:],
        coefficients=slopes / deviation[d:, None] * deviation[:d],
        covariance=residual * np.outer(deviation[:d], deviation[:d]),
    )
