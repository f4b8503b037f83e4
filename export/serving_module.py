"""The functions of an exported model, what guards them, and the SavedModel made of them.

TF Serving never checks shapes against a signature, and lets a graph broadcast one row against many. So shapes are
checked in the graph, and rows that are not finite are kept apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

from export.compiled.rows import NOT_INLINED, ChunkedFunction, rounded_to
from export.contract import REGRESS_METHOD_NAME, SERVING_DEFAULT, Signature, TensorSpec
from export.derivations import Derivation, ends

if TYPE_CHECKING:
    from export.base_sampler import BaseSampler
    from export.raw_inputs import RawExamples

Array = np.ndarray[Any, Any]
Tensors = Mapping[str, tf.Tensor]
Function = Callable[[Tensors], Tensors]
RowFunction = Callable[[Tensors], Sequence[tf.Tensor]]


class ServingFunctions:
    """What every signature computes, from tensors by name to tensors by name, of the shapes that the contract says.

    Attributes:
      more: functions of signatures that are made of these, by name of the signature.
      derived: how signatures come of others, by name, each after the one that it comes of.
    """

    def __init__(
        self,
        density: Density,
        base_sampler: BaseSampler | None,
        raw_examples: RawExamples | None = None,
        *,
        widths: Sequence[float] = (),
    ) -> None:
        """Functions of a model.

        Args:
          density: the model.
          base_sampler: draws z; `None` if no signature samples.
          raw_examples: reads raw columns; `None` if no signature takes them.
          widths: `[D]`, what the columns of draws are rounded to multiples of, 0 for nothing.
        """
        self._widths = np.array(widths) if any(widths) else None
        self.more: dict[str, Function] = {}
        self.derived = {
            "log_prob": Derivation("inverse"),
            SERVING_DEFAULT: Derivation("log_prob"),
            "sample": Derivation("sample_with_seed", before=with_new_seeds),
        }
        self._base_sampler = base_sampler
        self._raw_examples = raw_examples
        few = density.few
        self._inverse = FewOrMany(
            _on_names(density.inverse, "x"),
            few=_on_names(few.inverse, "x") if few else None,
            most=few.most_inverse if few else 0,
        )
        most = few.most_forward if few else 0
        few_forward = tf.function(few.forward, autograph=False) if few else None  # traced once, for draws too
        self._forward = FewOrMany(
            _on_names(density.forward, "z"), few=_on_names(few_forward, "z") if few_forward else None, most=most
        )
        self._draw = FewOrMany(
            self._drawing(density.forward, in_chunks=True),
            few=self._drawing(few_forward, in_chunks=False) if few_forward else None,
            most=most,
        )

    def log_prob(self, inputs: Tensors) -> Tensors:
        """Log-density of `x` given `conditional_input`."""
        return {"log_prob": self.inverse(inputs)["log_prob"]}

    def inverse(self, inputs: Tensors) -> Tensors:
        """Where `x` lies in base space, and its log-density."""
        z, log_prob = self._inverse(inputs)
        return {"z": z, "log_prob": log_prob}

    def forward(self, inputs: Tensors) -> Tensors:
        """The `x` of a point `z` of base space."""
        x, _ = self._forward(inputs)
        return {"x": x}

    def encode_condition(self, inputs: Tensors) -> Tensors:
        """The `conditional_input` of raw columns."""
        return {"conditional_input": self._raw().condition(with_one_row_count(inputs))}

    def log_prob_examples(self, inputs: Tensors) -> Tensors:
        """Log-density of rows of raw columns."""
        return self.log_prob(self._raw().parse(inputs["examples"]))

    def sample_with_seed(self, inputs: Tensors) -> Tensors:
        """One draw per row, a function of the row's `conditional_input` and `seed`, and the draw's own log-density."""
        x, log_prob = self._draw(inputs)
        if self._widths is None:
            return {"x": x, "log_prob": log_prob}
        x = rounded_to(x, self._widths)
        rest = {name: value for name, value in inputs.items() if name != "seed"}
        return {"x": x, **self.log_prob({"x": x, **rest})}

    def of(self, name: str) -> Function:
        """The function of a signature."""
        if name in self.derived:
            derivation = self.derived[name]
            return derivation.of(self.of(derivation.core))
        if name in self.more:
            return self.more[name]
        function: Function = getattr(self, name)
        return function

    @property
    def tables(self) -> list[tf.lookup.StaticHashTable]:
        """Lookup tables that the functions read."""
        return list(self._raw_examples.condition.tables) if self._raw_examples else []

    def _drawing(self, forward: Callable[..., Any], *, in_chunks: bool) -> Callable[[Tensors], Any]:
        def draw(inputs: Tensors) -> Any:
            if self._base_sampler is None:
                raise ValueError("there is no base sampler; leave the sampling signatures out")
            if in_chunks:
                (z,) = ChunkedFunction(self._base_sampler, least_rows=64)(inputs["seed"])
            else:
                z = self._base_sampler(inputs["seed"])
            return forward(z, inputs.get("conditional_input"))

        return draw

    def _raw(self) -> RawExamples:
        if self._raw_examples is None:
            raise ValueError("there are no raw columns; leave their signatures out")
        return self._raw_examples


class FewOrMany:
    """A function of tensors `[B, ...]` by name to tensors `[B, ...]`, each row on its own; one way for few rows.

    Which way is chosen when the graph runs. Rows that are not finite come out as NaN and harm no other. Row counts that
    differ are an InvalidArgumentError that names the inputs. `tf.cond` is lowered and the few rows are inlined: a call
    would cost them a quarter more. Many rows are one call, which a server prepares when the first of them arrive.
    """

    def __init__(self, many: RowFunction, *, few: RowFunction | None = None, most: int = 0) -> None:
        """The two ways.

        Args:
          many: gets rows that are finite and equal in number.
          few: gets rows that may be anything, up to `most` of them; `None` if there is no such way.
          most: rows of `few`; 0 for never.
        """
        self._most = most if few else 0
        self._few = tf.function(few or many, autograph=False)
        called = NOT_INLINED if self._most else None
        self._many = tf.function(
            lambda inputs: _of_finite_rows(many, inputs), autograph=False, experimental_attributes=called
        )

    def __call__(self, inputs: Tensors) -> list[tf.Tensor]:
        """`inputs` are of static shapes but for B."""
        if not self._most:
            return list(self._many(inputs))
        first, *others = [tf.shape(tensor)[0] for tensor in inputs.values()]
        few = first <= self._most
        for count in others:
            few = tf.logical_and(few, tf.equal(count, first))
        return list(tf.cond(few, lambda: list(self._few(inputs)), lambda: list(self._many(inputs))))


def with_new_seeds(inputs: Tensors) -> Tensors:
    """`inputs` and a `seed` for each row of `conditional_input`, new at every call."""
    rows = tf.shape(inputs["conditional_input"])[:1]
    # the raw op: `tf.random.uniform` would bake in a global seed that the exporting program has set
    seed = tf.raw_ops.RandomUniformInt(
        shape=rows,
        minval=tf.constant(tf.int64.min, tf.int64),
        maxval=tf.constant(tf.int64.max, tf.int64),
        seed=0,
        seed2=0,
    )
    return {**inputs, "seed": seed}


def guarded_rows(inputs: Tensors) -> GuardedRows:
    """`inputs` with rows that are not finite set apart; row counts that differ are an InvalidArgumentError."""
    return guard_finite(with_one_row_count(inputs))


def _of_finite_rows(function: RowFunction, inputs: Tensors) -> list[tf.Tensor]:
    rows = guarded_rows(inputs)
    return list(rows.mask({str(i): output for i, output in enumerate(function(rows.tensors))}).values())


def _on_names(function: Callable[..., Any], point: str) -> RowFunction:
    return lambda inputs: function(inputs[point], inputs.get("conditional_input"))


def trace(functions: ServingFunctions, signatures: Mapping[str, Signature]) -> dict[str, Any]:
    """A concrete function per signature; `serving_default` is the one of `log_prob`."""
    traced = {
        name: _trace(_function(functions, name, signatures), signature)
        for name, signature in signatures.items()
        if name != SERVING_DEFAULT
    }
    return {name: traced["log_prob" if name == SERVING_DEFAULT else name] for name in signatures}


def trace_ends(derivations: Mapping[str, Derivation], signatures: Mapping[str, Signature]) -> dict[str, Any]:
    """A concrete function of each end of derived signatures, see `export.derivations.ends`."""
    return {name: _trace(*end) for name, end in ends(derivations, signatures).items()}


def _function(functions: ServingFunctions, name: str, signatures: Mapping[str, Signature]) -> Function:
    if signatures[name].method_name == REGRESS_METHOD_NAME:
        return make_regress(functions.log_prob, signatures["log_prob"].inputs)
    return functions.of(name)


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
        outputs = function(check_shapes(inputs, signature.inputs))
        return {name: tf.ensure_shape(outputs[name], spec.shape) for name, spec in signature.outputs.items()}

    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in signature.inputs.items()}
    return tf.function(with_shapes, autograph=False).get_concrete_function(**specs)


def make_regress(
    log_prob: Callable[[Tensors], Tensors], features: Mapping[str, TensorSpec]
) -> Callable[[Tensors], Tensors]:
    """The function from `inputs` `[B]`, serialized `tf.Example`s, to `outputs` `[B]` float32, log-densities in nats.

    An Example that cannot be parsed, or lacks a feature, or has one of another length, fails the request: the parsing
    op raises InvalidArgumentError, which names the feature. NaN or infinity yields NaN for its own row.

    Args:
      log_prob: from the features, in the model's dtype, to `log_prob` `[B]`.
      features: the inputs of `log_prob`, `[B, K]` each. An Example holds them as float32, K values each.
    """
    parsing = {name: tf.io.FixedLenFeature(spec.shape[1:], tf.float32) for name, spec in features.items()}

    def regress(inputs: Tensors) -> Tensors:
        parsed = tf.io.parse_example(inputs["inputs"], parsing)
        outputs = log_prob({name: tf.cast(parsed[name], spec.dtype) for name, spec in features.items()})
        return {"outputs": tf.cast(outputs["log_prob"], tf.float32)}

    return regress


class FewRows(Protocol):
    """The same map as of a `Density` for few rows, which may hold anything.

    A row that is not finite comes out as NaN and harms no other. Numbers of rows are equal.
    """

    @property
    def most_inverse(self) -> int:
        """Rows up to which `inverse` is the quicker way; 0 for never."""
        ...

    @property
    def most_forward(self) -> int:
        """Rows up to which `forward` is the quicker way; 0 for never."""
        ...

    def inverse(self, x: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """As `Density.inverse`."""
        ...

    def forward(self, z: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """As `Density.forward`."""
        ...


class Density(Protocol):
    """p(x | c) as an invertible map between x and base space z, in TensorFlow ops.

    `conditional_input` is `[B, C]`, or `None` for an unconditional model. Rows are finite, equal in number, and
    independent of each other. An unused output costs little.
    """

    @property
    def few(self) -> FewRows | None:
        """Another way, quicker for few rows."""
        ...

    def inverse(self, x: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` `[B, D]` to `z` `[B, D]` and `log_prob` `[B]` of x, nats."""
        ...

    def forward(self, z: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` `[B, D]` to `x` `[B, D]` and `log_prob` `[B]` of x, nats."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class GuardedRows:
    """Inputs of one call.

    Attributes:
      tensors: by name, of the contract's shapes, one number of rows; rows that were not finite are zeros.
      finite: `[B]`, whether all of a row's inputs are finite.
    """

    tensors: Mapping[str, tf.Tensor]
    finite: tf.Tensor

    def mask(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """`outputs` (`[B, ...]`), NaN in the rows whose inputs were not finite."""
        return {name: self._masked(value) for name, value in outputs.items()}

    def _masked(self, value: tf.Tensor) -> tf.Tensor:
        nan = tf.constant(float("nan"), value.dtype)
        return tf.where(tf.reshape(self.finite, [-1, *[1] * (value.shape.rank - 1)]), value, nan)


def check_shapes(inputs: Mapping[str, tf.Tensor], specs: Mapping[str, TensorSpec]) -> dict[str, tf.Tensor]:
    """Checks `inputs` against `specs` when the graph runs: InvalidArgumentError, naming the input and its shape.

    Numbers of rows may differ: `with_one_row_count`.
    """
    return {name: _with_shape(name, inputs[name], spec) for name, spec in specs.items()}


def guard_finite(tensors: Mapping[str, tf.Tensor]) -> GuardedRows:
    """Sets rows of `tensors` (`[B, ...]` each, of one B) apart that are not finite."""
    finite = tf.reduce_all([_finite_rows(tensor) for tensor in tensors.values()], axis=0)
    return GuardedRows({name: _zero_unless(finite, tensor) for name, tensor in tensors.items()}, finite)


def _with_shape(name: str, tensor: tf.Tensor, spec: TensorSpec) -> tf.Tensor:
    # the traced shape is only what the signature promises: forget it, or the check could be optimised away
    tensor = tf.compat.v1.placeholder_with_default(tensor, shape=tf.TensorShape(None), name=f"{name}_given")
    return tf.ensure_shape(tensor, spec.shape)


def with_one_row_count(tensors: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """`tensors`; when the graph runs, an InvalidArgumentError that names them unless they have as many rows."""
    names = list(tensors)
    rows = [tf.shape(tensor)[0] for tensor in tensors.values()]
    checks = [
        tf.debugging.Assert(
            tf.equal(rows[0], count),
            [f"{names[0]} and {name} must have the same number of rows; got", rows[0], "and", count],
        )
        for name, count in zip(names[1:], rows[1:], strict=True)
    ]
    with tf.control_dependencies(checks):
        return {name: tf.identity(tensor) for name, tensor in tensors.items()}


def _finite_rows(tensor: tf.Tensor) -> tf.Tensor:
    if not tensor.dtype.is_floating:
        return tf.ones(tf.shape(tensor)[:1], tf.bool)
    return tf.reduce_all(tf.math.is_finite(tensor), axis=-1)


def _zero_unless(finite: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    if not tensor.dtype.is_floating:
        return tensor
    return tf.where(finite[:, tf.newaxis], tensor, tf.zeros([], tensor.dtype))
