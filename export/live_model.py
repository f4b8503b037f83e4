"""The model as its owner has it, in TFP, evaluated to compare exports with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from export import condition
from export.rounded_weights import rounded
from maf.routing import make_bijector_kwargs

if TYPE_CHECKING:
    from export.reference import Array, Function
    from maf_serving.columns import ConditionColumn


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
        return condition.typical_conditions(self.distribution, size, rows, rng)

    def null_values(self, columns: Sequence[ConditionColumn]) -> Array:
        """`[Kn]`, what stands in `conditional_input` for a null of each number among the raw columns."""
        return condition.null_values(self.distribution, columns)

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
