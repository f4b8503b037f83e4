"""What people ask a density: how likely is less than this, what is not exceeded in nine of ten cases, what is expected.

    plan_answers(distribution, ...) -> AnswerPlan    which signatures a model can answer, and why not the others
    AnswerFunctions(plan, ...)                       what they compute, in TensorFlow ops

    one event column       cdf, quantile, summarize     exact: the flow is a monotone map of its base
    several                conditional_cdf, summarize   from seeded draws

    ColumnTensors(contract, ...)                     these, densities and draws as functions of named columns

Rows are guarded as those of the other signatures are: by `inverse` and `forward` themselves, which these call, or by
`guarded_rows`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

from export.base_probabilities import BaseProbabilities, base_probabilities
from export.base_sampler import shift_uniforms
from export.compiled.rows import NOT_INLINED, rounded_to
from export.contract import BY_COLUMN, ONE_COLUMN, SEVERAL_COLUMNS, Answers, Signature, TensorSpec
from export.derivations import Derivation
from export.errors import ModelError
from export.serving_module import Function, Tensors, guarded_rows
from export.summaries import ColumnSummary, DrawnSummary, RowPoints, direction, ends
from maf_serving.columns import NULL_INTEGER, NULL_TEXT, numbers_dtype

if TYPE_CHECKING:
    from export.contract import Contract
    from export.raw_inputs import ConditionGraph
    from export.summaries import Forward
    from maf_serving.columns import ConditionColumn

Array = np.ndarray[Any, Any]
_COLUMN_DTYPES = {"number": "float64", "string": "string", "integer": "int64", "timestamp": "float64"}
_LATTICE = 1e-3  # of a step: how far a value may be from the multiple of a width that it is


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AnswerPlan:
    """Which of these signatures a model has.

    Attributes:
      distribution: the model.
      answers: what the contract says of them.
      names: of the signatures.
      base: of the model's base distribution; `None` if there are none of the signatures.
      rising: of one event column, 1 if x rises with z and -1 if it falls.
      widths: `[D]`, what a column is rounded to multiples of, 0 for nothing.
    """

    distribution: Any
    widths: tuple[float, ...]
    answers: Answers
    names: tuple[str, ...] = ()
    base: BaseProbabilities | None = None
    rising: int = 1


def plan_answers(
    distribution: Any,
    event_columns: Sequence[str],
    *,
    conditions: Array | None,
    quantile_levels: Sequence[float],
    summary_draws: int,
    dequantization: Mapping[str, float],
) -> AnswerPlan:
    """Which of the signatures a model can answer.

    Args:
      distribution: a checked one.
      event_columns: names of the D columns.
      conditions: `[N, C]`, some that the model may be asked about; `None` for an unconditional one.
      quantile_levels: of `summarize`.
      summary_draws: of each row, for several columns.
      dequantization: by column, the width of the noise that it was trained with.
    """
    one = len(event_columns) == 1
    wanted = ONE_COLUMN if one else SEVERAL_COLUMNS
    answers = Answers(
        quantile_levels=tuple(quantile_levels),
        num_draws=None if one else summary_draws,
        rounded_to={name: width for name, width in dequantization.items() if name in event_columns},
    )
    widths = tuple(answers.rounded_to.get(name, 0.0) for name in event_columns)
    try:
        base = base_probabilities(distribution.distribution)
        rising = direction(distribution, base, conditions) if one else 1
    except ModelError as error:
        answers = dataclasses.replace(answers, left_out=dict.fromkeys(wanted, str(error)))
        return AnswerPlan(distribution=distribution, widths=widths, answers=answers)
    return AnswerPlan(distribution=distribution, widths=widths, answers=answers, names=wanted, base=base, rising=rising)


class GuardedFunctions(Protocol):
    """A model's maps, as the signatures of these names."""

    def inverse(self, inputs: Tensors) -> Tensors:
        """`x` to `z`."""
        ...

    def forward(self, inputs: Tensors) -> Tensors:
        """`z` to `x`."""
        ...


