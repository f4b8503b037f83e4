"""Densities of one column whose answer is known."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.known_density import Array, KnownDensity, log_normal


def _mixture(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    c = rng.uniform(-1, 1, (n, 2))
    weight, gap, scale = _mixture_parameters(c)
    side = np.where(rng.random(n) < weight, 1.0, -1.0)
    return (c[:, 0] + side * gap + scale * rng.normal(size=n))[:, None], c


def _mixture_log_prob(x: Array, c: Array) -> Array:
    weight, gap, scale = _mixture_parameters(c)
    high = np.log(weight) + log_normal(x[:, 0], c[:, 0] + gap, scale)
    low = np.log1p(-weight) + log_normal(x[:, 0], c[:, 0] - gap, scale)
    result: Array = np.logaddexp(high, low)
    return result


def _mixture_parameters(c: Array) -> tuple[Array, Array, Array]:
    return 1 / (1 + np.exp(-2 * c[:, 1])), 1 + 0.5 * np.sin(3 * c[:, 1]), 0.1 + 0.2 * c[:, 0] ** 2


def _skewed(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """A log-normal whose place, width and skewness follow the condition."""
    c = rng.uniform(-1, 1, (n, 3))
    loc, scale, skew = _skewed_parameters(c)
    return (loc + scale * np.exp(skew * rng.normal(size=n)))[:, None], c


def _skewed_log_prob(x: Array, c: Array) -> Array:
    loc, scale, skew = _skewed_parameters(c)
    log_y = np.log((x[:, 0] - loc) / scale)
    return log_normal(log_y, 0.0, skew) - log_y - np.log(scale)


def _skewed_parameters(c: Array) -> tuple[Array, Array, Array]:
    return 5 * np.sin(2 * c[:, 0]), np.exp(c[:, 1]), 0.3 + 0.5 * (c[:, 2] > 0)


def _gamma(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Shapes of 0.2 to 4.5: below 1 the density has no limit at zero."""
    c = rng.uniform(-1, 1, (n, 2))
    shape, scale = _gamma_parameters(c)
    return rng.gamma(shape, scale)[:, None], c


def _gamma_log_prob(x: Array, c: Array) -> Array:
    shape, scale = _gamma_parameters(c)
    y = x[:, 0] / scale
    result: Array = (shape - 1) * np.log(y) - y - np.log(scale) - np.vectorize(math.lgamma)(shape)
    return result


def _gamma_parameters(c: Array) -> tuple[Array, Array]:
    return np.exp(1.55 * c[:, 0] - 0.05), np.exp(c[:, 1])


def _student(degrees: float) -> KnownDensity:
    """Student's t whose place and width follow the condition."""
    constant = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)

    def parameters(c: Array) -> tuple[Array, Array]:
        return 2 * np.sin(2 * c[:, 0]), np.exp(c[:, 1])

    def sample(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        c = rng.uniform(-1, 1, (n, 2))
        loc, scale = parameters(c)
        return (loc + scale * rng.standard_t(degrees, n))[:, None], c

    def log_prob(x: Array, c: Array) -> Array:
        loc, scale = parameters(c)
        y = (x[:, 0] - loc) / scale
        result: Array = constant - np.log(scale) - (degrees + 1) / 2 * np.log1p(y**2 / degrees)
        return result

    return KnownDensity(sample, log_prob)


def _beta(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Both shapes follow the condition, from 1 to 7.4."""
    c = rng.uniform(-1, 1, (n, 2))
    return rng.beta(*_beta_parameters(c))[:, None], c


def _beta_log_prob(x: Array, c: Array) -> Array:
    a, b = _beta_parameters(c)
    lgamma = np.vectorize(math.lgamma)
    result: Array = (a - 1) * np.log(x[:, 0]) + (b - 1) * np.log1p(-x[:, 0]) + lgamma(a + b) - lgamma(a) - lgamma(b)
    return result


def _beta_parameters(c: Array) -> tuple[Array, Array]:
    return np.exp(1 + c[:, 0]), np.exp(1 + c[:, 1])


MODES = 4
MODE_SCALE = 0.2


def _modes(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """One to four normals side by side: the condition says how many."""
    c = rng.uniform(0, MODES, (n, 1))
    chosen = np.floor(rng.random(n) * (1 + np.floor(c[:, 0])))
    return (chosen + MODE_SCALE * rng.normal(size=n))[:, None], c


def _modes_log_prob(x: Array, c: Array) -> Array:
    number = 1 + np.floor(c)
    of_each = np.where(np.arange(MODES) < number, np.exp(log_normal(x, np.arange(MODES), MODE_SCALE)), 0)
    result: Array = np.log(of_each.sum(axis=1) / number[:, 0])
    return result


def _sinusoid(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """A sine of the condition, with noise that grows away from 0."""
    c = rng.uniform(-3, 3, (n, 1))
    loc, scale = _sinusoid_parameters(c)
    return (loc + scale * rng.normal(size=n))[:, None], c


def _sinusoid_log_prob(x: Array, c: Array) -> Array:
    return log_normal(x[:, 0], *_sinusoid_parameters(c))


def _sinusoid_parameters(c: Array) -> tuple[Array, Array]:
    return np.sin(2 * c[:, 0]), 0.1 + 0.1 * np.abs(c[:, 0])


IRRELEVANT = 48


def _irrelevant(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """A sine of one condition with noise by another; the others have no say."""
    c = rng.uniform(-1, 1, (n, 2 + IRRELEVANT))
    loc, scale = _irrelevant_parameters(c)
    return (loc + scale * rng.normal(size=n))[:, None], c


def _irrelevant_log_prob(x: Array, c: Array) -> Array:
    return log_normal(x[:, 0], *_irrelevant_parameters(c))


def _irrelevant_parameters(c: Array) -> tuple[Array, Array]:
    return np.sin(4 * c[:, 0]), np.exp(c[:, 1] - 1.5)


DENSITIES = {
    "conditional mixture": KnownDensity(_mixture, _mixture_log_prob),
    "heteroscedastic skew": KnownDensity(_skewed, _skewed_log_prob),
    "conditional gamma": KnownDensity(_gamma, _gamma_log_prob),
    "student t 3": _student(3),
    "student t 2": _student(2),
    "conditional beta": KnownDensity(_beta, _beta_log_prob),
    "one to four modes": KnownDensity(_modes, _modes_log_prob),
    "sinusoid": KnownDensity(_sinusoid, _sinusoid_log_prob),
    "irrelevant conditions": KnownDensity(_irrelevant, _irrelevant_log_prob),
}
