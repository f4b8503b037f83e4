"""Where training saw conditions, and which rows lie outside of it.

    TrainingProfile -> ConditionRanges -> outside_of()       masks of rows, by column: batch jobs, Python, the client
                             |
                             +--------> encoded_bounds()     [C] each: `in_range` of the served model

A number is outside beyond the smallest and the largest that training saw, by more than a hundredth of their distance;
of a column that was constant, any other value is. A category is outside if the model does not know it and training saw
none that it does not know; a null, where training saw none. Of a point in time the days that pass are such a number;
its places in the day, the week and the year come round again. Both ways of asking give the same: the bounds are those
of the encoded entries, of which a category has one for each value, 1 where it is that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from maf_serving.errors import UsageError
from maf_serving.time_parts import TREND, part_names

if TYPE_CHECKING:
    from maf_serving.arrow_columns import Floats, Mask
    from maf_serving.columns import ConditionColumn
    from maf_serving.flags import OnOutOfRange
    from maf_serving.training_profile import ColumnProfile

MARGIN = 0.01
"""Share of the distance between the smallest and the largest number, by which one may be beyond them."""
OUT_OF_RANGE = "out_of_range"
_STEPS = 4  # of the type, for what is rounded on the way


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ColumnRange:
    """What is in the range of one raw column.

    Attributes:
      name: what the table calls the column.
      lower, upper: of a number without its offset, or of the days of a point in time, ends included; rounded outward in
        the model's type.
      others: whether training saw categories that the model does not know.
      nulls: whether training saw nulls, or taught what they mean.
    """

    name: str
    lower: float = -np.inf
    upper: float = np.inf
    others: bool = True
    nulls: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConditionRanges:
    """The ranges of a model's condition, and what becomes of rows outside.

    Attributes:
      columns: by raw column, in the model's order.
      then: what becomes of rows that are outside of one.
    """

    columns: tuple[ColumnRange, ...]
    then: OnOutOfRange = "count"


def condition_ranges(
    columns: Sequence[ConditionColumn], profiles: Sequence[ColumnProfile], names: Sequence[str], dtype: str
) -> ConditionRanges:
    """The ranges that training saw.

    Args:
      columns: the raw columns of the condition, in the model's order.
      profiles: of each.
      names: what the table calls them.
      dtype: of the model.
    """
    ranges = []
    for column, profile, name in zip(columns, profiles, names, strict=True):
        lower, upper = _bounds(column, column.unit, profile, dtype) if column.unit is not None else (-np.inf, np.inf)
        nulls = bool(profile.nulls) or profile.null_is_trained
        ranges.append(ColumnRange(name=name, lower=lower, upper=upper, others=profile.others > 0, nulls=nulls))
    return ConditionRanges(columns=tuple(ranges))


def _bounds(column: ConditionColumn, unit: float, profile: ColumnProfile, dtype: str) -> tuple[float, float]:
    if profile.quantiles is None:  # all null, which is encoded as 0: any number is news
        return 0.0, 0.0
    least, most = profile.quantiles.minimum, profile.quantiles.maximum
    margin = MARGIN * (most - least)
    with np.errstate(over="ignore"):
        ends = np.array([least - column.offset - margin, most - column.offset + margin])
        ends = (ends / unit).astype(dtype)
        rounding = _STEPS * np.spacing(np.abs(ends).clip(max=np.finfo(dtype).max))
        lower, upper = ends + rounding * np.array([-1, 1], dtype)
    return float(lower), float(upper)


def encoded_bounds(
    columns: Sequence[ConditionColumn], ranges: ConditionRanges, dtype: str
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The bounds `[C]` of each entry of `conditional_input`, ends included.

    Args:
      columns: the raw columns, in the model's order.
      ranges: of these.
      dtype: of the model.
    """
    lower: list[float] = []
    upper: list[float] = []
    for column, each in zip(columns, ranges.columns, strict=True):
        if column.is_category:
            lower += [0.0] * (len(column.vocabulary) + 1)
            upper += [*([1.0] * len(column.vocabulary)), float(each.others)]
        elif column.is_time:
            for part in column.parts:
                bounds = (each.lower, each.upper) if part == TREND else (-np.inf, np.inf)  # the others come round again
                entries = len(part_names(column.name, [part], column.offset))
                lower += [bounds[0]] * entries
                upper += [bounds[1]] * entries
        else:
            lower.append(each.lower)
            upper.append(each.upper)
        if column.nullable:
            lower.append(0.0)
            upper.append(float(each.nulls))
    return np.array(lower, dtype), np.array(upper, dtype)


