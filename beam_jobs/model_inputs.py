"""Which input columns become which input of a signature."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from beam_jobs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from export.contract import Contract


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelInputs:
    """Which columns make up which input of a signature, and in which precision.

    Attributes:
      columns: by name of the signature's input, the columns that are its last dimension, in order.
      dtype: `"float32"` or `"float64"`.
    """

    columns: Mapping[str, tuple[str, ...]]
    dtype: str

    @property
    def names(self) -> tuple[str, ...]:
        """All columns the signature needs."""
        return tuple(name for columns in self.columns.values() for name in columns)


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
      conditional_columns: the same for the conditional columns.

    Raises:
      ContractError: there is no such signature.
      UsageError: another number of names than the model has columns, or a name twice.
    """
    columns = {
        "x": _named("--event_columns", event_columns, contract.event_columns),
        "conditional_input": _named("--conditional_columns", conditional_columns, contract.conditional_columns),
    }
    inputs = contract.signature(signature_name).inputs
    used = {name: columns[name] for name in columns if name in inputs}
    names = [name for group in used.values() for name in group]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if repeated:
        raise UsageError(f"input column(s) {', '.join(repeated)} named for more than one column of the model")
    return ModelInputs(columns=used, dtype=contract.dtype)


def _named(flag: str, names: tuple[str, ...], expected: tuple[str, ...]) -> tuple[str, ...]:
    if names and len(names) != len(expected):
        raise UsageError(
            f"{flag} names {len(names)} column(s): {', '.join(names)}; "
            f"the model expects {len(expected)}: {', '.join(expected) or 'none'}"
        )
    return names or expected
