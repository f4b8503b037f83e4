"""Which columns of a table become which input of a signature, and rows on their way into the model.

The columns of an input are stacked to a matrix. Where the model encodes its condition itself, the raw columns of the
condition go to its signature `encode_condition` first, which gives `conditional_input`.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from maf_serving.condition_range import ConditionRanges, condition_ranges
from maf_serving.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from maf_serving.arrow_columns import Mask
    from maf_serving.columns import ConditionColumn
    from maf_serving.training_profile import TrainingProfile

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Bounds = Mapping[str, tuple[float | None, float | None]]
"""By name of a column, the least and the greatest value that it can have; `None` for any."""
ENCODE_CONDITION = "encode_condition"
CONDITIONAL_INPUT = "conditional_input"


class SignatureProtocol(Protocol):
    """One function of an exported model."""

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What is known of its inputs, by their names."""


class AnswersProtocol(Protocol):
    """What a model says of its summaries."""

    @property
    def quantile_levels(self) -> tuple[float, ...]:
        """Levels of the quantiles."""

    @property
    def num_draws(self) -> int | None:
        """Of each row; `None` where summaries are exact."""


class TrainingProtocol(Protocol):
    """What a model says of its training."""

    @property
    def profile(self) -> TrainingProfile | None:
        """What it saw of each column; `None` where nobody knows."""