class AnswerFunctions:
    """What the signatures compute, from tensors by name to tensors by name, of the shapes that the contract says.

    Attributes:
      summary: of rows of finite conditions; `None` where there is none.
    """

    def __init__(self, plan: AnswerPlan, draw: Forward, functions: GuardedFunctions) -> None:
        """Functions of a model.

        Args:
          plan: what to offer.
          draw: the model's map from `z` and conditions of finite rows to `x`, for many draws.
          functions: the model's guarded maps.
        """
        self._plan = plan
        self._inverse, self._forward = functions.inverse, functions.forward
        self._ends = ends(plan.distribution)
        widths = np.array(plan.widths)
        self._widths = widths if widths.any() else None
        self.summary = None if plan.base is None else _summary(plan, plan.base, draw)
        # one call, which a server prepares when it comes to it
        self._summarized = tf.function(self.summary, autograph=False, experimental_attributes=NOT_INLINED)

    @property
    def by_name(self) -> dict[str, Function]:
        """By name of the signature."""
        return {name: getattr(self, name) for name in self._plan.names}

    def cdf(self, inputs: Tensors) -> Tensors:
        """The share of the event column that is at most `x`."""
        x = inputs["x"]
        if self._widths is not None:  # all noisy values of what is at most x lie below the next one's
            step = tf.constant(self._widths, x.dtype)
            x = (tf.floor(x / step + _LATTICE) + 0.5) * step
        least, most = (None if end is None else tf.constant(end, x.dtype) for end in self._ends)
        inside = x if least is None else tf.where(x < least, least, x)
        inside = inside if most is None else tf.where(x > most, most, inside)
        z = self._inverse({**inputs, "x": inside})["z"]
        share = self._base().cdf(z) if self._plan.rising > 0 else self._base().survival(z)
        none = 0 * share  # NaN where there is no answer
        share = share if least is None else tf.where(x <= least, none, share)
        share = share if most is None else tf.where(x >= most, none + 1, share)
        return {"cdf": share[:, 0]}

    def quantile(self, inputs: Tensors) -> Tensors:
        """The least `x` that has a share of `probability` at or below it; NaN unless that is in (0, 1)."""
        probability = inputs["probability"]
        inside = tf.logical_and(probability > 0, probability < 1)
        half = tf.constant(0.5, probability.dtype)
        used = tf.where(inside, probability, half)
        z = self._base().quantile(used) if self._plan.rising > 0 else self._base().upper_quantile(used)
        z = tf.where(inside, z, tf.constant(math.nan, z.dtype))
        rest = {name: value for name, value in inputs.items() if name != "probability"}
        x = self._forward({"z": z[:, tf.newaxis], **rest})["x"]
        return {"x": x if self._widths is None else rounded_to(x, self._widths)}

    def conditional_cdf(self, inputs: Tensors) -> Tensors:
        """Of each base column, the share below the row's z, given the base columns before it."""
        return self.of_base(self._inverse(inputs))

    def of_base(self, outputs: Tensors) -> Tensors:
        """`conditional_cdf`, of the outputs of `inverse`."""
        return {"conditional_cdf": self._base().cdf(outputs["z"])}

    def summarize(self, inputs: Tensors) -> Tensors:
        """Mean, standard deviation and quantiles of every event column."""
        rows = guarded_rows(inputs)
        if self.summary is None:
            raise ValueError("there is no summary; leave its signature out")
        given = [rows.tensors[name] for name in ("seed", "conditional_input") if name in rows.tensors]
        mean, stddev, quantiles = self._summarized(*given)
        return rows.mask(self.in_steps(mean, stddev, quantiles))

    def in_steps(self, mean: Any, stddev: Any, quantiles: Any) -> dict[str, Any]:
        """The outputs of `summarize`, of a column with noise as of the column without it."""
        if self._widths is not None and self._plan.answers.num_draws is None:
            width = tf.constant(self._widths, stddev.dtype)  # the noise has a variance of its own (Sheppard)
            stddev = tf.sqrt(tf.maximum(tf.square(stddev) - tf.square(width) / 12, 0))
            quantiles = tf.round(quantiles / width) * width
        return {"mean": mean, "stddev": stddev, "quantiles": quantiles}

    def _base(self) -> BaseProbabilities:
        if self._plan.base is None:
            raise ValueError("the base distribution has no probabilities; leave the signatures out")
        return self._plan.base


def _summary(plan: AnswerPlan, base: BaseProbabilities, draw: Forward) -> ColumnSummary | DrawnSummary:
    levels, num_draws = plan.answers.quantile_levels, plan.answers.num_draws
    if num_draws is None:
        return ColumnSummary(plan.distribution, base, levels, plan.rising)
    widths = np.array(plan.widths)
    points = RowPoints(base, num_draws, plan.distribution.dtype, shift_uniforms)
    return DrawnSummary(points, draw, levels, num_draws, widths if widths.any() else None)


