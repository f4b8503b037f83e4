"""Whether a version answers raw columns as the vectors that NumPy encodes them to.

Among the rows are categories that no vocabulary has, and nulls where they may be. A row that lacks a value that it
cannot do without must be NaN.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from export.contract import Contract
from export.errors import VerificationError
from export.signatures import ENCODE_CONDITION, LOG_PROB_EXAMPLES, Request
from export.verification.comparison import Comparison, Expectation, compare_values, expect
from export.verification.inputs import Break, RawRows, Reference, breaks_of, breaks_of_x, broken_rows

if TYPE_CHECKING:
    from export.verification.replay import Replies

Array = np.ndarray[Any, Any]
TIME_TOLERANCE = 1e-6  # of sines and cosines, and of days relative to their number
_OTHER_BATCH = " in another batch"
_BROKEN = " that cannot be scored"
_OTHER_ROWS = slice(None, None, -2)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RawVerification:
    """Requests to `encode_condition` and `log_prob_examples`, and what their replies have to be.

    What rows are encoded to must be what NumPy makes of them, to the last bit but for points in time, and their
    log-density that of the model.

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
        yield self._examples_request(_BROKEN, *broken_rows(self.raw, self.x, self._breaks(LOG_PROB_EXAMPLES)))
        if self._breaks(ENCODE_CONDITION):
            yield self._encode_request(_BROKEN, broken_rows(self.raw, self.x, self._breaks(ENCODE_CONDITION))[0])

    def _encode_request(self, suffix: str, raw: RawRows) -> Request:
        names = self.contract.signature(ENCODE_CONDITION).inputs
        return Request(ENCODE_CONDITION + suffix, ENCODE_CONDITION, {name: raw.inputs[name] for name in names})

    def _examples_request(self, suffix: str, raw: RawRows, x: Array) -> Request:
        examples = raw.examples(self.contract.event_columns, x)
        return Request(LOG_PROB_EXAMPLES + suffix, LOG_PROB_EXAMPLES, {"examples": examples})

    def _breaks(self, name: str) -> list[Break]:
        """What makes a row one that the signature cannot answer."""
        breaks = breaks_of(self.raw.columns)
        if name == LOG_PROB_EXAMPLES:
            return [*breaks, *breaks_of_x(self.contract)]
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
            wrong = np.argwhere(~self._same(came, rows)) if came.shape == rows.shape else [(0, 0)]
            for row, column in wrong[:1]:
                raise VerificationError(
                    f"signature {ENCODE_CONDITION!r} ({loader} loader): {self.contract.conditional_columns[column]} is "
                    f"{came[row, column]} in row {row} of shape {list(came.shape)}; expected {rows[row, column]}"
                )

    def _same(self, came: Array, expected: Array) -> Array:
        """Where entries `[N, C]` are as they must be."""
        is_time = np.array([column.is_time for column in self.raw.columns for _ in column.encoded_names])
        near = np.isclose(came, expected, rtol=TIME_TOLERANCE, atol=TIME_TOLERANCE)
        same: Array = np.equal(came, expected) | (is_time & near)
        return same

    def _check_broken(self, replies: Replies, loader: str) -> None:
        for name, output in ((ENCODE_CONDITION, "conditional_input"), (LOG_PROB_EXAMPLES, "log_prob")):
            for index, (array, place, value) in enumerate(self._breaks(name)):
                came = replies.output(loader, name + _BROKEN, output)[index]
                if not np.isnan(came).all():
                    raise VerificationError(
                        f"signature {name!r} ({loader} loader): {output} of a row with {array}[{place}] = {value} is "
                        f"{came}; expected NaN"
                    )


def _compare(actual: Array, expected: Expectation, against: str, loader: str) -> Comparison:
    return compare_values(
        actual, expected, signature=LOG_PROB_EXAMPLES, output="log_prob", against=against, loader=loader
    )
