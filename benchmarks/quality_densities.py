"""Conditional densities whose entropy is known, with which a model's NLL can be compared."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from maf.config import DataConfig, FlowConfig, RunConfig, TrainingConfig

Array = np.ndarray[Any, Any]
ROWS = 50_000
TEST_ROWS = 100_000
EDGE = 0.05


@dataclasses.dataclass(frozen=True, slots=True)
class KnownDensity:
    """A joint distribution of c and x with the exact log p(x | c).

    Attributes:
      sample: number of rows and a generator to `x` `[N, D]` and `c` `[N, C]`, C may be 0.
      log_prob: of `x` given `c`, `[N]`, nats.
      lower, upper: what x is never below, or above.
      is_told: whether the flow is given these bounds.
    """

    sample: Callable[[int, np.random.Generator], tuple[Array, Array]]
    log_prob: Callable[[Array, Array], Array]
    lower: float = -math.inf
    upper: float = math.inf
    is_told: bool = True

    def told(self, bound: float, event: Sequence[str]) -> tuple[str, ...]:
        """`lower` or `upper` of every event column as the option that tells the flow."""
        return tuple(f"{name}={bound!r}" for name in event) if self.is_told and math.isfinite(bound) else ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a flow compares with a known density.

    Attributes:
      nll, truth: mean NLL of the flow and of the density on the same test rows, nats.
      outside: share of draws with a column beyond a bound; `None` for a density without bounds.
      edge: where there are bounds, the greatest difference between the share of test rows below a level of the flow's
        cdf and that level, of levels up to `EDGE` and from 1 less that on; of several columns the greatest, of the cdf
        of each column of base space.
    """

    nll: float
    truth: float
    outside: float | None = None
    edge: float | None = None


def train_on_density(density: KnownDensity, *, rows: int = ROWS, max_epochs: int | None = None) -> Outcome:
    """A flow with default settings, compared with the truth on test rows."""
    from maf.fitting import mean_nll  # noqa: PLC0415  # TensorFlow takes seconds to import
    from maf.train import start_run  # noqa: PLC0415

    x, c = density.sample(rows, np.random.default_rng(0))
    event, condition = (tuple(f"{name}{i}" for i in range(part.shape[1])) for name, part in (("x", x), ("c", c)))
    with TemporaryDirectory() as directory:
        path = Path(directory) / "rows.parquet"
        columns = dict(zip((*event, *condition), np.concatenate([x, c], axis=1).T, strict=True))
        pq.write_table(pa.table(columns), path)
        config = RunConfig(
            data=DataConfig(
                data=(str(path),),
                event=event,
                condition=condition,
                test_share=0.0,
                lower_bound=density.told(density.lower, event),
                upper_bound=density.told(density.upper, event),
            ),
            flow=FlowConfig(event_size=len(event), condition_size=len(condition)),
            training=TrainingConfig(max_epochs=max_epochs),
        )
        run = start_run(config, Path(directory) / "run", announce=lambda _: None)
    x, c = density.sample(TEST_ROWS, np.random.default_rng(1))
    nll, _ = mean_nll(run.distribution, np.concatenate([x, c], axis=1).astype(np.float32), event_size=len(event))
    outcome = Outcome(nll=nll, truth=float(-density.log_prob(x, c).mean()))
    if math.isinf(density.lower) and math.isinf(density.upper):
        return outcome
    outside, edge = _at_the_bounds(density, run.distribution, x, c)
    return dataclasses.replace(outcome, outside=outside, edge=edge)


def _at_the_bounds(density: KnownDensity, distribution: Any, x: Array, c: Array) -> tuple[float, float]:
    """`Outcome.outside` and `Outcome.edge` of test rows `[N, D]` and `[N, C]`."""
    import tensorflow as tf  # noqa: PLC0415  # takes seconds to import

    from maf.routing import make_bijector_kwargs  # noqa: PLC0415

    given = {"conditional_input": tf.constant(c, tf.float32)} if c.shape[1] else {}
    kwargs = make_bijector_kwargs(distribution.bijector, given)
    draws = np.asarray(distribution.sample(len(x), seed=0, bijector_kwargs=kwargs), np.float64)
    outside = float(((draws < density.lower) | (draws > density.upper)).any(axis=1).mean())
    z = distribution.bijector.inverse(tf.constant(x, tf.float32), **kwargs)
    levels = np.sort(np.asarray(distribution.distribution.distribution.cdf(z), np.float64), axis=0)
    off = np.abs(levels - (np.arange(len(x))[:, None] + 0.5) / len(x))
    return outside, float(off[(levels < EDGE) | (levels > 1 - EDGE)].max())


