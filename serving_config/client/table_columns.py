"""Which columns of a table go into a model, and what becomes of its answers.

A server knows how many there are, and not their names: a contract or the caller says that.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from export.contract import (
    ONE_COLUMN,
    SEVERAL_COLUMNS,
    Contract,
    ContractError,
    check_column_names,
    find_version,
    read_contract,
)
from maf_serving.answers import LOG_PROB, RowQuestion, level_name
from maf_serving.columns import ConditionColumn
from maf_serving.model_inputs import CONDITIONAL_INPUT, make_inputs, renamed_columns
from serving_config.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from serving_config.client.options import CallOptions

_INPUTS = {
    "log_prob": ("x", CONDITIONAL_INPUT),
    "inverse": ("x", CONDITIONAL_INPUT),
    "forward": ("z", CONDITIONAL_INPUT),
    "sample_with_seed": (CONDITIONAL_INPUT,),
    "summarize": (CONDITIONAL_INPUT,),
    "quantile": (CONDITIONAL_INPUT,),
    "cdf": ("x", CONDITIONAL_INPUT),
    "conditional_cdf": ("x", CONDITIONAL_INPUT),
}
_SIGNATURES = {"sample": "sample_with_seed"}  # of operations that are called otherwise
MODELS_DIR = Path("models")  # where `maf-serving export --model models/demo` is told to put a model, here as there


@dataclasses.dataclass(frozen=True, slots=True)
class Columns:
    """Which columns a model has, in its order.

    Attributes:
      event: names of the columns of `x`.
      conditional: names of the entries of `conditional_input`.
      raw_condition: the columns that those are made of, where they are others.
      dtype: of the model, where a contract says it.
      contract: the contract, if there is one.
    """

    event: tuple[str, ...]
    conditional: tuple[str, ...]
    raw_condition: tuple[ConditionColumn, ...] = ()
    dtype: str | None = None
    contract: Contract | None = None

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
    columns = Columns(event, entries, raw_condition, contract.dtype, contract)
    if not given:
        raw = (column.name for column in contract.raw_condition_columns)
        names = f"{', '.join(columns.event)} | {', '.join(raw)}"
        note(f"columns {names}: from {source}; --model names another")
    return columns


def row_questions(options: CallOptions, columns: Columns, dtype: Callable[[str, str], str]) -> list[RowQuestion]:
    """What is asked about each row: one question, or one for each level of `quantile`; of draws, the inputs alone.

    Args:
      options: what is wanted.
      columns: of the model.
      dtype: of an input of a signature of the served model.

    Raises:
      UsageError: the model cannot answer that, or its columns cannot be had from the table.
    """
    event = columns.event
    signature_name = _SIGNATURES.get(options.operation, options.operation)
    if options.operation == "cdf" and len(event) > 1:
        signature_name = "conditional_cdf"
    needed = [name for name in _INPUTS[signature_name] if name != CONDITIONAL_INPUT or columns.conditional]
    if not needed:
        raise UsageError(
            "the model has no conditional columns, so there is nothing to read from --input; ask from Python with "
            "Client.sample(num_samples=...), Client.summarize() or Client.quantile(0.9)"
        )
    if columns.contract is not None and signature_name in {*ONE_COLUMN, *SEVERAL_COLUMNS}:
        columns.contract.signature(signature_name)  # which says why there is none
    inputs = make_inputs(
        needed,
        event=event,
        condition=columns.raw_condition or [ConditionColumn(name=name) for name in columns.conditional],
        encodes=bool(columns.raw_condition),
        dtype=columns.dtype or dtype(signature_name, needed[0]),
    )
    outputs: dict[str, dict[str, tuple[str, ...]]] = {
        "log_prob": {LOG_PROB: (LOG_PROB,)},
        "inverse": {"z": columns.base, LOG_PROB: (LOG_PROB,)},
        "forward": {"x": event},
        "cdf": {"cdf": ("cdf",)},
        "conditional_cdf": {"conditional_cdf": tuple(f"cdf_{name}" for name in event)},
        "sample_with_seed": {"x": event, LOG_PROB: (LOG_PROB,)},
    }
    if signature_name == "summarize":
        outputs["summarize"] = _summary_columns(columns)
    if signature_name != "quantile":
        return [RowQuestion(signature_name=signature_name, inputs=inputs, outputs=outputs[signature_name])]
    return [
        RowQuestion(
            signature_name="quantile",
            inputs=inputs,
            outputs={"x": tuple(f"{name}_{level_name(level)}" for name in event)},
            constants={"probability": level},
        )
        for level in options.levels
    ]


def _summary_columns(columns: Columns) -> dict[str, tuple[str, ...]]:
    event, contract = columns.event, columns.contract
    if contract is None or contract.answers is None:
        raise UsageError(
            "summarize needs the levels of the model's quantiles, which a server does not know; say --model DIR (an "
            "exported version) or --contract FILE"
        )
    return {
        "mean": tuple(f"{name}_mean" for name in event),
        "stddev": tuple(f"{name}_stddev" for name in event),
        "quantiles": tuple(
            f"{name}_{level_name(level)}" for name in event for level in contract.answers.quantile_levels
        ),
    }


def _read(options: CallOptions, usual: Path) -> tuple[Contract, Path]:
    if options.contract is not None:
        return Contract.from_json(options.contract.read_text(encoding="utf-8")), options.contract
    version_dir = find_version(usual if options.model is None else options.model)
    return read_contract(version_dir), version_dir
