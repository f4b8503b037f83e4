"""Compares signatures that take a tensor for each column with those that take vectors, and `in_range` with ranges."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from export.contract import BY_COLUMN, IN_RANGE
from export.errors import VerificationError
from export.raw_inputs import encoded_bounds_of
from export.signatures import Request
from export.verification.answers import SUMMARIZE_COLUMNS
from export.verification.comparison import Comparison, Expectation, compare_values
from export.verification.inputs import (
    Break,
    VerificationInputs,
    breaks_of,
    breaks_of_x,
    broken_rows,
    column_tensors,
)

if TYPE_CHECKING:
    from export.contract import Contract
    from export.verification.replay import Replies

Array = np.ndarray[Any, Any]
_SCORED = "log_prob_columns"
_IN_RANGE_COLUMNS = "in_range_columns"
_BROKEN = " that cannot be scored"


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
        if IN_RANGE in self.contract.signatures:
            yield Request(IN_RANGE, IN_RANGE, self.inputs.of_signature(self.contract, IN_RANGE))
        if _SCORED in self.contract.signatures:
            yield Request(_SCORED + _BROKEN, _SCORED, self._broken_columns())

    def _breaks(self) -> list[Break]:
        of_condition = [] if self.inputs.raw is None else breaks_of(self.inputs.raw.columns)
        return [*of_condition, *breaks_of_x(self.contract)]

    def _broken_columns(self) -> dict[str, Array]:
        raw, x = self.inputs.raw, self.inputs.arrays["x"]
        if raw is not None:
            return column_tensors(self.contract, *broken_rows(raw, x, self._breaks()))
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
          VerificationError: for a row that cannot be scored and is answered, or whose `in_range` is wrong.
        """
        self._check_broken(replies, loader)
        self._check_ranges(replies, loader)
        tensors = [self.contract.tensor_names[column] for column in self.contract.event_columns]
        for name in self._names:
            if name in {SUMMARIZE_COLUMNS, _IN_RANGE_COLUMNS}:
                continue  # `SummaryVerification` compares the one, and the other has been
            vector = BY_COLUMN[name]
            for output in self.contract.signature(vector).outputs:
                if output == "x":
                    actual = np.stack([replies.output(loader, name, tensor) for tensor in tensors], axis=1)
                else:
                    actual = replies.output(loader, name, output)
                rows = dataclasses.replace(expected[vector][output], values=replies.output(loader, vector, output))
                yield compare_values(actual, rows, signature=name, output=output, against="vectors", loader=loader)

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

    def _check_ranges(self, replies: Replies, loader: str) -> None:
        names = [name for name in (IN_RANGE, _IN_RANGE_COLUMNS) if name in self.contract.signatures]
        if not names:
            return
        lower, upper = encoded_bounds_of(self.contract)
        condition = self.inputs.arrays["conditional_input"]
        expected: Array = np.all((condition >= lower) & (condition <= upper), axis=1)
        for name in names:
            wrong = np.flatnonzero(np.not_equal(replies.output(loader, name, "in_range"), expected))
            if len(wrong):
                raise VerificationError(
                    f"signature {name!r} ({loader} loader): in_range of {len(wrong)} of {len(expected)} rows is not "
                    f"what the contract says; row {wrong[0]} is {'in' if expected[wrong[0]] else 'out of'} range"
                )
