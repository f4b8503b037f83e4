"""The chi-square distribution: the squared length of a standard normal vector of D dimensions."""

from __future__ import annotations

import math
from statistics import NormalDist

_RELATIVE_ERROR = 1e-15
_MOST_TERMS = 10_000
_TINY = 1e-300


def chi_square_cdf(value: float, dimensions: int) -> float:
    """P(|z|^2 <= value), by the incomplete gamma function: series or continued fraction (DLMF 8.11.4, 8.9.2)."""
    if value <= 0:
        return 0.0
    a, x = dimensions / 2, value / 2
    scale = math.exp(a * math.log(x) - x - math.lgamma(a))
    return scale * _series(a, x) if x < a + 1 else 1 - scale * _continued_fraction(a, x)


def chi_square_quantile(level: float, dimensions: int) -> float:
    """The squared radius of the ball around the origin that holds that share, by bisection; 0 < level < 1."""
    low, high = 0.0, max(4 * rough_quantile(level, dimensions), 1.0)
    while chi_square_cdf(high, dimensions) < level:
        high *= 2
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if chi_square_cdf(middle, dimensions) < level else (low, middle)
    return (low + high) / 2


def rough_quantile(level: float, dimensions: int) -> float:
    """The same to a percent or so, at once: Wilson and Hilferty (1931)."""
    spread = 2 / (9 * dimensions)
    root = 1 - spread + NormalDist().inv_cdf(level) * math.sqrt(spread)
    return float(dimensions * max(root, 0.0) ** 3)


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    for n in range(1, _MOST_TERMS):
        term *= x / (a + n)
        total += term
        if term < total * _RELATIVE_ERROR:
            break
    return total


def _continued_fraction(a: float, x: float) -> float:
    """Lentz's method."""
    b = x + 1 - a
    c, d = 1 / _TINY, 1 / b
    result = d
    for n in range(1, _MOST_TERMS):
        numerator = -n * (n - a)
        b += 2
        d = 1 / (numerator * d + b or _TINY)
        c = b + numerator / c or _TINY
        result *= c * d
        if abs(c * d - 1) < _RELATIVE_ERROR:
            break
    return result
