"""What a model itself answers to `cdf`, `quantile`, `conditional_cdf` and `summarize`, and whether a version does too.

The model's maps are those of TFP. `summarize` of several columns is made of many draws of each row, which are dear in
TFP: a row or two are compared. They come from points of base space that are the version's own, so the two differ by
rounding alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

from export.answer_functions import AnswerFunctions, plan_answers
from export.contract import ONE_COLUMN, SEVERAL_COLUMNS
from export.errors import VerificationError
from export.signatures import SUMMARIZE, Request
from export.summaries import DrawnSummary
from export.verification.comparison import Comparison, Expectation, compare_values
from export.verification.inputs import FAR_ROWS, TYPICAL_ROWS, Function, Reference

if TYPE_CHECKING:
    from export.contract import Contract
    from export.verification.replay import Replies

Array = np.ndarray[Any, Any]
MOST_COMPARED_DRAWS = 2048
_TOLERANCE = 1e-3  # of the standard deviation; a draw, or a cell of an integral, may change sides by rounding
_OTHER_BATCH = " in another batch"
SUMMARIZE_COLUMNS = "summarize_columns"


class ReferenceAnswers(Protocol):
    """What a version is compared with."""

    @property
    def by_name(self) -> Mapping[str, Function]:
        """`cdf`, `quantile` and `conditional_cdf`, as far as there are signatures of these names."""
        ...

    def summary(self, inputs: Mapping[str, Array]) -> dict[str, Array] | None:
        """The outputs of `summarize`; `None` if it cannot tell."""
        ...


def reference_answers(model: Reference, contract: Contract) -> ReferenceAnswers | None:
    """Of the distribution where the model is one, else of the version itself; `None` for a version without answers."""
    if contract.answers is None:
        return None
    if model.distribution is None:
        return LoadedAnswers(model, contract)
    return LiveAnswers(model, contract)


class LoadedAnswers:
    """The answers of a version itself."""

    def __init__(self, model: Reference, contract: Contract) -> None:
        names = [name for name in dict.fromkeys((*ONE_COLUMN, *SEVERAL_COLUMNS)) if name in contract.signatures]
        self.by_name = {name: model.functions[name] for name in names if name != SUMMARIZE}
        self._summarize = model.functions.get(SUMMARIZE)

    def summary(self, inputs: Mapping[str, Array]) -> dict[str, Array] | None:
        """See `ReferenceAnswers`."""
        return None if self._summarize is None else self._summarize(inputs)


class LiveAnswers:
    """The answers of a distribution that is exported, or was."""

    def __init__(self, model: Reference, contract: Contract) -> None:
        """Of a model, and the contract of its version, which has answers."""
        if contract.answers is None:
            raise VerificationError("the contract has no answers; expected a version that has them")
        size = contract.condition_size
        rng = np.random.default_rng(0)
        plan = plan_answers(
            model.distribution,
            contract.event_columns,
            conditions=model.typical_conditions(size, TYPICAL_ROWS, rng) if size else None,
            quantile_levels=contract.answers.quantile_levels,
            summary_draws=contract.answers.num_draws or 2,
            dequantization=contract.answers.rounded_to,
        )
        self._forward = model.functions["forward"]
        self._functions = AnswerFunctions(plan, self._draw, _OnTensors(model.functions))
        self._names = [name for name in plan.names if name in contract.signatures and name != SUMMARIZE]

    @property
    def by_name(self) -> dict[str, Function]:
        """By name of the signature, from arrays to arrays."""
        by_name = self._functions.by_name
        return {name: _on_arrays(by_name[name]) for name in self._names}

    def summary(self, inputs: Mapping[str, Array]) -> dict[str, Array] | None:
        """The outputs of `summarize`; `None` for more draws than TFP can make in a while."""
        seed, condition = tf.constant(inputs["seed"]), inputs.get("conditional_input")
        given = None if condition is None else tf.constant(condition)
        if isinstance(self._functions.summary, DrawnSummary):
            if self._functions.summary.points(seed[:1]).shape[1] > MOST_COMPARED_DRAWS:
                return None
            outputs = self._functions.summary(seed, given)
        elif self._functions.summary is not None:
            outputs = list(self._functions.summary.of_rows(seed, given))
        else:
            return None
        return {name: value.numpy() for name, value in self._functions.in_steps(*outputs).items()}

    def _draw(self, z: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """In as many rows at a time as the model has been traced for."""
        inputs = {"z": z.numpy(), **({} if condition is None else {"conditional_input": condition.numpy()})}
        at_a_time = TYPICAL_ROWS + FAR_ROWS
        parts = []
        for start in range(0, len(inputs["z"]), at_a_time):
            index = np.arange(start, start + at_a_time) % len(inputs["z"])
            parts.append(self._forward({name: value[index] for name, value in inputs.items()})["x"])
        x = tf.constant(np.concatenate(parts)[: len(inputs["z"])])
        return x, x[:, 0]


class _OnTensors:
    """A model's maps of arrays as maps of tensors."""

    def __init__(self, functions: Mapping[str, Function]) -> None:
        self._functions = functions

    def inverse(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self._run("inverse", inputs)

    def forward(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self._run("forward", inputs)

    def _run(self, name: str, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = self._functions[name]({key: value.numpy() for key, value in inputs.items()})
        return {key: tf.constant(value) for key, value in outputs.items()}


def _on_arrays(function: Any) -> Function:
    def on_arrays(inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = function({name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}

    return on_arrays


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SummaryVerification:
    """Requests to `summarize`, and what the replies have to be.

    Attributes:
      contract: of the version.
      arrays: by name of the signature's inputs, typical rows.
    """

    contract: Contract
    arrays: Mapping[str, Array]

    @property
    def rows(self) -> int:
        """Rows compared, the first: of draws, few."""
        draws = self.contract.answers.num_draws if self.contract.answers else None
        return min(TYPICAL_ROWS, TYPICAL_ROWS if draws is None else max(1, MOST_COMPARED_DRAWS // draws))

    @property
    def _inputs(self) -> dict[str, Array]:
        return {name: self.arrays[name][: self.rows] for name in self.contract.signature(SUMMARIZE).inputs}

    def requests(self) -> Iterator[Request]:
        """What is to be sent: the rows, and the same last first, after one with NaN."""
        inputs = self._inputs
        yield Request(SUMMARIZE, SUMMARIZE, inputs)
        turned = {name: np.concatenate([_not_finite(value[:1]), value[::-1]]) for name, value in inputs.items()}
        yield Request(SUMMARIZE + _OTHER_BATCH, SUMMARIZE, turned)

    def comparisons(
        self, answers: ReferenceAnswers | None, replies: Replies, loaders: Sequence[str]
    ) -> Iterator[Comparison]:
        """Errors of the outputs, in standard deviations.

        Raises:
          VerificationError: for a row with NaN that is answered.
        """
        own = None if answers is None else answers.summary(self._inputs)
        outputs = self.contract.signature(SUMMARIZE).outputs
        for loader in loaders:
            whole = {name: replies.output(loader, SUMMARIZE, name) for name in outputs}
            other = {name: replies.output(loader, SUMMARIZE + _OTHER_BATCH, name) for name in outputs}
            first = {name: replies.output(loaders[0], SUMMARIZE, name) for name in outputs}
            for name in outputs:
                if "conditional_input" in self.arrays and not np.isnan(other[name][0]).all():
                    raise VerificationError(
                        f"signature {SUMMARIZE!r} ({loader} loader): {name} of a row with NaN is {other[name][0]}; "
                        "expected NaN"
                    )
                if own is not None:
                    yield self._compare(whole[name], own, name, "model", loader)
                elif loader != loaders[0]:
                    yield self._compare(whole[name], first, name, "loader", loader)
                yield self._compare(other[name][1:][::-1], whole, name, "batch", loader)
                if SUMMARIZE_COLUMNS in self.contract.signatures:
                    by_column = replies.output(loader, SUMMARIZE_COLUMNS, name)
                    yield self._compare(by_column, whole, name, "vectors", loader, signature=SUMMARIZE_COLUMNS)

    def _compare(
        self,
        actual: Array,
        expected: Mapping[str, Array],
        name: str,
        against: str,
        loader: str,
        *,
        signature: str = SUMMARIZE,
    ) -> Comparison:
        values = expected[name].reshape(len(actual), self.contract.event_size, -1)
        with np.errstate(invalid="ignore"):
            unit = np.broadcast_to(expected["stddev"][:, :, np.newaxis], values.shape)
            allowed = _TOLERANCE * unit + 16 * np.finfo(values.dtype).eps * np.abs(values) + self._steps
        rows = np.isfinite(values + allowed).all(axis=(1, 2))
        expectation = Expectation(values, np.maximum(unit, np.finfo(values.dtype).tiny), allowed, rows)
        return compare_values(
            actual.reshape(values.shape),
            expectation,
            signature=signature,
            output=name,
            against=against,
            loader=loader,
        )

    @property
    def _steps(self) -> Array:
        """`[D, 1]`: a value between two multiples of a column's width may be rounded to either."""
        rounded_to = self.contract.answers.rounded_to if self.contract.answers else {}
        return np.array([[rounded_to.get(name, 0.0)] for name in self.contract.event_columns])


def _not_finite(value: Array) -> Array:
    return np.full_like(value, np.nan) if value.dtype.kind == "f" else value
