"""What an exported version is compared with: the model as its owner has it, or the version itself.

Either is also computed with weights off by one unit of rounding, to see how far rounding moves the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from export import check_model
from export.contract import ContractError, read_contract
from export.errors import VerificationError
from export.requests import read_warmup
from export.signatures import ENCODE_CONDITION
from export.verification.inputs import Array, Function, null_numbers
from maf.routing import make_bijector_kwargs
from maf_serving.columns import ConditionColumn, number_entries


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
        self.functions: dict[str, Function] = {
            "log_prob": self._on_arrays(self._log_prob),
            "inverse": self._on_arrays(self._inverse),
            "forward": self._on_arrays(self._forward),
        }

    def base_draws(self, rows: int, seed: int) -> Array:
        """`z` `[rows, D]` drawn from the base distribution."""
        return np.asarray(self.distribution.distribution.sample(rows, seed=tf.constant([0, seed], tf.int32)))

    def rounded_weights(self, rng: np.random.Generator) -> AbstractContextManager[None]:
        """While it is open, every weight is off by one unit of rounding."""
        return rounded(self.distribution.variables, rng)

    def typical_conditions(self, size: int, rows: int, rng: np.random.Generator) -> Array:
        """Conditions `[rows, size]` such as the model may have been trained on."""
        return check_model.typical_conditions(self.distribution, size, rows, rng)

    def null_values(self, columns: Sequence[ConditionColumn]) -> Array:
        """`[Kn]`, what stands in `conditional_input` for a null of each number among the raw columns."""
        return check_model.null_values(self.distribution, columns)

    def _log_prob(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"log_prob": self.distribution.log_prob(inputs["x"], bijector_kwargs=self._kwargs(inputs))}

    def _inverse(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        z = self.distribution.bijector.inverse(tf.identity(inputs["x"]), **self._kwargs(inputs))
        return {"z": z, **self._log_prob(inputs)}

    def _forward(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"x": self.distribution.bijector.forward(inputs["z"], **self._kwargs(inputs))}

    def _kwargs(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        if "conditional_input" not in inputs:
            return {}
        conditional_input = {"conditional_input": inputs["conditional_input"]}
        return make_bijector_kwargs(self.distribution.bijector, conditional_input)

    @staticmethod
    def _on_arrays(function: Callable[[Mapping[str, tf.Tensor]], dict[str, tf.Tensor]]) -> Function:
        graph = tf.function(function, autograph=False)

        def on_arrays(inputs: Mapping[str, Array]) -> dict[str, Array]:
            outputs = graph({name: tf.constant(value) for name, value in inputs.items()})
            return {name: value.numpy() for name, value in outputs.items()}

        return on_arrays


class LoadedVersion:
    """A version in this process, through `tf.saved_model.load`: what verification compares with if there is no model.

    Attributes:
      dtype: of its inputs and outputs.
      functions: its signatures `log_prob`, `inverse` and `forward`.
    """

    def __init__(self, version_dir: Path) -> None:
        self._contract = read_contract(version_dir)
        self._warmup = read_warmup(version_dir)
        self._loaded = tf.saved_model.load(str(version_dir))
        self.dtype: np.dtype[Any] = np.dtype(self._contract.dtype)
        self.functions: dict[str, Function] = {
            name: self._function(name) for name in ("log_prob", "inverse", "forward")
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

    def _function(self, name: str) -> Function:
        """A signature; raises `VerificationError` if the contract, which says what the version has, lacks it."""
        try:
            self._contract.signature(name)
        except ContractError as error:
            raise VerificationError(str(error)) from error
        signature = self._loaded.signatures[name]

        def function(inputs: Mapping[str, Array]) -> dict[str, Array]:
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
