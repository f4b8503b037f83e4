"""Tasks of simulation-based inference: a prior, a simulator, and draws of the exact posterior.

The four are those of Lueckmann, Boelts, Greenberg, Gonçalves and Macke, Benchmarking Simulation-Based Inference,
AISTATS 2021 (arXiv:2101.04653), appendix T, whose parameters have a box for their prior. Their posteriors are sampled
exactly: by undoing the noise and leaving what falls out of the box.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from benchmarks.known_density import Array
from benchmarks.sbi_slcp import draw_slcp, simulate_slcp


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is simulated, and what is known of it.

    Attributes:
      size: number of parameters.
      bound: the prior is uniform from `-bound` to `bound` in each of them.
      simulate: parameters `[N, size]` and a generator to data `[N, C]`.
      draw: one row of data `[C]`, a number and a generator to so many draws of its posterior, `[N, size]`.
      is_spiked: whether nothing is observed with these parameters `[size]`: the paper leaves out extremely narrow
        posteriors.
      is_told: whether flows are given the bounds.
      published: by number of simulations the C2ST of amortised neural posterior estimation in the paper; of the
        mixture as its authors measured it again, after a correction of its simulator (sbibm 1.1).
    """

    size: int
    bound: float
    simulate: Callable[[Array, np.random.Generator], Array]
    draw: Callable[[Array, int, np.random.Generator], Array]
    published: dict[int, float]
    is_spiked: Callable[[Array], bool] = lambda _: False
    is_told: bool = True

    def joint(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Parameters of the prior, `[n, size]`, and data simulated with them, `[n, C]`."""
        parameters = rng.uniform(-self.bound, self.bound, (n, self.size))
        return parameters, self.simulate(parameters, rng)

    def observe(self, rng: np.random.Generator) -> Array:
        """Data `[C]` that parameters of the prior, and not spiked ones, have given."""
        while True:
            parameters, data = self.joint(1, rng)
            if not self.is_spiked(parameters[0]):
                row: Array = data[0]
                return row

    def outside(self, draws: Array) -> float:
        """The share of draws that the prior does not allow."""
        return float((np.abs(draws) > self.bound).any(axis=1).mean())


def _within(bound: float, propose: Callable[[int], Array], n: int) -> Array:
    """The first `n` proposals within the box."""
    found: list[Array] = []
    while sum(map(len, found)) < n:
        proposed = propose(n)
        found.append(proposed[(np.abs(proposed) <= bound).all(axis=1)])
    return np.concatenate(found)[:n]


MOONS_BOUND = 1.0
SPIKED = 0.25  # roots of standard deviations below 1 % of their greatest


def _crescent(n: int, rng: np.random.Generator) -> Array:
    """The noise of two moons, half a ring."""
    angle, radius = rng.uniform(-math.pi / 2, math.pi / 2, n), 0.1 + 0.01 * rng.normal(size=n)
    return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=1)


def _simulate_moons(parameters: Array, rng: np.random.Generator) -> Array:
    """Greenberg, Nonnenmacher and Macke 2019 (arXiv:1905.07488): a crescent whose place is bent and turned."""
    total, difference = parameters.sum(axis=1), parameters[:, 1] - parameters[:, 0]
    place = np.stack([-np.abs(total), difference], axis=1) / math.sqrt(2)
    return _crescent(len(parameters), rng) + place


def _draw_moons(data: Array, n: int, rng: np.random.Generator) -> Array:
    """The data less the noise is where the crescent was; from there the way back has two signs."""

    def propose(n: int) -> Array:
        place = math.sqrt(2) * (data - _crescent(n, rng))
        place = place[place[:, 0] <= 0]
        total = place[:, 0] * rng.choice([-1.0, 1.0], len(place))
        return np.stack([total - place[:, 1], total + place[:, 1]], axis=1) / 2

    return _within(MOONS_BOUND, propose, n)


MIXTURE_BOUND = 10.0
MIXTURE_SCALES = (1.0, 0.1)


def _two_normals(n: int, rng: np.random.Generator) -> Array:
    """Noise around 0 of one scale or the other, which is the same for both columns."""
    return rng.choice(MIXTURE_SCALES, (n, 1)) * rng.normal(size=(n, 2))


def _simulate_mixture(parameters: Array, rng: np.random.Generator) -> Array:
    """Sisson, Fan and Tanaka 2007: the common mean of two normals, one narrow and one wide."""
    return parameters + _two_normals(len(parameters), rng)


def _draw_mixture(data: Array, n: int, rng: np.random.Generator) -> Array:
    return _within(MIXTURE_BOUND, lambda n: data - _two_normals(n, rng), n)


LINEAR_BOUND = 1.0
LINEAR_NOISE = math.sqrt(0.1)


def _simulate_linear(parameters: Array, rng: np.random.Generator) -> Array:
    return parameters + LINEAR_NOISE * rng.normal(size=parameters.shape)


def _draw_linear(data: Array, n: int, rng: np.random.Generator) -> Array:
    """Each column is a normal around its data within the bounds, by the inverse of its cdf."""
    normal = NormalDist()
    low, high = (
        np.array([normal.cdf((end - x) / LINEAR_NOISE) for x in data]) for end in (-LINEAR_BOUND, LINEAR_BOUND)
    )
    standard: Array = np.vectorize(normal.inv_cdf)(rng.uniform(low, high, (n, len(data))))
    return (data + LINEAR_NOISE * standard).clip(-LINEAR_BOUND, LINEAR_BOUND)  # beyond by rounding alone


TASKS = {
    "two moons": Task(
        size=2,
        bound=MOONS_BOUND,
        simulate=_simulate_moons,
        draw=_draw_moons,
        published={10_000: 0.606, 100_000: 0.542},
    ),
    "gaussian mixture": Task(
        size=2,
        bound=MIXTURE_BOUND,
        simulate=_simulate_mixture,
        draw=_draw_mixture,
        published={10_000: 0.615, 100_000: 0.538},
    ),
    "slcp": Task(
        size=5,
        bound=3.0,
        simulate=simulate_slcp,
        draw=draw_slcp,
        is_spiked=lambda parameters: bool((np.abs(parameters[2:4]) < SPIKED).any()),
        published={10_000: 0.901, 100_000: 0.831},
    ),
    "gaussian linear uniform": Task(
        size=10,
        bound=LINEAR_BOUND,
        simulate=_simulate_linear,
        draw=_draw_linear,
        published={10_000: 0.553},
    ),
}


def task_named(name: str) -> Task:
    """The task of that name. Raises `SystemExit` if there is none."""
    if name not in TASKS:
        raise SystemExit(f"no task {name!r}; expected one of {', '.join(TASKS)}")
    return TASKS[name]
