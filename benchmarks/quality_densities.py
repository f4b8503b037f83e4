"""Flows with default settings beside conditional densities whose answer is known."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import densities_of_a_column, densities_of_columns, densities_with_bounds
from benchmarks.default_flow import condition_kwargs, draw, train_flow

if TYPE_CHECKING:
    from benchmarks.known_density import Array, KnownDensity

ROWS = 50_000
TEST_ROWS = 100_000
EDGE = 0.05
DENSITIES = {
    **densities_of_a_column.DENSITIES,
    **densities_of_columns.DENSITIES,
    **densities_with_bounds.DENSITIES,
}


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


def train_on_density(density: KnownDensity, *, rows: int = ROWS, options: Sequence[str] = ()) -> Outcome:
    """A flow with default settings, or `options` of `train`, compared with the truth on test rows."""
    from maf.fitting import mean_nll  # noqa: PLC0415  # TensorFlow takes seconds to import

    x, c = density.sample(rows, np.random.default_rng(0))
    bounds = {"lower": density.lower, "upper": density.upper} if density.is_told else {}
    distribution = train_flow(x, c, **bounds, options=options)
    x, c = density.sample(TEST_ROWS, np.random.default_rng(1))
    nll, _ = mean_nll(distribution, np.concatenate([x, c], axis=1).astype(np.float32), event_size=x.shape[1])
    outcome = Outcome(nll=nll, truth=float(-density.log_prob(x, c).mean()))
    if math.isinf(density.lower) and math.isinf(density.upper):
        return outcome
    outside, edge = _at_the_bounds(density, distribution, x, c)
    return dataclasses.replace(outcome, outside=outside, edge=edge)


def _at_the_bounds(density: KnownDensity, distribution: Any, x: Array, c: Array) -> tuple[float, float]:
    """`Outcome.outside` and `Outcome.edge` of test rows `[N, D]` and `[N, C]`."""
    import tensorflow as tf  # noqa: PLC0415  # takes seconds to import

    draws = draw(distribution, c, seed=0)
    outside = float(((draws < density.lower) | (draws > density.upper)).any(axis=1).mean())
    z = distribution.bijector.inverse(tf.constant(x, tf.float32), **condition_kwargs(distribution, c))
    levels = np.sort(np.asarray(distribution.distribution.distribution.cdf(z), np.float64), axis=0)
    off = np.abs(levels - (np.arange(len(x))[:, None] + 0.5) / len(x))
    return outside, float(off[(levels < EDGE) | (levels > 1 - EDGE)].max())


def known_density_line(name: str, *, options: Sequence[str] = ()) -> Outcome:
    """`train_on_density` of the density of that name."""
    if name not in DENSITIES:
        raise SystemExit(f"no density {name!r}; expected one of {', '.join(DENSITIES)}")
    return train_on_density(DENSITIES[name], options=options)