def numbers_outside(ranges: ConditionRanges, columns: Sequence[Floats], dtype: str) -> dict[str, Mask]:
    """Which numbers are outside, of a column `[B]` for each range: a mask `[B]` for columns that have any.

    Cost: two passes over a column of which all are inside, which is nearly always.
    """
    found = {}
    for each, numbers in zip(ranges.columns, columns, strict=True):
        if len(numbers) and not (numbers.min() >= each.lower and numbers.max() <= each.upper):  # NaN is neither
            with np.errstate(over="ignore"):
                outside = values_outside(each, numbers=numbers.astype(dtype), unknown=None, null=None)
            if outside is not None:
                found[each.name] = outside
    return found


def values_outside(
    each: ColumnRange, *, numbers: Floats | None, unknown: Mask | None, null: Mask | None
) -> Mask | None:
    """Which values `[B]` of a column are outside; `None` if none is.

    Args:
      each: its range.
      numbers: of a number, without its offset, in the model's type, or of the days of a point in time; NaN for null.
      unknown: of a category, where the model does not know it.
      null: where there is no value.
    """
    found = [] if numbers is None else [(numbers < each.lower) | (numbers > each.upper)]
    found += [unknown] if unknown is not None and not each.others else []
    found += [null] if null is not None and not each.nulls else []
    outside = [mask for mask in found if mask.any()]
    return np.logical_or.reduce(outside) if outside else None


def any_outside(outside: Mapping[str, Mask]) -> Mask:
    """The rows `[B]` that are outside in a column; there is one at least."""
    rows: Mask = np.logical_or.reduce(list(outside.values()))
    return rows


def join_names(outside: Mapping[str, Mask], rows: int) -> pa.StringArray:
    """The names of the columns in which each row `[B]` is outside, comma separated; empty for none.

        >>> join_names({"age": np.array([True, False]), "income": np.array([True, True])}, 2).to_pylist()
        ['age,income', 'income']

    Args:
      outside: by name of a column, a mask `[B]`.
      rows: B.
    """
    kinds, texts = np.zeros(rows, np.int32), [""]
    if outside:
        flagged = np.flatnonzero(any_outside(outside))
        # most rows are alike: their text is made once
        masks = np.stack([mask[flagged] for mask in outside.values()], axis=1)
        patterns, places = np.unique(np.packbits(masks, axis=1), axis=0, return_inverse=True)
        names = list(outside)
        alike = np.unpackbits(patterns, axis=1, count=len(names)).astype(bool)
        texts += [",".join(name for name, is_outside in zip(names, kind, strict=True) if is_outside) for kind in alike]
        kinds[flagged] = places.reshape(-1) + 1
    return pa.array(texts, pa.string()).take(pa.array(kinds))


def ranges_for(ranges: ConditionRanges | None, on_out_of_range: OnOutOfRange, *, model: str) -> ConditionRanges | None:
    """The ranges with what is to become of rows outside.

    Args:
      ranges: of the model; `None` if it knows none.
      on_out_of_range: what was asked for.
      model: what the model is called, in errors.

    Raises:
      UsageError: something was asked for, and the model knows no ranges.
    """
    if ranges is not None:
        return dataclasses.replace(ranges, then=on_out_of_range)
    if on_out_of_range == "count":
        return None
    raise UsageError(
        f"{'--out_of_range' if on_out_of_range == 'name' else '--reject_out_of_range'}: {model} knows no ranges of its "
        "condition: it has none, or its owner trained it, or an earlier version of maf-serving; train it again with "
        "`maf-serving train`, or leave the flag out"
    )