def known_density_line(name: str) -> Outcome:
    """`train_on_density` of the density of that name."""
    if name not in DENSITIES:
        raise SystemExit(f"no density {name!r}; expected one of {', '.join(DENSITIES)}")
    return train_on_density(DENSITIES[name])


def _normal(x: Array, loc: Any, scale: Any) -> Array:
    result: Array = -0.5 * ((x - loc) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)
    return result


def _mixture(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    c = rng.uniform(-1, 1, (n, 2))
    weight, gap, scale = _mixture_parameters(c)
    side = np.where(rng.random(n) < weight, 1.0, -1.0)
    return (c[:, 0] + side * gap + scale * rng.normal(size=n))[:, None], c


def _mixture_log_prob(x: Array, c: Array) -> Array:
    weight, gap, scale = _mixture_parameters(c)
    high = np.log(weight) + _normal(x[:, 0], c[:, 0] + gap, scale)
    low = np.log1p(-weight) + _normal(x[:, 0], c[:, 0] - gap, scale)
    result: Array = np.logaddexp(high, low)
    return result


def _mixture_parameters(c: Array) -> tuple[Array, Array, Array]:
    return 1 / (1 + np.exp(-2 * c[:, 1])), 1 + 0.5 * np.sin(3 * c[:, 1]), 0.1 + 0.2 * c[:, 0] ** 2


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
        upper = _normal(a, np.cos(middle), MOON_NOISE) + _normal(b, np.sin(middle), MOON_NOISE)
        lower = _normal(a, 1 - np.cos(middle), MOON_NOISE) + _normal(b, 0.5 - np.sin(middle), MOON_NOISE)
        parts.append(np.log((np.exp(upper) + np.exp(lower)).mean(axis=1) / 2))
    return np.concatenate(parts)


def _skewed(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """A log-normal whose place, width and skewness follow the condition."""
    c = rng.uniform(-1, 1, (n, 3))
    loc, scale, skew = _skewed_parameters(c)
    return (loc + scale * np.exp(skew * rng.normal(size=n)))[:, None], c


def _skewed_log_prob(x: Array, c: Array) -> Array:
    loc, scale, skew = _skewed_parameters(c)
    log_y = np.log((x[:, 0] - loc) / scale)
    return _normal(log_y, 0.0, skew) - log_y - np.log(scale)


def _skewed_parameters(c: Array) -> tuple[Array, Array, Array]:
    return 5 * np.sin(2 * c[:, 0]), np.exp(c[:, 1]), 0.3 + 0.5 * (c[:, 2] > 0)


def _banana(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Haario's banana: x1 bends by x0 squared; entropy 3.531 nats."""
    z = rng.normal(size=(n, 2))
    x0 = 2 * z[:, 0]
    return np.stack([x0, z[:, 1] + 0.25 * x0**2], axis=1), np.empty((n, 0))


def _banana_log_prob(x: Array, c: Array) -> Array:  # noqa: ARG001  # unconditional
    return _normal(x[:, 0], 0.0, 2.0) + _normal(x[:, 1] - 0.25 * x[:, 0] ** 2, 0.0, 1.0)


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
    result: Array = (_normal(x, c, BOX_NOISE) - np.log(inside)).sum(axis=1)
    return result


BOUNDED = {
    "uniform": KnownDensity(_alone(lambda rng, n: rng.uniform(size=n)), lambda x, _: np.zeros(len(x)), 0, 1),
    "exponential": KnownDensity(_alone(lambda rng, n: rng.exponential(size=n)), lambda x, _: -x[:, 0], 0),
    "beta 0.5 0.5": KnownDensity(_alone(lambda rng, n: rng.beta(0.5, 0.5, n)), _beta_log_prob, 0, 1),
    "truncated normal": KnownDensity(
        _alone(_truncated_normal), lambda x, _: _normal(x[:, 0], 0.0, 1.0) - NORMALIZER, *TRUNCATED
    ),
    "scaled exponential": KnownDensity(_scaled_exponential, lambda x, c: -x[:, 0] / np.exp(c[:, 0]) - c[:, 0], 0),
    "linear uniform": KnownDensity(_linear_uniform, _linear_uniform_log_prob, -1, 1),
}
DENSITIES = {
    "conditional mixture": KnownDensity(_mixture, _mixture_log_prob),
    "two moons": KnownDensity(_moons, _moons_log_prob),
    "heteroscedastic skew": KnownDensity(_skewed, _skewed_log_prob),
    "banana": KnownDensity(_banana, _banana_log_prob),
    "conditional gamma": KnownDensity(_gamma, _gamma_log_prob),
    **BOUNDED,
    **{f"{name} not told": dataclasses.replace(density, is_told=False) for name, density in BOUNDED.items()},
}
