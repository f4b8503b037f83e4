"""Posteriors of flows beside exact ones, by a classifier that is to tell them apart (C2ST)."""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.default_flow import draw, train_flow

if TYPE_CHECKING:
    from benchmarks.known_density import Array
    from benchmarks.sbi_tasks import Task

OBSERVATIONS_SEED = 1_000  # what is observed, and the exact draws, are the same for every flow


@dataclasses.dataclass(frozen=True, slots=True)
class Observation:
    """Data `[C]` simulated with a draw of the prior, and exact draws `[S, D]` of the posterior given them."""

    data: Array
    exact: Array


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SbiOutcome:
    """How the posteriors of flows compare with the exact ones.

    Attributes:
      c2st: by flow and by observation, the share of draws whose origin a classifier tells; 0.5 is perfect, 1 the worst.
      outside: share of the flows' draws that the prior does not allow.
      training, judging: seconds for each flow and its draws, and for the classifiers.
      drawn: the first flow's draws for each observation.
    """

    c2st: Array
    outside: float
    training: float
    judging: float
    drawn: list[Array]

    @property
    def mean(self) -> float:
        """Over flows and observations."""
        return float(self.c2st.mean())

    @property
    def error(self) -> float | None:
        """The standard error of `mean` by what differs between flows; `None` of one."""
        means = self.c2st.mean(axis=1)
        return float(means.std(ddof=1) / math.sqrt(len(means))) if len(means) > 1 else None


def observe(task: Task, *, observations: int, draws: int) -> list[Observation]:
    """The first of an endless list of observations, the same at each call, with exact draws."""
    found = []
    for index in range(observations):
        rng = np.random.default_rng([OBSERVATIONS_SEED, index])
        data = task.observe(rng)
        found.append(Observation(data, task.draw(data, draws, rng)))
    return found


def posterior_draws(
    task: Task, observed: Sequence[Observation], *, simulations: int, seed: int, options: Sequence[str] = ()
) -> list[Array]:
    """As many draws for each observation as it has exact ones, of one flow trained on simulations.

    Args:
      task: what is simulated.
      observed: as `observe` gives them.
      simulations: how many rows the flow is trained and validated on.
      seed: of the simulations, of the training and of the draws.
      options: of `train`; none for default settings.
    """
    parameters, data = task.joint(simulations, np.random.default_rng(seed))
    bounds = {"lower": -task.bound, "upper": task.bound} if task.is_told else {}
    flow = train_flow(parameters, data, **bounds, options=["--seed", str(seed), *options])
    return [draw(flow, np.tile(seen.data, (len(seen.exact), 1)), seed=seed) for seen in observed]


def compare(
    task: Task, observed: Sequence[Observation], *, simulations: int, seeds: Sequence[int], options: Sequence[str] = ()
) -> SbiOutcome:
    """Trains a flow for each seed and judges its draws; the arguments are those of `posterior_draws`."""
    drawn, accuracies, training, judging = [], [], 0.0, 0.0
    for seed in seeds:
        started = time.perf_counter()
        drawn.append(posterior_draws(task, observed, simulations=simulations, seed=seed, options=options))
        trained = time.perf_counter()
        accuracies.append([c2st(seen.exact, draws) for seen, draws in zip(observed, drawn[-1], strict=True)])
        training += trained - started
        judging += time.perf_counter() - trained
    return SbiOutcome(
        c2st=np.array(accuracies),
        outside=task.outside(np.concatenate([draws for of_flow in drawn for draws in of_flow])),
        training=training / len(seeds),
        judging=judging / len(seeds),
        drawn=drawn[0],
    )


def c2st(exact: Array, draws: Array) -> float:
    """The accuracy of a classifier in telling two samples `[S, D]` apart, in five-fold cross-validation.

    The classifier is that of Lueckmann et al. 2021: a network of two hidden layers of 10 D rectified units trained by
    Adam, on columns standardised by the first sample (Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests,
    2017). With 10,000 draws it takes 10 s of CPU for two columns, two minutes for five and five minutes for ten.
    """
    from sklearn.model_selection import KFold, cross_val_score  # noqa: PLC0415  # an extra
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415

    rows = (np.concatenate([exact, draws]) - exact.mean(axis=0)) / exact.std(axis=0, ddof=1)
    origin = np.repeat([0, 1], [len(exact), len(draws)])
    units = 10 * exact.shape[1]
    classifier = MLPClassifier(hidden_layer_sizes=(units, units), max_iter=10_000, random_state=1)
    folds = KFold(5, shuffle=True, random_state=1)
    return statistics.fmean(cross_val_score(classifier, rows.astype(np.float32), origin, cv=folds))
