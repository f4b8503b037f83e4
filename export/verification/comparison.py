"""How close two computations of one output are, and how close they have to be."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from export.verification.inputs import TYPICAL_ROWS, Function

Array = np.ndarray[Any, Any]

_RELATIVE_TOLERANCE = {"float32": 1e-4, "float64": 1e-5}  # TFP's hidden activations are float32 in a float64 network
_ROUNDING_FACTOR = 10
_MOST_ALLOWED = 0.1
_PERTURBATIONS = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Expectation:
    """What the model computes, `[N]` or `[N, K]`, and how far from it another computation may be.

    Attributes:
      values: the model's output.
      unit: size of a relative error of one: for x the standard deviation of its column (raw units), for others 1, plus
        the distance from the column's median.
      allowed: the greatest error that rounding explains.
      rows: `[N]`, the rows worth comparing: finite, and determined by their inputs to more than one digit. A float32
        x of 1e6 beside a width of 0.01 is not.
    """

    values: Array
    unit: Array
    allowed: Array
    rows: Array

    def take(self, index: slice) -> Expectation:
        """The same of some rows."""
        return Expectation(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Errors of one output of one signature. Absolute errors in the output's unit; relative ones in `Expectation.unit`.

    Attributes:
      against: `"model"`, `"batch"` for the same rows in another batch, or `"loader"` for them through the other
        loader.
      loader: `"object"` (`tf.saved_model.load`) or `"session"` (TF Serving's).
      rows: rows compared, `Expectation.rows`.
      worst: greatest error in units of what is allowed; past 1 the version is refused.
    """

    signature: str
    output: str
    against: str
    loader: str
    rows: int
    max_error: float
    p99_error: float
    max_relative_error: float
    p99_relative_error: float
    worst: float


def expect(
    function: Function,
    inputs: Mapping[str, Array],
    rng: np.random.Generator,
    rounded_weights: Callable[[np.random.Generator], AbstractContextManager[None]],
) -> dict[str, Expectation]:
    """The outputs of `function`, with tolerances from its own sensitivity.

    A row's tolerance is relative, 1e-4 (float32) or 1e-5 (float64), plus ten times what changes when inputs move by two
    units of rounding and weights, inside `rounded_weights`, by one: where the model itself magnifies rounding, in far
    tails and steep splines, an equal computation in another order does too. A computed result is the exact one of
    slightly other inputs and weights. Wrong columns or wrong weights are off by far more.
    """
    values = function(inputs)
    moved = []
    for _ in range(_PERTURBATIONS):
        with rounded_weights(rng):
            moved.append(function(_perturbed(inputs, rng)))
    with np.errstate(invalid="ignore"):  # infinite on both sides: they are compared as they are
        spreads = {
            name: np.max([np.abs(other[name] - value) for other in moved], axis=0) for name, value in values.items()
        }
    return {name: _expectation(name, value, spreads[name]) for name, value in values.items()}


def _expectation(name: str, values: Array, rounding: Array) -> Expectation:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column without any finite value
        typical = np.where(np.isfinite(values), values, np.nan)[:TYPICAL_ROWS].astype(np.float64)
        centre = np.nan_to_num(np.nanmedian(typical, axis=0))
        scale = np.nan_to_num(np.nanstd(typical, axis=0)) if name == "x" else np.ones(values.shape[1:])
        unit = np.maximum(scale, np.finfo(values.dtype).tiny) + np.abs(values - centre)
        relative = _RELATIVE_TOLERANCE[values.dtype.name] * unit
        representable = 16 * np.finfo(values.dtype).eps * np.abs(values)
        allowed = relative + representable + _ROUNDING_FACTOR * rounding
        worth = np.isfinite(values) & (allowed < _MOST_ALLOWED * unit)
    return Expectation(values, unit, allowed, worth.reshape(len(values), -1).all(axis=1))


def compare(
    actual: Array, expected: Expectation, *, signature: str, output: str, against: str, loader: str
) -> Comparison:
    """Errors of `actual` in the rows worth comparing."""
    rows = expected.rows
    with np.errstate(all="ignore"):
        error = np.abs(actual[rows].astype(np.float64) - expected.values[rows])
    error = np.where(np.isnan(error), np.inf, error)
    relative = error / expected.unit[rows]
    return Comparison(
        signature=signature,
        output=output,
        against=against,
        loader=loader,
        rows=int(rows.sum()),
        max_error=_quantile(error, 1.0),
        p99_error=_quantile(error, 0.99),
        max_relative_error=_quantile(relative, 1.0),
        p99_relative_error=_quantile(relative, 0.99),
        worst=_quantile(error / expected.allowed[rows], 1.0),
    )


def _perturbed(inputs: Mapping[str, Array], rng: np.random.Generator) -> dict[str, Array]:
    def move(value: Array) -> Array:
        if value.dtype.kind != "f":
            return value
        step = 2 * np.finfo(value.dtype).eps * rng.choice([-1.0, 1.0], size=value.shape)
        return np.asarray(value * (1 + step), value.dtype)

    return {name: move(value) for name, value in inputs.items()}


def _quantile(values: Array, share: float) -> float:
    """Of all elements; the higher neighbour, so that infinities stay infinite rather than NaN."""
    return float(np.quantile(values, share, method="higher")) if values.size else 0.0
