"""Checks that a contender computes a density, and draws from that density, before its speed counts.

Stein's identity: for draws of a density q, any direction v and constant m, E[v.(x - m)  v.grad log q(x)] = -|v|^2. It
fails if draws and log-densities belong to different densities, or if the draws ignore what they should depend on. That
the density integrates to one is checked on a grid, for one or two event columns.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.contender import Contender

Array = np.ndarray[Any, Any]
STEP = 1e-2  # of the derivative, in standard deviations of the draws
STANDARD_ERRORS = 6.0
SLACK = 0.03  # rounding of the differences in float32
AGREEMENT = 1e-4  # of log-densities of the same flow, relative
MASS_SLACK = 0.02


class ImplausibleError(Exception):
    """A contender computes something else than it should; the message says what."""


def check_agreement(contender: Contender, reference: Contender, inputs: Path, directory: Path) -> float:
    """The greatest difference between two contenders' log-densities of the same rows, relative to them.

    Raises:
      ImplausibleError: if they are not those of one flow.
    """
    mine, theirs = (_compute(each, "log_prob", inputs, directory) for each in (contender, reference))
    difference = float(np.max(np.abs(mine - theirs) / (1 + np.abs(theirs))))
    if not difference <= AGREEMENT:
        raise ImplausibleError(
            f"log_prob of {contender.name} and {reference.name} differ by {difference:.3g} of their size; expected at "
            f"most {AGREEMENT:g}, since they are of the same flow"
        )
    return difference


def check_draws(contender: Contender, inputs: Path, directory: Path) -> float:
    """Stein's figure for draws under the conditions of `inputs`, -1 but for the noise of a sample.

    Raises:
      ImplausibleError: if it is not.
    """
    with np.load(inputs) as arrays:
        condition = arrays["conditional_input"]
    x = _compute(contender, "sample", inputs, directory)
    rng = np.random.default_rng(0)
    v = rng.normal(size=x.shape)
    v *= x.std(axis=0)  # columns count alike, whatever their scale
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    step = STEP * float(np.sqrt(np.mean(x.var(axis=0))))
    up, down = (
        _compute(contender, "log_prob", _save(directory, x + sign * step * v, condition), directory) for sign in (1, -1)
    )
    figures = np.sum(v * (x - x.mean(axis=0)), axis=1) * (up - down) / (2 * step)
    figure, error = float(figures.mean()), float(figures.std() / math.sqrt(len(figures)))
    if not abs(figure + 1) <= STANDARD_ERRORS * error + SLACK:
        raise ImplausibleError(
            f"draws of {contender.name} do not have its log_prob: Stein's figure is {figure:.3f} ± {error:.3f}; "
            "expected -1"
        )
    return figure


def check_mass(contender: Contender, inputs: Path, directory: Path) -> float:
    """The integral of the density of one or two event columns under the first condition of `inputs`.

    Raises:
      ImplausibleError: if it is not 1.
    """
    with np.load(inputs) as arrays:
        condition = np.repeat(arrays["conditional_input"][:1], len(arrays["conditional_input"]), axis=0)
    rows, event_size = condition.shape[0], _event_size(inputs)
    draws = _compute(contender, "sample", _save(directory, np.zeros((rows, event_size)), condition), directory)
    points = math.floor(rows ** (1 / event_size) + 1e-9)
    middle, reach = draws.mean(axis=0), 8 * draws.std(axis=0)
    axes = [np.linspace(m - r, m + r, points) for m, r in zip(middle, reach, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, event_size)
    filled = np.concatenate([grid, np.repeat(grid[:1], rows - len(grid), axis=0)])  # as many rows as are compiled for
    log_prob = _compute(contender, "log_prob", _save(directory, filled, condition), directory)[: len(grid)]
    mass = float(np.exp(log_prob.astype(float)).sum() * np.prod([axis[1] - axis[0] for axis in axes]))
    if not abs(mass - 1) <= MASS_SLACK:
        raise ImplausibleError(f"the density of {contender.name} integrates to {mass:.4f}; expected 1")
    return mass


def _event_size(inputs: Path) -> int:
    with np.load(inputs) as arrays:
        return int(arrays["x"].shape[1])


def _save(directory: Path, x: Array, condition: Array) -> Path:
    path = directory / "checked.npz"
    np.savez(path, x=x.astype(np.float32), conditional_input=condition.astype(np.float32))
    return path


def _compute(contender: Contender, quantity: str, inputs: Path, directory: Path) -> Array:
    output = directory / "computed.npy"
    contender.compute(quantity, inputs, output)
    computed: Array = np.load(output)
    return computed
