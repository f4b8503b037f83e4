"""Whether a version answers raw columns as the vectors that NumPy encodes them to.

Among the rows are categories that no vocabulary has, and nulls where they may be. A row that lacks a value that it
cannot do without must be NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from export.contract import BY_COLUMN, Contract
from export.errors import VerificationError
from export.signatures import ENCODE_CONDITION, LOG_PROB_EXAMPLES, Request
from export.verification.answers import SUMMARIZE_COLUMNS
from export.verification.comparison import Comparison, Expectation, compare, expect
from export.verification.inputs import RawRows, Reference, column_tensors

if TYPE_CHECKING:
    from export.verification.inputs import VerificationInputs
    from export.verification.replay import Replies
    from maf_serving.columns import ConditionColumn

Array = np.ndarray[Any, Any]
_OTHER_BATCH = " in another batch"
_BROKEN = " that cannot be scored"
_OTHER_ROWS = slice(None, None, -2)
_SCORED = "log_prob_columns"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RawVerification:
    """Requests to `encode_condition` and `log_prob_examples`, and what their replies have to be.

    What rows are encoded to must be what NumPy makes of them, to the last bit, and their log-density that of the model.

    Attributes:
      contract: of the version.
      raw: rows of raw columns.
      x: `[N, D]`, x of these rows.
    """

    contract: Contract
    raw: RawRows
    x: Array

    def requests(self) -> Iterator[Request]:
        """What is to be sent."""
        for suffix, rows in (("", slice(None)), (_OTHER_BATCH, _OTHER_ROWS)):
            yield self._encode_request(suffix, self.raw.take(rows))
            yield self._examples_request(suffix, self.raw.take(rows), self.x[rows])
        yield self._examples_request(_BROKEN, *_broken(self.raw, self.x, self._breaks(LOG_PROB_EXAMPLES)))
        if self._breaks(ENCODE_CONDITION):
            yield self._encode_request(_BROKEN, _broken(self.raw, self.x, self._breaks(ENCODE_CONDITION))[0])

    def _encode_request(self, suffix: str, raw: RawRows) -> Request:
        names = self.contract.signature(ENCODE_CONDITION).inputs
        return Request(ENCODE_CONDITION + suffix, ENCODE_CONDITION, {name: raw.inputs[name] for name in names})

    def _examples_request(self, suffix: str, raw: RawRows, x: Array) -> Request:
        examples = raw.examples(self.contract.event_columns, x)
        return Request(LOG_PROB_EXAMPLES + suffix, LOG_PROB_EXAMPLES, {"examples": examples})

    def _breaks(self, name: str) -> list[Break]:
        """What makes a row one that the signature cannot answer."""
        breaks = _breaks_of(self.raw.columns)
        if name == LOG_PROB_EXAMPLES:
            return [*breaks, *_breaks_of_x(self.contract)]
        return [each for each in breaks if each[0] in self.contract.signature(name).inputs]

    def comparisons(self, model: Reference, replies: Replies, loaders: Sequence[str]) -> Iterator[Comparison]:
        """Errors of the log-densities.

        Raises:
          VerificationError: for an encoding, or the answer to a row that cannot be scored, that is not as it must be.
        """
        null_values = model.null_values(self.raw.columns)
        features = {
            "x": self.x.astype(np.float32).astype(self.x.dtype),
            "conditional_input": self.raw.in_float32().encode(null_values),
        }
        rng = np.random.default_rng(0)
        expected = expect(model.functions["log_prob"], features, rng, model.rounded_weights)["log_prob"]
        for loader in loaders:
            self._check_encoding(replies, loader, self.raw.encode(null_values))
            self._check_broken(replies, loader)
            whole = replies.output(loader, LOG_PROB_EXAMPLES, "log_prob")
            part = replies.output(loader, LOG_PROB_EXAMPLES + _OTHER_BATCH, "log_prob")
            yield _compare(whole, expected, "model", loader)
            in_whole = dataclasses.replace(expected, values=whole).take(_OTHER_ROWS)
            yield _compare(part, in_whole, "batch", loader)

    def _check_encoding(self, replies: Replies, loader: str, expected: Array) -> None:
        for suffix, rows in (("", expected), (_OTHER_BATCH, expected[_OTHER_ROWS])):
            came = replies.output(loader, ENCODE_CONDITION + suffix, "conditional_input")
            wrong = np.argwhere(~np.equal(came, rows)) if came.shape == rows.shape else [(0, 0)]
            for row, column in wrong[:1]:
                raise VerificationError(
                    f"signature {ENCODE_CONDITION!r} ({loader} loader): {self.contract.conditional_columns[column]} is "
                    f"{came[row, column]} in row {row} of shape {list(came.shape)}; expected {rows[row, column]}"
                )

    def _check_broken(self, replies: Replies, loader: str) -> None:
        for name, output in ((ENCODE_CONDITION, "conditional_input"), (LOG_PROB_EXAMPLES, "log_prob")):
            for index, (array, place, value) in enumerate(self._breaks(name)):
                came = replies.output(loader, name + _BROKEN, output)[index]
                if not np.isnan(came).all():
                    raise VerificationError(
                        f"signature {name!r} ({loader} loader): {output} of a row with {array}[{place}] = {value} is "
                        f"{came}; expected NaN"
                    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ColumnVerification:
    """Requests to the signatures by column, and what their replies have to be: those of the signatures of vectors.

    Attributes:
      contract: of the version; without any such signature nothing is sent.
      inputs: the same rows as vectors and as columns.
      summary_rows: how many of the rows are summarized, the first.
    """

    contract: Contract
    inputs: VerificationInputs
    summary_rows: int

    @property
    def _names(self) -> list[str]:
        return [name for name in BY_COLUMN if name in self.contract.signatures]

    def requests(self) -> Iterator[Request]:
        """What is to be sent."""
        for name in self._names:
            inputs = self.inputs.of_signature(self.contract, name)
            if name == SUMMARIZE_COLUMNS:
                inputs = {each: value[: self.summary_rows] for each, value in inputs.items()}
            yield Request(name, name, inputs)
        if _SCORED in self.contract.signatures:
            yield Request(_SCORED + _BROKEN, _SCORED, self._broken_columns())

    def _breaks(self) -> list[Break]:
        of_condition = [] if self.inputs.raw is None else _breaks_of(self.inputs.raw.columns)
        return [*of_condition, *_breaks_of_x(self.contract)]

    def _broken_columns(self) -> dict[str, Array]:
        raw, x = self.inputs.raw, self.inputs.arrays["x"]
        if raw is not None:
            return column_tensors(self.contract, *_broken(raw, x, self._breaks()))
        x = x[[0] * len(self._breaks())]
        for row, (_, place, value) in enumerate(self._breaks()):
            x[row, place] = value
        return column_tensors(self.contract, None, x)

    def comparisons(
        self, expected: Mapping[str, Mapping[str, Expectation]], replies: Replies, loader: str
    ) -> Iterator[Comparison]:
        """Errors against the signatures of vectors.

        Args:
          expected: by name and output of these, how far a reply may be off.
          replies: of the version.
          loader: whose.

        Raises:
          VerificationError: for a row that cannot be scored and is answered.
        """
        self._check_broken(replies, loader)
        tensors = [self.contract.tensor_names[column] for column in self.contract.event_columns]
        for name in self._names:
            if name == SUMMARIZE_COLUMNS:
                continue  # `SummaryVerification` compares it
            vector = BY_COLUMN[name]
            for output in self.contract.signature(vector).outputs:
                if output == "x":
                    actual = np.stack([replies.output(loader, name, tensor) for tensor in tensors], axis=1)
                else:
                    actual = replies.output(loader, name, output)
                rows = dataclasses.replace(expected[vector][output], values=replies.output(loader, vector, output))
                yield compare(actual, rows, signature=name, output=output, against="vectors", loader=loader)

    def _check_broken(self, replies: Replies, loader: str) -> None:
        if _SCORED not in self.contract.signatures:
            return
        came = replies.output(loader, _SCORED + _BROKEN, "log_prob")
        for row, (array, place, value) in enumerate(self._breaks()):
            if not np.isnan(came[row]):
                raise VerificationError(
                    f"signature {_SCORED!r} ({loader} loader): log_prob of a row with {array}[{place}] = {value} is "
                    f"{came[row]}; expected NaN"
                )


Break = tuple[str, int, Any]
"""Array, place in it and value of what makes a row one that cannot be scored."""


def _breaks_of(columns: Sequence[ConditionColumn]) -> list[Break]:
    numbers = [column for column in columns if not column.is_category]
    categories = [column for column in columns if column.is_category]
    breaks: list[Break] = [("numbers", place, np.inf) for place in range(len(numbers))]
    breaks += [("numbers", place, np.nan) for place, column in enumerate(numbers) if not column.nullable]
    return breaks + [("null_categories", place, True) for place, column in enumerate(categories) if not column.nullable]


def _breaks_of_x(contract: Contract) -> list[Break]:
    return [("x", place, np.nan) for place in range(contract.event_size)]


def _broken(raw: RawRows, x: Array, breaks: Sequence[Break]) -> tuple[RawRows, Array]:
    """A copy of the first row for each of `breaks`, with nothing else null in it."""
    rows = [0] * len(breaks)
    arrays = {
        "numbers": np.nan_to_num(raw.numbers[rows]),
        "null_categories": np.zeros_like(raw.null_categories[rows]),
        "x": x[rows],
    }
    for row, (array, place, value) in enumerate(breaks):
        arrays[array][row, place] = value
    broken = dataclasses.replace(raw.take(rows), numbers=arrays["numbers"], null_categories=arrays["null_categories"])
    return broken, arrays["x"]


def _compare(actual: Array, expected: Expectation, against: str, loader: str) -> Comparison:
    return compare(actual, expected, signature=LOG_PROB_EXAMPLES, output="log_prob", against=against, loader=loader)
