"""Which columns of a table go into a model, and in which order.

A server knows how many there are, and not their names: a contract or the caller says that.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from export.contract import Contract, ContractError, check_column_names, find_version, read_contract
from maf_serving.columns import ConditionColumn
from maf_serving.model_inputs import renamed_columns
from serving_config.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serving_config.client.options import CallOptions

MODELS_DIR = Path("models")  # where `maf-serving export --model models/demo` is told to put a model, here as there


@dataclasses.dataclass(frozen=True, slots=True)
class Columns:
    """Which columns a model has, in its order.

    Attributes:
      event: names of the columns of `x`.
      conditional: names of the entries of `conditional_input`.
      raw_condition: the columns that those are made of, where they are others.
      dtype: of the model, where a contract says it.
    """

    event: tuple[str, ...]
    conditional: tuple[str, ...]
    raw_condition: tuple[ConditionColumn, ...] = ()
    dtype: str | None = None

    @property
    def base(self) -> tuple[str, ...]:
        """Names of the columns of a point in base space."""
        return tuple(f"z_{name}" for name in self.event)


def resolve_columns(options: CallOptions, in_file: Sequence[str], *, note: Callable[[str], None]) -> Columns:
    """The columns that the contract or the flags name.

    Without either, `models/<model_name>` is the model if it is there, and `note` is told so.

    Raises:
      UsageError: neither names them, both do, or the contract cannot be read.
    """
    named = bool(options.event_columns or options.conditional_columns)
    given = (options.model is not None) + (options.contract is not None) + named
    usual = MODELS_DIR / options.model_spec.name
    if given > 1 or (not given and not usual.is_dir()):
        raise UsageError(
            f"which columns of {options.input_path} ({', '.join(in_file)}) go into the model? A server does not know "
            "names; say --model DIR (an exported version), or --contract FILE, or --event COLUMNS "
            f"--condition COLUMNS; {'more than one' if given else 'none'} of them came"
        )
    try:
        if named:
            check_column_names(options.event_columns, options.conditional_columns)
            return Columns(options.event_columns, options.conditional_columns)
        contract, source = _read(options, usual)
    except (ContractError, OSError) as error:
        raise UsageError(str(error)) from error
    event, condition = renamed_columns(contract, options.rename)
    raw_condition = tuple(
        dataclasses.replace(column, name=name)
        for column, name in zip(contract.condition_columns, condition, strict=False)  # no raw ones: all plain
    )
    entries = contract.conditional_columns if raw_condition else condition
    columns = Columns(event, entries, raw_condition, contract.dtype)
    if not given:
        raw = (column.name for column in contract.raw_condition_columns)
        names = f"{', '.join(columns.event)} | {', '.join(raw)}"
        note(f"columns {names}: from {source}; --model names another")
    return columns


def _read(options: CallOptions, usual: Path) -> tuple[Contract, Path]:
    if options.contract is not None:
        return Contract.from_json(options.contract.read_text(encoding="utf-8")), options.contract
    version_dir = find_version(usual if options.model is None else options.model)
    return read_contract(version_dir), version_dir