def column_signatures(
    signatures: Mapping[str, Signature],
    event_columns: Sequence[str],
    condition_columns: Sequence[ConditionColumn],
    names: Mapping[str, str],
    dtype: str,
) -> dict[str, Signature]:
    """Those of `BY_COLUMN` whose vectors `signatures` takes: `x` and `conditional_input` are a tensor for each column.

    Args:
      signatures: of vectors.
      event_columns: names of the D columns of `x`.
      condition_columns: all raw columns of the condition.
      names: of the tensors, by column.
      dtype: of the model.
    """
    condition = {names[each.name]: TensorSpec(_COLUMN_DTYPES[each.kind], (None,)) for each in condition_columns}
    event = {names[name]: TensorSpec("float64", (None,)) for name in event_columns}
    drawn = {names[name]: TensorSpec(dtype, (None,)) for name in event_columns}

    def by_column(specs: Mapping[str, TensorSpec], x: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
        vectors = {"x": x, "conditional_input": condition}
        return {k: each for name, spec in specs.items() for k, each in vectors.get(name, {name: spec}).items()}

    return {
        name: Signature(by_column(signatures[vector].inputs, event), by_column(signatures[vector].outputs, drawn))
        for name, vector in BY_COLUMN.items()
        if vector in signatures
    }


class ColumnTensors:
    """Reads a tensor `[B]` for each column: float64 numbers, seconds since 1970 among them, texts, int64 integers.

    A number is null where it is NaN, a text where it is `NULL_TEXT`, an integer where it is `NULL_INTEGER`, unless the
    vocabulary has that.
    """

    def __init__(self, contract: Contract, condition: ConditionGraph | None) -> None:
        """Of a version; `condition` encodes its raw columns, `None` where these are all plain numbers."""
        self._contract = contract
        self._condition = condition
        self._event = [contract.tensor_names[name] for name in contract.event_columns]

    def derived(self, vector: str) -> Derivation:
        """How a signature that takes and gives columns comes of the one of this name, which has vectors.

        Tensors of other names, such as `seed`, are handed through.
        """
        return Derivation(vector, before=self._vectors, after=self._columns)

    def _vectors(self, inputs: Tensors) -> Tensors:
        of_columns = {*self._contract.tensor_names.values()}
        vectors = {name: tensor for name, tensor in inputs.items() if name not in of_columns}
        if self._event[0] in inputs:
            dtype = self._contract.dtype
            vectors["x"] = tf.stack([tf.cast(inputs[name], dtype) for name in self._event], axis=1)
        if self._contract.condition_size:
            vectors["conditional_input"] = self._encode(inputs)
        return vectors

    def _columns(self, outputs: Tensors) -> Tensors:
        columns = dict(outputs)
        if "x" in columns:
            columns |= dict(zip(self._event, tf.unstack(columns.pop("x"), axis=1), strict=True))
        return columns

    def _encode(self, inputs: Tensors) -> tf.Tensor:
        columns, names = self._contract.raw_condition_columns, self._contract.tensor_names
        dtype = numbers_dtype(columns, self._contract.dtype)
        numbers = [tf.cast(inputs[names[column.name]], dtype) for column in columns if not column.is_category]
        if self._condition is None:
            return tf.stack(numbers, axis=1)
        raw = {} if not numbers else {"numbers": tf.stack(numbers, axis=1)}
        categories = [(column, inputs[names[column.name]]) for column in columns if column.is_category]
        if categories:
            texts = [_as_text(column, tensor) for column, tensor in categories]
            raw["categories"] = tf.stack(texts, axis=1)
            raw["null_categories"] = tf.stack([_is_null(column, tensor) for column, tensor in categories], axis=1)
        return self._condition(raw)


def _as_text(column: ConditionColumn, tensor: tf.Tensor) -> tf.Tensor:
    return tensor if column.kind == "string" else tf.strings.as_string(tensor)


def _is_null(column: ConditionColumn, tensor: tf.Tensor) -> tf.Tensor:
    spelling: str | int = NULL_TEXT if column.kind == "string" else NULL_INTEGER
    if spelling in column.vocabulary:
        return tf.zeros_like(tensor, tf.bool)
    return tf.equal(tensor, tf.constant(spelling, tensor.dtype))
