"""Which columns of a table go into a model, and what becomes of its answers.

A contract or the caller says their names, or the server, of a model that takes a tensor for each column.
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
from maf_serving.answers import LOG_PROB, SUMMARIZE, RowQuestion, answer_columns
from maf_serving.columns import ConditionColumn
from maf_serving.condition_range import ranges_for
from maf_serving.model_inputs import CONDITIONAL_INPUT, bounds_of_x, make_inputs, renamed_columns
from serving_config.client.served_columns import ServedColumns
from serving_config.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from maf_serving.model_inputs import ModelInputs
    from maf_serving.row_seeds import Identity
    from serving_config.client.client import Client
    from serving_config.client.options import CallOptions
    from serving_config.client.transport import ModelMetadata

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
      served: what the server says of them, if nobody else does.
    """

    event: tuple[str, ...]
    conditional: tuple[str, ...]
    raw_condition: tuple[ConditionColumn, ...] = ()
    dtype: str | None = None
    contract: Contract | None = None
    served: ServedColumns | None = None


def resolve_columns(
    options: CallOptions,
    in_file: Sequence[str],
    *,
    note: Callable[[str], None],
    client: Client,
    times: Collection[str] = (),
) -> Columns:
    """The columns that the contract or the flags name.

    Without either, `models/<model_name>` is the model if it is there, else the server is asked; `note` is told so,
    and `times`, the columns that hold points in time, are sent as these.

    Raises:
      UsageError: nothing names them, or too much does, or the contract cannot be read.
    """
    named = bool(options.event_columns or options.conditional_columns)
    given = (options.model is not None) + (options.contract is not None) + named
    usual = MODELS_DIR / options.model_spec.name
    if given > 1:
        raise _which(options, in_file, "They were named more than once", "more than one")
    if not given and not usual.is_dir():
        return _ask_server(options, in_file, times, client.metadata(), note)
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


def _ask_server(
    options: CallOptions,
    in_file: Sequence[str],
    times: Collection[str],
    metadata: ModelMetadata,
    note: Callable[[str], None],
) -> Columns:
    served = ServedColumns.of(metadata, in_file, options.rename, times)
    model = f"version {metadata.version} of model {metadata.name}"
    if served is None:
        raise _which(options, in_file, f"The server knows no names: {model} has no log_prob_columns", "none")
    condition = tuple(column.name for column in served.condition)
    note(f"columns {', '.join(served.event)} | {', '.join(condition)}: as the server has them, of {model}")
    return Columns(served.event, condition, served.condition, "float64", served=served)


def _which(options: CallOptions, in_file: Sequence[str], why: str, came: str) -> UsageError:
    return UsageError(
        f"which columns of {options.input_path} ({', '.join(in_file)}) go into the model? {why}; say --model DIR (an "
        f"exported version), or --contract FILE, or --event COLUMNS --condition COLUMNS; {came} of them came"
    )


def find_inputs(options: CallOptions, columns: Columns, dtype: Callable[[str, str], str]) -> ModelInputs:
    """What is made of the table's columns for the signature that is asked.

    Args:
      options: what is wanted.
      columns: of the model.
      dtype: of an input of a signature of the served model.

    Raises:
      UsageError: the model cannot answer that, or its columns cannot be had from the table.
    """
    signature_name = _signature_name(options, columns)
    needed = [name for name in _INPUTS[signature_name] if name != CONDITIONAL_INPUT or columns.conditional]
    if not needed:
        raise UsageError(
            "the model has no conditional columns, so there is nothing to read from --input; ask from Python with "
            "Client.sample(num_samples=...), Client.summarize() or Client.quantile(0.9)"
        )
    if columns.served is not None and signature_name != SUMMARIZE:
        columns.served.signature_name(signature_name)  # which says that there is none
    if columns.contract is not None and signature_name in {*ONE_COLUMN, *SEVERAL_COLUMNS}:
        columns.contract.signature(signature_name)  # which says why there is none
    training = columns.contract.training if columns.contract is not None else None
    inputs = make_inputs(
        needed,
        event=columns.event,
        condition=columns.raw_condition or [ConditionColumn(name=name) for name in columns.conditional],
        encodes=bool(columns.raw_condition),
        dtype=columns.dtype or dtype(signature_name, needed[0]),
        bounds={} if columns.contract is None else bounds_of_x(columns.contract, signature_name),
        profile=training.profile if training is not None else None,
    )
    if columns.contract is None and options.on_out_of_range != "count":
        raise UsageError(
            "--out_of_range and --reject_out_of_range need the ranges in the model's contract, which a server does not "
            "tell; say --model DIR (an exported version) or --contract FILE"
        )
    ranges = ranges_for(inputs.ranges, options.on_out_of_range, model=f"the contract of {options.model_spec.name}")
    return dataclasses.replace(inputs, ranges=ranges)


def row_questions(
    options: CallOptions, columns: Columns, inputs: ModelInputs, identity: Identity, batch_rows: int
) -> list[RowQuestion]:
    """What is asked about each row: one question, or one for each level of `quantile`; of draws see `DrawQuestion`.

    Args:
      options: what is wanted.
      columns: of the model.
      inputs: see `find_inputs`.
      identity: of the rows, for their seeds.
      batch_rows: rows that are answered at a time.

    Raises:
      UsageError: nobody says the levels of the quantiles in a summary.
    """
    signature_name = _signature_name(options, columns)
    if columns.served is not None and signature_name != SUMMARIZE:
        questions = columns.served.questions(signature_name, inputs, options.levels)
        return [dataclasses.replace(question, rows_at_a_time=batch_rows) for question in questions]
    groups: list[tuple[float, ...]] = [()]
    if signature_name == "quantile":
        groups = [(level,) for level in options.levels]
    elif signature_name == SUMMARIZE:
        if columns.contract is None or columns.contract.answers is None:
            raise UsageError(
                "summarize needs the levels of the model's quantiles, which a server does not know; say --model DIR "
                "(an exported version) or --contract FILE"
            )
        groups = [columns.contract.answers.quantile_levels]
    return [
        RowQuestion(
            signature_name=signature_name,
            inputs=inputs,
            outputs=_log_prob_last(answer_columns(signature_name, columns.event, levels)),
            identity=identity if signature_name == SUMMARIZE else None,
            constants={"probability": levels[0]} if signature_name == "quantile" else {},
            rows_at_a_time=batch_rows,
        )
        for levels in groups
    ]


def _signature_name(options: CallOptions, columns: Columns) -> str:
    if options.operation == "cdf" and len(columns.event) > 1:
        return "conditional_cdf"
    return _SIGNATURES.get(options.operation, options.operation)


def _log_prob_last(outputs: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    return dict(sorted(outputs.items(), key=lambda output: output[0] == LOG_PROB))


def _read(options: CallOptions, usual: Path) -> tuple[Contract, Path]:
    if options.contract is not None:
        return Contract.from_json(options.contract.read_text(encoding="utf-8")), options.contract
    version_dir = find_version(usual if options.model is None else options.model)
    return read_contract(version_dir), version_dir
