"""Simple likelihood, complex posterior: four points of a normal whose mean and covariance are to be found.

Papamakarios, Sterratt and Murray, Sequential Neural Likelihood, AISTATS 2019 (arXiv:1805.07226), as it is in Lueckmann
et al. 2021, T.3. Parameters: two means, roots of two standard deviations up to their sign, and the inverse hyperbolic
tangent of the correlation; uniform from -3 to 3.

Given the covariance S, the mean is normal around the mean of the points, with covariance S / 4. Without it what is left
is a density of three parameters, |S|^(-3/2) exp(-tr(S^-1 A) / 2) with A the scatter of the points around their mean.
These three are drawn from it by means of a grid, then a mean is drawn, and all are kept if the prior allows the mean.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from benchmarks.known_density import Array

BOUND = 3.0
POINTS = 4
LEAST_VARIANCE = 1e-6  # what the paper's simulator adds to both variances
CELLS = 96  # along each side of the grid
NEGLIGIBLE = 25.0  # nats below the greatest density, on a grid of CELLS**3 together 1e-5 of the posterior at most


def covariance(parameters: Array) -> tuple[Array, Array, Array]:
    """The two variances and the covariance that parameters `[..., 3]`, those after the means, stand for."""
    first, second = parameters[..., 0] ** 2, parameters[..., 1] ** 2
    return (
        first**2 + LEAST_VARIANCE,
        second**2 + LEAST_VARIANCE,
        np.tanh(parameters[..., 2]) * first * second,
    )


def simulate_slcp(parameters: Array, rng: np.random.Generator) -> Array:
    """Four points `[N, 8]`, each an abscissa and an ordinate, for parameters `[N, 5]`."""
    points = _normals(parameters[:, None, :2], parameters[:, None, 2:], (len(parameters), POINTS), rng)
    return points.reshape(len(parameters), 2 * POINTS)


def draw_slcp(data: Array, n: int, rng: np.random.Generator) -> Array:
    """`n` draws of the posterior of one row of data `[8]`."""
    points = data.reshape(POINTS, 2)
    mean = points.mean(axis=0)
    scatter = (points - mean).T @ (points - mean)
    low, high = _where_it_is(scatter)
    found: list[Array] = []
    while sum(map(len, found)) < n:
        shape = _shapes(scatter, low, high, 4 * n, rng)
        means = _normals(mean, shape, (len(shape),), rng, scale=1 / math.sqrt(POINTS))
        signs = rng.choice([-1.0, 1.0], (len(shape), 2))
        drawn = np.concatenate([means, signs * shape[:, :2], shape[:, 2:]], axis=1)
        found.append(drawn[(np.abs(means) <= BOUND).all(axis=1)])
    return np.concatenate(found)[:n]


def _normals(mean: Array, shape: Array, size: tuple[int, ...], rng: np.random.Generator, scale: float = 1.0) -> Array:
    """Pairs `[*size, 2]`, normal around `mean` with `scale`**2 times the covariance of `shape`."""
    first, second, both = covariance(shape)
    z = rng.normal(size=(*size, 2))
    factor = np.sqrt(first)
    abscissa = factor * z[..., 0]
    ordinate = both / factor * z[..., 0] + np.sqrt(second - both**2 / first) * z[..., 1]
    return mean + scale * np.stack([abscissa, ordinate], axis=-1)


def log_density(logs: Array, scatter: Array) -> Array:
    """Of the logarithms of the two roots and the fifth parameter, `[..., 3]`; nats, up to a constant.

    This is the posterior without the condition that the means are within the prior, with positive roots.
    """
    first, second, both = covariance(_from_logs(logs))
    determinant = first * second - both**2
    trace = (second * scatter[0, 0] + first * scatter[1, 1] - 2 * both * scatter[0, 1]) / determinant
    result: Array = -1.5 * np.log(determinant) - 0.5 * trace + logs[..., 0] + logs[..., 1]
    return result


def _from_logs(logs: Array) -> Array:
    return np.concatenate([np.exp(logs[..., :2]), logs[..., 2:]], axis=-1)


def _where_it_is(scatter: Array) -> tuple[Array, Array]:
    """Corners of a box with what is not negligible of `log_density`."""
    low, high = np.array([math.log(1e-3), math.log(1e-3), -BOUND]), np.array([math.log(BOUND), math.log(BOUND), BOUND])
    for _ in range(2):
        log_prob = log_density(_middles(low, high), scatter)
        inside = log_prob > log_prob.max() - NEGLIGIBLE
        side = (high - low) / CELLS
        for axis in range(3):
            seen = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))
            low[axis], high[axis] = (
                max(low[axis] + (seen[0] - 1) * side[axis], low[axis]),
                min(low[axis] + (seen[-1] + 2) * side[axis], high[axis]),
            )
    return low, high


def _middles(low: Array, high: Array) -> Array:
    """Of the cells of a grid between two corners, `[CELLS, CELLS, CELLS, 3]`."""
    steps = (np.arange(CELLS) + 0.5) / CELLS
    axes = [a + (b - a) * steps for a, b in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)


def _shapes(scatter: Array, low: Array, high: Array, n: int, rng: np.random.Generator) -> Array:
    """At most `n` draws of the three parameters after the means, the first two positive.

    A cell is chosen by the density in its middle, a place in it by chance, and this is kept as often as the density is
    greater there than in the middle, relative to the place where it is the most.
    """
    middles = _middles(low, high).reshape(-1, 3)
    log_prob = log_density(middles, scatter)
    weights = np.exp(log_prob - log_prob.max())
    chosen = rng.choice(len(weights), n, p=weights / weights.sum())
    logs = middles[chosen] + (rng.random((n, 3)) - 0.5) * (high - low) / CELLS
    excess = log_density(logs, scatter) - log_prob[chosen]
    return _from_logs(logs[np.log(rng.random(n)) < excess - excess.max()])
