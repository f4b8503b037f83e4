"""What training saw of each column, in a few hundred numbers: all that later data are compared with.

    training rows -- maf.profiling --> TrainingProfile -- run directory, contract --> ranges, drift, reports

None of the rows is in it but the extremes, the quantiles and the most frequent categories. It is of the raw columns: as
the table has them, before offsets are taken off and categories are encoded, and without noise.

Where rows have weights, a row counts in means, shares and quantiles as much as its weight says, as it did in training:
the profile is of the distribution that the model was fitted to. Counts of rows stay counts, and extremes extremes.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

from maf_serving.errors import ContractError

QUANTILE_STEPS = 64
"""Quantiles are at the levels 0, 1/64, ..., 1."""
MOST_CATEGORIES = 100
"""Categories of a column whose shares are kept, most frequent first."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Where a distribution has its values.

        >>> ages = Quantiles(values=(18.0, 40.0, 99.0), cumulative=(0.01, 0.6, 1.0))
        >>> ages.at(0.5), ages.at(0.9)
        (40.0, 99.0)

    Each value is one that came, and comes once however often it came: of a constant column there is one. Between two
    of them, ends left out, lies less than a 64th of what came.

    Attributes:
      values: ascending; the first is the least of all, the last the greatest. Numbers of the model's type, in as few
        digits as tell them apart in that: two numbers are to be compared in that type, less the column's offset.
      cumulative: the share of what came that is at most each value, ascending to 1.

    Raises:
      ContractError: if these are no such numbers.
    """

    values: tuple[float, ...]
    cumulative: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.cumulative) or not self.values:
            raise ContractError(
                f"quantiles have {len(self.values)} values and {len(self.cumulative)} shares; expected as many of "
                "both, and at least one"
            )
        if not _ascends(self.values) or not _ascends(self.cumulative):
            raise ContractError("quantiles do not ascend; expected finite values, and shares, each above the last")
        if not (self.cumulative[0] > 0 and self.cumulative[-1] == 1):
            raise ContractError(f"quantiles have shares up to {self.cumulative[-1]}; expected some above 0, up to 1")

    @property
    def minimum(self) -> float:
        """The least value."""
        return self.values[0]

    @property
    def maximum(self) -> float:
        """The greatest value."""
        return self.values[-1]

    def at(self, level: float) -> float:
        """The least of `values` that this share of what came is at most."""
        return next(value for value, share in zip(self.values, self.cumulative, strict=True) if share >= level)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """What training saw of one raw column.

    A number has `mean`, `stddev` and `quantiles`, a category has `categories`, `shares` and `others`. Shares, as those
    of the quantiles, are of the rows that are not null.

    Attributes:
      name: of the column.
      kind: `"number"`; of a category `"string"` or `"integer"`; of a point in time `"timestamp"`, which is a number of
        seconds since 1970.
      rows: training rows.
      nulls: those of them where it is null.
      effective_rows: as how many rows of equal weight they tell, where they have weights.
      weighted_null_share: of their weight, what rows have that are null; `None` where rows have no weights.
      mean, stddev, quantiles: of a number; `None` where all rows are null.
      categories: of a category, the most frequent values that the model has an entry for, at most `MOST_CATEGORIES`.
      shares: of each of `categories`.
      others: share of the values that the model has no entry for; those it has one for and that are not among
        `categories` make up the rest to 1.
      null_is_trained: whether the model was taught what null means even where the rows have none, by hiding values.

    Raises:
      ContractError: if these do not go together.
    """

    name: str
    kind: str = "number"
    rows: int
    nulls: int = 0
    effective_rows: float | None = None
    weighted_null_share: float | None = None
    mean: float | None = None
    stddev: float | None = None
    quantiles: Quantiles | None = None
    categories: tuple[str, ...] | tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    others: float = 0.0
    null_is_trained: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.nulls <= self.rows:
            raise ContractError(f"profile of column {self.name!r} has {self.nulls} nulls in {self.rows} rows")
        numbers = (self.mean, self.stddev, self.quantiles)
        expected = 0 if self.is_category or self.nulls == self.rows else len(numbers)
        if sum(each is not None for each in numbers) != expected:
            raise ContractError(
                f"profile of column {self.name!r}, a {self.kind}, has mean {self.mean}, stddev {self.stddev} and "
                f"{'no ' if self.quantiles is None else ''}quantiles; expected all three of a number, none of a "
                "category or where all is null"
            )
        if len(self.categories) != len(self.shares) or bool(self.categories) != self.is_category:
            raise ContractError(
                f"profile of column {self.name!r}, a {self.kind}, has {len(self.categories)} categories and "
                f"{len(self.shares)} shares; expected as many of both, and none of a number"
            )

    @property
    def is_category(self) -> bool:
        """Whether its values are categories."""
        return self.kind in {"string", "integer"}

    @property
    def null_share(self) -> float:
        """Of the rows, those that are null; of their weight, where they have weights."""
        if self.weighted_null_share is not None:
            return self.weighted_null_share
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def worth(self) -> float:
        """How many rows of equal weight the shares are of."""
        return self.rows if self.effective_rows is None else self.effective_rows


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NllProfile:
    """The negative log-likelihood of the validation rows, by the weights that were kept.

    In nats, in raw units of the event columns; of a column with noise that of the value and one draw of the noise.

    Attributes:
      rows: validation rows whose NLL is finite.
      mean, stddev: over these.
      quantiles: over these.
      effective_rows: as how many rows of equal weight they tell, where they have weights.
    """

    rows: int
    mean: float
    stddev: float
    quantiles: Quantiles
    effective_rows: float | None = None

    @property
    def worth(self) -> float:
        """How many rows of equal weight the figures are of."""
        return self.rows if self.effective_rows is None else self.effective_rows


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProfile:
    """What training saw: each raw column of the training rows, and how likely the validation rows are.

    Attributes:
      event: of each event column, in the model's order.
      condition: of each raw column of the condition, in the model's order.
      nll: of the validation rows; `None` if it is finite for none of them.
    """

    event: tuple[ColumnProfile, ...]
    condition: tuple[ColumnProfile, ...] = ()
    nll: NllProfile | None = None

    def to_data(self) -> dict[str, Any]:
        """For JSON, without what is as if it were not said: a contract of many columns is to stay small."""
        data = dataclasses.asdict(self)
        usual = {field.name: field.default for field in dataclasses.fields(ColumnProfile)}
        for role in ("event", "condition"):
            data[role] = [{key: value for key, value in c.items() if value != usual[key]} for c in data[role]]
        if self.nll is not None and self.nll.effective_rows is None:
            del data["nll"]["effective_rows"]
        return data


def _ascends(numbers: tuple[float, ...]) -> bool:
    return all(map(math.isfinite, numbers)) and all(low < high for low, high in itertools.pairwise(numbers))