class ContractProtocol(Protocol):
    """What a model says of its columns; see `export.contract.Contract`."""

    @property
    def event_columns(self) -> tuple[str, ...]:
        """Names of the columns of `x`."""

    @property
    def event_bounds(self) -> Bounds:
        """Of the event columns that have any."""

    @property
    def condition_columns(self) -> Sequence[ConditionColumn]:
        """The raw columns that the model encodes to `conditional_input` itself; empty where it does not."""

    @property
    def raw_condition_columns(self) -> Sequence[ConditionColumn]:
        """The raw columns of the condition, whoever encodes them."""

    @property
    def answers(self) -> AnswersProtocol | None:
        """How it summarizes; `None` where it does not."""

    @property
    def training(self) -> TrainingProtocol | None:
        """How it was trained; `None` where nobody knows."""

    @property
    def dtype(self) -> str:
        """`"float32"` or `"float64"`."""

    def signature(self, name: str) -> SignatureProtocol:
        """The function of that name; raises where there is none."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RawColumn:
    """A raw column of the condition: what the input calls it, and what the contract says of it."""

    name: str
    column: ConditionColumn


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelInputs:
    """Which columns make up which input of a signature, and in which precision.

    Attributes:
      columns: by name of the signature's input, the columns that are its last dimension, in order.
      dtype: `"float32"` or `"float64"`.
      condition: the raw columns that the model encodes to `conditional_input`; empty where that is one of `columns`,
        or the model has no condition.
      bounds: of those of `columns` that have any; a row beyond has no density.
      ranges: of the columns of the condition; `None` where the model knows none, or its condition is not asked for.
    """

    columns: Mapping[str, tuple[str, ...]]
    dtype: str
    condition: tuple[RawColumn, ...] = ()
    bounds: Bounds = dataclasses.field(default_factory=dict)
    ranges: ConditionRanges | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """All columns the signature needs."""
        return (*self.numeric_names, *(raw.name for raw in self.condition))

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """The columns that go into `columns`: every value is to be a number."""
        return tuple(name for columns in self.columns.values() for name in columns)

    @property
    def categories(self) -> Mapping[str, str]:
        """The columns of the input that hold categories: by name, their kind, `"string"` or `"integer"`."""
        return {raw.name: raw.column.kind for raw in self.condition if raw.column.is_category}

    @property
    def kinds(self) -> Mapping[str, str]:
        """Of all columns that the signature needs, by name: their kind of `CONDITION_KINDS`."""
        return dict.fromkeys(self.numeric_names, "number") | {raw.name: raw.column.kind for raw in self.condition}


def model_inputs(
    contract: ContractProtocol,
    signature_name: str,
    *,
    event_columns: tuple[str, ...] = (),
    conditional_columns: tuple[str, ...] = (),
) -> ModelInputs:
    """The columns that the inputs of a signature of an exported model are made of. See `make_inputs`.

    Raises:
      ContractError: there is no such signature, or none that encodes raw columns.
      UsageError: another number of names than the model has columns, or a name twice.
    """
    needed = contract.signature(signature_name).inputs
    encodes = bool(contract.condition_columns)
    if encodes and CONDITIONAL_INPUT in needed:
        contract.signature(ENCODE_CONDITION)
    return make_inputs(
        tuple(needed),
        event=contract.event_columns,
        condition=contract.raw_condition_columns,
        encodes=encodes,
        dtype=contract.dtype,
        event_columns=event_columns,
        conditional_columns=conditional_columns,
        profile=contract.training.profile if contract.training is not None else None,
        bounds=bounds_of_x(contract, signature_name),
    )


def bounds_of_x(contract: ContractProtocol, signature_name: str) -> Bounds:
    """Those that rows are held to that go into a signature: none for `cdf`, which is 0 or 1 beyond them."""
    return {} if signature_name == "cdf" else contract.event_bounds


def conditions_alone(inputs: ModelInputs) -> ModelInputs:
    """The inputs without event columns, for what is asked of conditions alone."""
    columns = {name: columns for name, columns in inputs.columns.items() if name == CONDITIONAL_INPUT}
    return dataclasses.replace(inputs, columns=columns)


def renamed_columns(
    contract: ContractProtocol, rename: Sequence[tuple[str, str]]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The table's names of a model's event columns, and of the raw columns of its condition.

        renamed_columns(contract, [("price", "p")])  # (("p", "volume"), ("season",))

    Args:
      contract: of the model.
      rename: pairs of the model's name of a column and the table's; of columns that are not in it the names agree.

    Raises:
      UsageError: the model has no such column, or one is named twice.
    """
    event, condition = contract.event_columns, tuple(column.name for column in contract.raw_condition_columns)
    names = dict(rename)
    if len(names) < len(rename):
        twice = next(name for name, _ in rename if [each for each, _ in rename].count(name) > 1)
        raise UsageError(f"--rename has {twice!r} twice; expected each of the model's columns once")
    for name in names:
        if name not in (*event, *condition):
            close = difflib.get_close_matches(name, [*event, *condition], n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join([*event, *condition])}"
            raise UsageError(f"--rename has {name!r}, which is no column of the model; {hint}")
    return tuple(names.get(name, name) for name in event), tuple(names.get(name, name) for name in condition)


