"""Which input columns become which input of a signature."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from beam_jobs.errors import UsageError
from beam_jobs.raw_condition import CONDITIONAL_INPUT, ENCODE_CONDITION, RawColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from export.contract import Contract


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelInputs:
    """Which columns make up which input of a signature, and in which precision.

    Attributes:
      columns: by name of the signature's input, the columns that are its last dimension, in order.
      dtype: `"float32"` or `"float64"`.
      condition: the raw columns that the model encodes to `conditional_input`; empty where that is one of `columns`,
        or the model has no condition.
    """

    columns: Mapping[str, tuple[str, ...]]
    dtype: str
    condition: tuple[RawColumn, ...] = ()

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


def model_inputs(
    contract: Contract,
    signature_name: str,
    *,
    event_columns: tuple[str, ...] = (),
    conditional_columns: tuple[str, ...] = (),
) -> ModelInputs:
    """The columns that the signature's inputs are made of.

    Args:
      contract: of the model.
      signature_name: one of its signatures.
      event_columns: the input's names of the event columns, in the model's order; empty for the contract's own.
      conditional_columns: the same for the raw columns of the condition.

    Raises:
      ContractError: there is no such signature, or none that encodes raw columns.
      UsageError: another number of names than the model has columns, or a name twice.
    """
    raw_columns = contract.raw_condition_columns
    conditional = _named("--conditional_columns", conditional_columns, tuple(column.name for column in raw_columns))
    columns = {
        "x": _named("--event_columns", event_columns, contract.event_columns),
        CONDITIONAL_INPUT: conditional,
    }
    needed = contract.signature(signature_name).inputs
    condition: tuple[RawColumn, ...] = ()
    if contract.condition_columns and CONDITIONAL_INPUT in needed:
        contract.signature(ENCODE_CONDITION)
        condition = tuple(
            RawColumn(name=name, column=column) for name, column in zip(conditional, raw_columns, strict=True)
        )
    used = {name: columns[name] for name in columns if name in needed and not (condition and name == CONDITIONAL_INPUT)}
    inputs = ModelInputs(columns=used, dtype=contract.dtype, condition=condition)
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
