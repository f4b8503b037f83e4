"""What a version has to answer, by the model itself or by a loaded version, and how far its answers are off.

Either is also computed with weights off by one unit of rounding, to see how far rounding moves the result.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export import raw_inputs
from export.compiled.rows import rewriting
from export.contract import ONE_COLUMN, SEVERAL_COLUMNS, ContractError, read_contract
from export.errors import VerificationError
from export.signatures import ENCODE_CONDITION, read_warmup
from export.verification.inputs import TYPICAL_ROWS, Array, Function, null_numbers, typical_conditions
from maf.routing import make_bijector_kwargs
from maf_serving.columns import ConditionColumn, number_entries

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

    def take(self, index: Array | slice) -> Expectation:
        """The same of some rows."""
        return Expectation(*(getattr(self, field.name)[index] for field in dataclasses.fields(self)))


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Errors of one output of one signature. Absolute errors in the output's unit; relative ones in `Expectation.unit`.

    Attributes:
      against: `"model"`, `"batch"` for the same rows in another batch, `"loader"` for them through the other loader, or
        `"vectors"` for them in the signature that takes vectors.
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


RoundedWeights = Callable[[np.random.Generator], AbstractContextManager[None]]
Asked = tuple[Function, Mapping[str, Array]]
"""A function and what it is asked with."""


def expect(
    function: Function, inputs: Mapping[str, Array], rng: np.random.Generator, rounded_weights: RoundedWeights
) -> dict[str, Expectation]:
    """The outputs of one function, as `expect_all` gives them."""
    return expect_all({"": (function, inputs)}, rng, rounded_weights)[""]


def expect_all(
    asked: Mapping[str, Asked], rng: np.random.Generator, rounded_weights: RoundedWeights
) -> dict[str, dict[str, Expectation]]:
    """The outputs of functions, by the names they are asked under, with tolerances from their own sensitivity.

    A row's tolerance is relative, 1e-4 (float32) or 1e-5 (float64), plus ten times what changes when inputs move by two
    units of rounding and weights, inside `rounded_weights`, by one: where the model itself magnifies rounding, in far
    tails and steep splines, an equal computation in another order does too. A computed result is the exact one of
    slightly other inputs and weights. Wrong columns or wrong weights are off by far more.
    """
    values = {name: function(inputs) for name, (function, inputs) in asked.items()}
    moved = []
    for _ in range(_PERTURBATIONS):
        with rounded_weights(rng):
            moved.append({name: function(_perturbed(inputs, rng)) for name, (function, inputs) in asked.items()})
    return {name: _expectations(value, [other[name] for other in moved]) for name, value in values.items()}


def _expectations(values: Mapping[str, Array], moved: Sequence[Mapping[str, Array]]) -> dict[str, Expectation]:
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


def compare_values(
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


class LiveModel:
    """A `tfd.TransformedDistribution`, asked through TFP's public methods alone.

    Every call makes new tensors: TFP caches pairs of x and z by tensor, and would answer from memory.

    Attributes:
      distribution: the model.
      dtype: of its inputs and outputs.
      functions: `log_prob`, `inverse` and `forward` as the signatures of these names: arrays in, arrays out.
    """

    def __init__(self, distribution: Any) -> None:
        self.distribution = distribution
        self.dtype = np.dtype(distribution.dtype.as_numpy_dtype)
        inverse = _on_arrays(self._inverse)
        self.functions: dict[str, Function] = {
            "log_prob": lambda inputs: {"log_prob": inverse(inputs)["log_prob"]},
            "inverse": inverse,
            "forward": _on_arrays(self._forward),
        }

    def base_draws(self, rows: int, seed: int) -> Array:
        """`z` `[rows, D]` drawn from the base distribution."""
        return np.asarray(self.distribution.distribution.sample(rows, seed=tf.constant([0, seed], tf.int32)))

    def rounded_weights(self, rng: np.random.Generator) -> AbstractContextManager[None]:
        """While it is open, every weight is off by one unit of rounding."""
        return rounded(self.distribution.variables, rng)

    def typical_conditions(self, size: int, rows: int, rng: np.random.Generator) -> Array:
        """Conditions `[rows, size]` such as the model may have been trained on."""
        return typical_conditions(self.distribution, size, rows, rng)

    def null_values(self, columns: Sequence[ConditionColumn]) -> Array:
        """`[Kn]`, what stands in `conditional_input` for a null of each number among the raw columns."""
        return raw_inputs.null_values(self.distribution, columns)

    def _inverse(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Of one tensor x, of which TFP makes z once."""
        x, kwargs = tf.identity(inputs["x"]), self._kwargs(inputs)
        z = self.distribution.bijector.inverse(x, **kwargs)
        return {"z": z, "log_prob": self.distribution.log_prob(x, bijector_kwargs=kwargs)}

    def _forward(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"x": self.distribution.bijector.forward(inputs["z"], **self._kwargs(inputs))}

    def _kwargs(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        if "conditional_input" not in inputs:
            return {}
        conditional_input = {"conditional_input": inputs["conditional_input"]}
        return make_bijector_kwargs(self.distribution.bijector, conditional_input)


def _on_arrays(function: Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]) -> Function:
    """`function` as a graph, which runs as it was traced: for a few calls TensorFlow's rewrites do not pay."""
    graph = tf.function(function, autograph=False)

    def on_arrays(inputs: Mapping[str, Array]) -> dict[str, Array]:
        with rewriting(wanted=False):
            outputs = graph({name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return on_arrays


class LoadedVersion:
    """A version in this process, through `tf.saved_model.load`: what verification compares with if there is no model.

    Attributes:
      dtype: of its inputs and outputs.
      functions: its signatures `log_prob`, `inverse` and `forward`, and those of the answers.
    """

    distribution = None

    def __init__(self, version_dir: Path) -> None:
        self._contract = read_contract(version_dir)
        self._warmup = read_warmup(version_dir)
        self._loaded = tf.saved_model.load(str(version_dir))
        self.dtype: np.dtype[Any] = np.dtype(self._contract.dtype)
        self.functions: dict[str, Function] = {
            name: self._function(name) for name in ("log_prob", "inverse", "forward", *self._answers())
        }

    def base_draws(self, rows: int, seed: int) -> Array:
        """`z` `[rows, D]`, standard normal: a version does not tell its base distribution."""
        return np.random.default_rng(seed).normal(size=(rows, self._contract.event_size)).astype(self.dtype)

    def rounded_weights(self, rng: np.random.Generator) -> AbstractContextManager[None]:
        """While it is open, every weight is off by one unit of rounding."""
        return rounded(self._loaded.model_variables, rng)

    def typical_conditions(self, size: int, rows: int, rng: np.random.Generator) -> Array:
        """Conditions `[rows, size]` of the warm-up records, 10 % more or less; standard normal without any."""
        noise = rng.normal(size=(rows, size))
        known = [r.inputs["conditional_input"] for r in self._warmup if "conditional_input" in r.inputs]
        return np.resize(np.concatenate(known), (rows, size)) * (1 + 0.1 * noise) if known else noise

    def null_values(self, columns: Sequence[ConditionColumn]) -> Array:
        """`[Kn]`, what stands in `conditional_input` for a null of each number, as the version itself encodes it."""
        raw = null_numbers(columns, self.dtype)
        inputs = {name: raw.inputs[name] for name in self._contract.signature(ENCODE_CONDITION).inputs}
        encoded = self._function(ENCODE_CONDITION)(inputs)["conditional_input"]
        return encoded[0, number_entries(columns)]

    def _answers(self) -> list[str]:
        return [name for name in dict.fromkeys((*ONE_COLUMN, *SEVERAL_COLUMNS)) if name in self._contract.signatures]

    def _function(self, name: str) -> Function:
        """A signature; raises `VerificationError` if the contract, which says what the version has, lacks it."""
        try:
            self._contract.signature(name)
        except ContractError as error:
            raise VerificationError(str(error)) from error
        signature = self._loaded.signatures[name]

        def function(inputs: Mapping[str, Array]) -> dict[str, Array]:
            with rewriting(wanted=False):
                outputs = signature(**{key: tf.constant(value) for key, value in inputs.items()})
            return {key: value.numpy() for key, value in outputs.items()}

        return function


@contextmanager
def rounded(variables: Iterable[Any], rng: np.random.Generator) -> Iterator[None]:
    """While it is open, every floating-point weight is off by one unit of rounding, up or down; then all are as before.

    Weights that are zero stay zero, and masks hold.
    """
    before = [(variable, variable.numpy()) for variable in variables if variable.dtype.is_floating]
    try:
        for variable, value in before:
            step = np.finfo(value.dtype).eps * rng.choice([-1.0, 1.0], size=value.shape)
            variable.assign(np.asarray(value * (1 + step), value.dtype))
        yield
    finally:
        for variable, value in before:
            variable.assign(value)