def make_inputs(
    needed: Sequence[str],
    *,
    event: tuple[str, ...],
    condition: Sequence[ConditionColumn],
    encodes: bool,
    dtype: str,
    event_columns: tuple[str, ...] = (),
    conditional_columns: tuple[str, ...] = (),
    bounds: Bounds = types.MappingProxyType({}),
    profile: TrainingProfile | None = None,
) -> ModelInputs:
    """The columns that a signature's inputs are made of.

    Args:
      needed: names of the signature's inputs. Of `x`, `z` and `conditional_input` it is said what they are made of.
      event: names of the model's event columns.
      condition: the raw columns of its condition.
      encodes: whether the model itself makes `conditional_input` of them, and they are not all plain numbers.
      dtype: of the model, `"float32"` or `"float64"`.
      event_columns: the table's names of the event columns, in the model's order; empty where they agree.
      conditional_columns: the same for the raw columns of the condition.
      bounds: of the model's event columns.
      profile: what training saw of these columns; `None` where nobody knows.

    Raises:
      UsageError: another number of names than the model has columns, or a name twice.
    """
    named = _named("--event_columns", event_columns, event)
    conditional = _named("--conditional_columns", conditional_columns, tuple(column.name for column in condition))
    columns = {"x": named, "z": tuple(f"z_{name}" for name in named), CONDITIONAL_INPUT: conditional}
    raw: tuple[RawColumn, ...] = ()
    if encodes and CONDITIONAL_INPUT in needed:
        raw = tuple(RawColumn(name=name, column=column) for name, column in zip(conditional, condition, strict=True))
        del columns[CONDITIONAL_INPUT]
    used = {name: columns[name] for name in columns if name in needed}
    held = {ours: bounds[name] for ours, name in zip(named, event, strict=True) if name in bounds and "x" in needed}
    ranges = None
    if profile is not None and condition and CONDITIONAL_INPUT in needed:
        ranges = condition_ranges(condition, profile.condition, conditional, dtype)
    inputs = ModelInputs(columns=used, dtype=dtype, condition=raw, bounds=held, ranges=ranges)
    repeated = [name for name in dict.fromkeys(inputs.names) if inputs.names.count(name) > 1]
    if repeated:
        raise UsageError(f"input column(s) {', '.join(repeated)} named for more than one column of the model")
    return inputs


def _named(flag: str, names: tuple[str, ...], expected: tuple[str, ...]) -> tuple[str, ...]:
    if names and len(names) != len(expected):
        raise UsageError(
            f"{flag} names {len(names)} column(s): {', '.join(names)}; "
            f"the model expects {len(expected)}: {', '.join(expected) or 'none'}"
        )
    return names or expected


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RawCondition:
    """Raw conditions of some rows.

    Attributes:
      inputs: of `encode_condition`, `[R, ...]`; text is bytes.
      rows: which of the R each of B rows has; `None` where they are the same rows.
    """

    inputs: Arrays
    rows: npt.NDArray[np.int64] | None = None

    def filter(self, mask: Mask) -> RawCondition:
        """Those of the rows where the mask `[B]` is true."""
        if self.rows is not None:
            return dataclasses.replace(self, rows=self.rows[mask])
        return RawCondition(inputs={name: array[mask] for name, array in self.inputs.items()})

    def repeat(self, rows: npt.NDArray[np.int64]) -> RawCondition:
        """Those of the rows with these numbers, ascending; a row that comes several times is encoded once."""
        first, last = (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)
        return RawCondition(inputs={name: array[first:last] for name, array in self.inputs.items()}, rows=rows - first)


class ModelRows(Protocol):
    """Rows that a signature is run on: `ScoreableRows`, `Draws`, or another dataclass with these fields."""

    @property
    def inputs(self) -> Arrays:
        """By name of the signature's input, `[B, ...]`."""

    @property
    def condition(self) -> RawCondition | None:
        """What `conditional_input` is still to be made of; `None` where it is among the inputs, or there is none."""


RowsT = TypeVar("RowsT", bound=ModelRows)


def encode_rows(rows: RowsT, run: Callable[[str, Arrays], Arrays]) -> RowsT:
    """The rows with the condition among their inputs, as the model encodes it.

    Args:
      rows: that may have a raw condition.
      run: runs a signature, by its name, on inputs, and gives its outputs.
    """
    if rows.condition is None:
        return rows
    encoded = run(ENCODE_CONDITION, rows.condition.inputs)[CONDITIONAL_INPUT]
    if rows.condition.rows is not None:
        encoded = encoded[rows.condition.rows]
    return dataclasses.replace(  # type: ignore[type-var]  # a protocol cannot ask for a dataclass
        rows, inputs={**rows.inputs, CONDITIONAL_INPUT: encoded}, condition=None
    )


def count_bytes(rows: ModelRows) -> int:
    """Bytes of the arrays that go into the model."""
    arrays = [*rows.inputs.values(), *(rows.condition.inputs.values() if rows.condition else ())]
    return sum(array.nbytes for array in arrays)
