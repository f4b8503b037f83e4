"""Values of a column counted between the quantiles of training, or by its categories, as they were read.

The edges are fixed, so counts are exact, add up whatever the order, and do not grow with the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from maf_serving.arrow_columns import Fault, find_faults, to_categories, to_floats
from maf_serving.columns import TIMESTAMP
from maf_serving.moments import Moments
from maf_serving.timestamps import to_seconds

if TYPE_CHECKING:
    import pyarrow as pa

    from maf_serving.arrow_columns import Floats
    from maf_serving.columns import ConditionColumn
    from maf_serving.training_profile import ColumnProfile, Quantiles

Counts = npt.NDArray[np.int64]
_CATEGORIES = ("string", "integer")


class NumberCounts:
    """How many values lie between the quantiles of training: below the least, at it, between, above the greatest."""

    def __init__(self, quantiles: Quantiles, *, offset: float = 0.0, dtype: str = "float64") -> None:
        """Values, and those of the quantiles, are compared less the offset, in that type."""
        self._offset, self._dtype = offset, dtype
        self._edges = self._measured(np.array(quantiles.values))
        self.cells: Counts = np.zeros(len(self._edges) + 2, np.int64)
        self.moments = Moments(1)

    def add(self, values: Floats) -> None:
        """Takes in numbers `[B]`, infinite ones too, without NaN."""
        measured = self._measured(values)
        cells = np.searchsorted(self._edges, measured, side="left") + 1
        cells[measured < self._edges[0]] = 0
        self.cells += np.bincount(cells, minlength=len(self.cells))
        self.moments.add(measured[np.isfinite(measured), np.newaxis])

    def merge(self, other: NumberCounts) -> None:
        """Takes in what another has seen."""
        self.cells += other.cells
        self.moments.merge(other.moments)

    @property
    def mean(self) -> float | None:
        """Of the finite ones, the offset included."""
        return float(self.moments.mean[0]) + self._offset if self.moments.count else None

    def _measured(self, values: Floats) -> npt.NDArray[np.float64]:
        with np.errstate(over="ignore"):
            return (values.astype(np.float64) - self._offset).astype(self._dtype).astype(np.float64)


class ColumnCounts:
    """What came in one raw column.

    Attributes:
      rows, nulls: how many; `unusable` of them are neither null nor a value, text in a column of numbers say.
      cells: counts of the values: see `NumberCounts`; or of each category of the profile, of others that the model
        knows, and of those that it does not.
    """

    def __init__(self, profile: ColumnProfile, column: ConditionColumn | None, dtype: str) -> None:
        """`column` is what the contract says of it, `None` of an event column; `dtype` is the model's."""
        self.rows = self.nulls = self.unusable = 0
        self.numbers: NumberCounts | None = None
        self._kind = profile.kind
        if profile.quantiles is not None:
            is_plain = column is None or profile.kind == TIMESTAMP
            offset = 0.0 if is_plain or column is None else column.offset
            dtype = "float64" if profile.kind == TIMESTAMP else dtype
            self.numbers = NumberCounts(profile.quantiles, offset=offset, dtype=dtype)
            return
        named = {str(value): place for place, value in enumerate(profile.categories)}
        known = dict.fromkeys(map(str, column.vocabulary if column is not None else ()), len(named))
        self._places = known | named
        self._categories: Counts = np.zeros(len(named) + 2, np.int64)

    @property
    def cells(self) -> Counts:
        """See the class."""
        return self._categories if self.numbers is None else self.numbers.cells

    def add(self, column: pa.Array) -> None:
        """Takes in the column of a batch, as it was read."""
        self.rows += len(column)
        if self._kind not in _CATEGORIES:
            self._add_numbers(column)
            return
        read = to_categories(column, self._kind)
        nothing = (Fault.NULL, Fault.NAN)
        broken = sum(int(mask.sum()) for fault, mask in read.faults.items() if fault not in nothing)
        encoded = read.text.drop_null().dictionary_encode()
        counts = np.bincount(encoded.indices.to_numpy(zero_copy_only=False), minlength=len(encoded.dictionary))
        unknown = len(self._categories) - 1
        places = [self._places.get(value, unknown) for value in encoded.dictionary.to_pylist()]
        np.add.at(self._categories, places, counts)
        self.unusable += broken
        self.nulls += len(column) - int(counts.sum()) - broken

    def _add_numbers(self, column: pa.Array) -> None:
        if self._kind == TIMESTAMP:
            read = to_seconds(column)
            floats, faults = read.values, read.faults
        else:
            floats = to_floats(column)
            faults = find_faults(column, floats, floats) if np.isnan(floats).any() else {}
        there = ~np.isnan(floats)
        nothing = sum(int(mask.sum()) for fault, mask in faults.items() if fault in {Fault.NULL, Fault.NAN})
        self.nulls += nothing
        self.unusable += int((~there).sum()) - nothing
        if self.numbers is None:  # training saw no value of it at all
            self._categories[-1] += int(there.sum())
        else:
            self.numbers.add(floats[there])

    def merge(self, other: ColumnCounts) -> None:
        """Takes in what another has seen."""
        self.rows += other.rows
        self.nulls += other.nulls
        self.unusable += other.unusable
        if self.numbers is not None and other.numbers is not None:
            self.numbers.merge(other.numbers)
        else:
            self._categories += other._categories
