"""Densities of several columns whose answer is known."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.known_density import Array, KnownDensity, log_normal

MOON_NOISE = 0.1


def _moons(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    c = rng.uniform(0, 2, (n, 1))
    angle, side = rng.uniform(0, math.pi, n), rng.integers(0, 2, n)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    lower = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    x = np.where(side[:, None] == 1, upper, lower) + MOON_NOISE * rng.normal(size=(n, 2))
    x[:, 0] += c[:, 0]
    return x, c


def _moons_log_prob(x: Array, c: Array) -> Array:
    """By quadrature along the arcs: the integrand is periodic but for its ends, 400 points give 1e-4 nats."""
    middle = (np.arange(400) + 0.5) / 400 * math.pi
    parts = []
    for place, condition in zip(np.array_split(x, 100), np.array_split(c, 100), strict=True):
        a, b = place[:, :1] - condition, place[:, 1:]
        upper = log_normal(a, np.cos(middle), MOON_NOISE) + log_normal(b, np.sin(middle), MOON_NOISE)
        lower = log_normal(a, 1 - np.cos(middle), MOON_NOISE) + log_normal(b, 0.5 - np.sin(middle), MOON_NOISE)
        parts.append(np.log((np.exp(upper) + np.exp(lower)).mean(axis=1) / 2))
    return np.concatenate(parts)


def _banana(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Haario's banana: x1 bends by x0 squared; entropy 3.531 nats."""
    z = rng.normal(size=(n, 2))
    x0 = 2 * z[:, 0]
    return np.stack([x0, z[:, 1] + 0.25 * x0**2], axis=1), np.empty((n, 0))


def _banana_log_prob(x: Array, c: Array) -> Array:  # noqa: ARG001  # unconditional
    return log_normal(x[:, 0], 0.0, 2.0) + log_normal(x[:, 1] - 0.25 * x[:, 0] ** 2, 0.0, 1.0)


RING_NOISE = 0.1


def _rings(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Two rings, one of twice the radius of the other, which the condition gives."""
    c = rng.uniform(1, 2, (n, 1))
    radius = c[:, 0] * rng.integers(1, 3, n) + RING_NOISE * rng.normal(size=n)
    angle = rng.uniform(0, 2 * math.pi, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), c


def _rings_log_prob(x: Array, c: Array) -> Array:
    radius = np.hypot(x[:, 0], x[:, 1])
    of_each = [np.exp(log_normal(side * radius, k * c[:, 0], RING_NOISE)) for k in (1, 2) for side in (1, -1)]
    result: Array = np.log(np.sum(of_each, axis=0) / 2) - np.log(2 * math.pi * radius)
    return result


def _three_normals(*, is_correlated: bool) -> KnownDensity:
    """Eight columns, a mixture of three normals whose places and weights follow three conditions."""
    size, parts = 8, 3
    rng = np.random.default_rng(8)
    place, slope = 2 * rng.normal(size=(parts, size)), rng.normal(size=(parts, size, 3))
    votes = rng.normal(size=(parts, 3))
    scale = np.exp(rng.uniform(-1, 0, (parts, size)))
    factor = np.stack([np.diag(row) for row in scale])
    if is_correlated:
        factor = factor @ (np.eye(size) + np.tril(0.5 * rng.normal(size=(parts, size, size)), -1))
    inverse, log_determinant = np.linalg.inv(factor), np.log(scale).sum(axis=1)

    def parameters(c: Array) -> tuple[Array, Array]:
        weights = np.exp(2 * c @ votes.T)
        return weights / weights.sum(axis=1, keepdims=True), place + np.einsum("kdc,nc->nkd", slope, c)

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        c = rng.uniform(-1, 1, (n, 3))
        weights, loc = parameters(c)
        chosen = (rng.random((n, 1)) > weights.cumsum(axis=1)[:, :-1]).sum(axis=1)
        noise = np.einsum("nde,ne->nd", factor[chosen], rng.normal(size=(n, size)))
        return loc[np.arange(n), chosen] + noise, c

    def log_prob(x: Array, c: Array) -> Array:
        weights, loc = parameters(c)
        z = np.einsum("kde,nke->nkd", inverse, x[:, None] - loc)
        of_each = np.log(weights) + log_normal(z, 0.0, 1.0).sum(axis=2) - log_determinant
        result: Array = np.logaddexp.reduce(of_each, axis=1)
        return result

    return KnownDensity(sample, log_prob)


def _checkerboard(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """The eight black squares of a board of four by four, which the condition moves around a circle."""
    c = rng.uniform(-1, 1, (n, 1))
    row = rng.integers(0, 4, n)
    column = 2 * rng.integers(0, 2, n) + row % 2
    return np.stack([column, row], axis=1) + rng.random((n, 2)) + _board_place(c), c


def _checkerboard_log_prob(x: Array, c: Array) -> Array:
    square = np.floor(x - _board_place(c))
    is_black = ((square >= 0) & (square < 4)).all(axis=1) & (square.sum(axis=1) % 2 == 0)
    return np.where(is_black, -math.log(8), -np.inf)


def _board_place(c: Array) -> Array:
    return np.concatenate([np.cos(3 * c), np.sin(3 * c)], axis=1)


FUNNEL = 3.0  # deviation of the logarithm of the variance


def _funnel(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Neal's funnel (Slice sampling, 2003) of two columns: the first says how wide the second is."""
    neck = FUNNEL * rng.normal(size=n)
    return np.stack([neck, np.exp(neck / 2) * rng.normal(size=n)], axis=1), np.empty((n, 0))


def _funnel_log_prob(x: Array, c: Array) -> Array:  # noqa: ARG001  # unconditional
    return log_normal(x[:, 0], 0.0, FUNNEL) + log_normal(x[:, 1], 0.0, np.exp(x[:, 0] / 2))


DENSITIES = {
    "two moons": KnownDensity(_moons, _moons_log_prob),
    "banana": KnownDensity(_banana, _banana_log_prob),
    "two rings": KnownDensity(_rings, _rings_log_prob),
    "eight columns": _three_normals(is_correlated=False),
    "eight correlated columns": _three_normals(is_correlated=True),
    "checkerboard": KnownDensity(_checkerboard, _checkerboard_log_prob),
    "funnel": KnownDensity(_funnel, _funnel_log_prob),
}
