"""What people ask a density: how likely is less than this, what is not exceeded in nine of ten cases, what is expected.

    plan_answers(distribution, ...) -> AnswerPlan    which signatures a model can answer, and why not the others
    AnswerFunctions(plan, ...)                       what they compute, in TensorFlow ops

    one event column       cdf, quantile, summarize     exact: the flow is a monotone map of its base
    several                conditional_cdf, summarize   from seeded draws

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
from export.contract import ONE_COLUMN, SEVERAL_COLUMNS, Answers
from export.errors import ModelError
from export.serving_module import Function, Tensors, guarded_rows
from export.summaries import ColumnSummary, DrawnSummary, RowPoints, direction, lower_end

if TYPE_CHECKING:
    from export.summaries import Forward

Array = np.ndarray[Any, Any]
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
        self._lower_end = lower_end(plan.distribution)
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
        if self._lower_end is not None:
            least = tf.constant(self._lower_end, x.dtype)
            x = tf.where(x < least, least, x)
        if self._widths is not None:  # all noisy values of what is at most x lie below the next one's
            step = tf.constant(self._widths, x.dtype)
            x = (tf.floor(x / step + _LATTICE) + 0.5) * step
        z = self._inverse({**inputs, "x": x})["z"]
        share = self._base().cdf(z) if self._plan.rising > 0 else self._base().survival(z)
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
        return {"conditional_cdf": self._base().cdf(self._inverse(inputs)["z"])}

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
