"""Densities that end abruptly, each also without telling the flow where."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.known_density import Array, KnownDensity, log_normal


def _alone(draw: Callable[[np.random.Generator, int], Array]) -> Callable[[int, np.random.Generator], Any]:
    """A sample of one column without a condition."""
    return lambda n, rng: (draw(rng, n)[:, None], np.empty((n, 0)))


TRUNCATED = (-1.0, 2.0)  # a standard normal between these
NORMALIZER = math.log(0.5 * (math.erf(TRUNCATED[1] / math.sqrt(2)) - math.erf(TRUNCATED[0] / math.sqrt(2))))


def _truncated_normal(rng: np.random.Generator, n: int) -> Array:
    drawn = rng.normal(size=3 * n)
    return drawn[(drawn > TRUNCATED[0]) & (drawn < TRUNCATED[1])][:n]


def _beta_log_prob(x: Array, c: Array) -> Array:  # noqa: ARG001  # unconditional
    inside = np.clip(x[:, 0], 1e-300, 1 - 1e-16)  # a draw of float64 may be 1
    result: Array = -math.log(math.pi) - 0.5 * np.log(inside) - 0.5 * np.log1p(-inside)
    return result


def _scaled_exponential(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    c = rng.uniform(-1, 1, (n, 1))
    return rng.exponential(np.exp(c)), c


BOX_NOISE = math.sqrt(0.1)


def _linear_uniform(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Ten parameters, uniform on a box, given each with noise: "Gaussian linear uniform" of Lueckmann et al. 2021."""
    x = rng.uniform(-1, 1, (n, 10))
    return x, x + BOX_NOISE * rng.normal(size=x.shape)


def _linear_uniform_log_prob(x: Array, c: Array) -> Array:
    """Of the posterior: normals around c, truncated to the box."""
    below = np.vectorize(lambda t: 0.5 * math.erfc(-t / math.sqrt(2)))
    inside = below((1 - c) / BOX_NOISE) - below((-1 - c) / BOX_NOISE)
    result: Array = (log_normal(x, c, BOX_NOISE) - np.log(inside)).sum(axis=1)
    return result


BOUNDED = {
    "uniform": KnownDensity(_alone(lambda rng, n: rng.uniform(size=n)), lambda x, _: np.zeros(len(x)), 0, 1),
    "exponential": KnownDensity(_alone(lambda rng, n: rng.exponential(size=n)), lambda x, _: -x[:, 0], 0),
    "beta 0.5 0.5": KnownDensity(_alone(lambda rng, n: rng.beta(0.5, 0.5, n)), _beta_log_prob, 0, 1),
    "truncated normal": KnownDensity(
        _alone(_truncated_normal), lambda x, _: log_normal(x[:, 0], 0.0, 1.0) - NORMALIZER, *TRUNCATED
    ),
    "scaled exponential": KnownDensity(_scaled_exponential, lambda x, c: -x[:, 0] / np.exp(c[:, 0]) - c[:, 0], 0),
    "linear uniform": KnownDensity(_linear_uniform, _linear_uniform_log_prob, -1, 1),
}
DENSITIES = BOUNDED | {
    f"{name} not told": dataclasses.replace(density, is_told=False) for name, density in BOUNDED.items()
}
