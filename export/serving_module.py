"""The functions of an exported model, and the SavedModel made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from export.compiled.chunks import ChunkedFunction
from export.contract import REGRESS_METHOD_NAME, Signature
from export.regress import make_regress
from export.row_guard import check_shapes, guard_finite, guard_rows
from export.signatures import ENCODE_CONDITION, SERVING_DEFAULT

if TYPE_CHECKING:
    from export.base_sampler import BaseSampler
    from export.density import Density
    from export.raw_examples import RawExamples

Tensors = Mapping[str, tf.Tensor]
Function = Callable[[Tensors], Tensors]


@dataclasses.dataclass(frozen=True, slots=True)
class ServingFunctions:
    """What every signature computes, from tensors by name to tensors by name.

    Inputs have passed `guard_rows`, those of `encode_condition` `check_shapes` alone: NaN is null there.

    Attributes:
      density: the model.
      base_sampler: draws z; `None` if no signature samples.
      raw_examples: reads raw columns; `None` if no signature takes them.
    """

    density: Density
    base_sampler: BaseSampler | None
    raw_examples: RawExamples | None = None

    def log_prob(self, inputs: Tensors) -> Tensors:
        """Log-density of `x` given `conditional_input`."""
        _, log_prob = self.density.inverse(inputs["x"], inputs.get("conditional_input"))
        return {"log_prob": log_prob}

    def inverse(self, inputs: Tensors) -> Tensors:
        """Where `x` lies in base space, and its log-density."""
        z, log_prob = self.density.inverse(inputs["x"], inputs.get("conditional_input"))
        return {"z": z, "log_prob": log_prob}

    def forward(self, inputs: Tensors) -> Tensors:
        """The `x` of a point `z` of base space."""
        x, _ = self.density.forward(inputs["z"], inputs.get("conditional_input"))
        return {"x": x}

    def encode_condition(self, inputs: Tensors) -> Tensors:
        """The `conditional_input` of raw columns."""
        return {"conditional_input": self._raw().condition(inputs)}

    def log_prob_examples(self, inputs: Tensors) -> Tensors:
        """Log-density of rows of raw columns."""
        rows = guard_finite(self._raw().parse(inputs["examples"]))
        return rows.mask(self.log_prob(rows.tensors))

    def sample(self, inputs: Tensors) -> Tensors:
        """One new draw per row of `conditional_input`."""
        rows = tf.shape(inputs["conditional_input"])[:1]
        # the raw op: `tf.random.uniform` would bake in a global seed that the exporting program has set
        seed = tf.raw_ops.RandomUniformInt(
            shape=rows,
            minval=tf.constant(tf.int64.min, tf.int64),
            maxval=tf.constant(tf.int64.max, tf.int64),
            seed=0,
            seed2=0,
        )
        return self.sample_with_seed({**inputs, "seed": seed})

    def sample_with_seed(self, inputs: Tensors) -> Tensors:
        """One draw per row, a function of the row's `conditional_input` and `seed`."""
        if self.base_sampler is None:
            raise ValueError("there is no base sampler; leave the sampling signatures out")
        (z,) = ChunkedFunction(self.base_sampler, least_rows=64)(inputs["seed"])
        x, log_prob = self.density.forward(z, inputs.get("conditional_input"))
        return {"x": x, "log_prob": log_prob}

    @property
    def tables(self) -> list[tf.lookup.StaticHashTable]:
        """Lookup tables that the functions read."""
        return list(self.raw_examples.condition.tables) if self.raw_examples else []

    def _raw(self) -> RawExamples:
        if self.raw_examples is None:
            raise ValueError("there are no raw columns; leave their signatures out")
        return self.raw_examples


def trace(functions: ServingFunctions, signatures: Mapping[str, Signature]) -> dict[str, Any]:
    """A concrete function per signature; `serving_default` is the one of `log_prob`."""
    traced = {
        name: _trace(_guarded(_function(functions, name, signatures), name, signature), signature)
        for name, signature in signatures.items()
        if name != SERVING_DEFAULT
    }
    return {name: traced["log_prob" if name == SERVING_DEFAULT else name] for name in signatures}


def _function(functions: ServingFunctions, name: str, signatures: Mapping[str, Signature]) -> Function:
    if signatures[name].method_name == REGRESS_METHOD_NAME:
        return make_regress(functions.log_prob, signatures["log_prob"].inputs)
    function: Function = getattr(functions, name)
    return function


def _guarded(function: Function, name: str, signature: Signature) -> Function:
    """`function` behind what its inputs have to pass."""
    if name == ENCODE_CONDITION:
        return lambda inputs: function(check_shapes(inputs, signature.inputs))

    def on_finite_rows(inputs: Tensors) -> Tensors:
        rows = guard_rows(inputs, signature.inputs)
        return rows.mask(function(rows.tensors))

    return on_finite_rows


def captured_variables(concrete_functions: Mapping[str, Any]) -> list[tf.Variable]:
    """Every variable that the functions read, once, wherever the model keeps it (closures too)."""
    variables = {id(v): v for function in concrete_functions.values() for v in function.graph.variables}
    return list(variables.values())


def write_saved_model(concrete_functions: Mapping[str, Any], path: Path, *, tables: Sequence[Any] = ()) -> None:
    """Writes a SavedModel with these functions as its signatures, and nothing of the model's Python objects.

    `tables` are the lookup tables that the functions read.
    """
    module = tf.Module()
    module.model_variables = captured_variables(concrete_functions)
    module.tables = list(tables)
    tf.saved_model.save(module, str(path), signatures=dict(concrete_functions))


def _trace(function: Function, signature: Signature) -> Any:
    def with_shapes(**inputs: tf.Tensor) -> Tensors:
        outputs = function(inputs)
        return {name: tf.ensure_shape(outputs[name], spec.shape) for name, spec in signature.outputs.items()}

    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in signature.inputs.items()}
    return tf.function(with_shapes, autograph=False).get_concrete_function(**specs)
