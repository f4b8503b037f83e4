"""The raw columns of a condition from a JSON file, written as in a contract: a list of `ConditionColumn`s."""

from __future__ import annotations

from pathlib import Path

from export.errors import OptionError
from maf_serving.columns import ConditionColumn
from maf_serving.errors import ContractError
from maf_serving.strict_json import parse_json, read_value


def read_condition_columns(path: Path) -> tuple[ConditionColumn, ...]:
    """The columns in the file, in order.

        [{"name": "season"}, {"name": "region", "kind": "string", "vocabulary": ["north", "south"], "nullable": true}]

    Raises:
      OptionError: if the file cannot be read, or is no such list.
    """
    try:
        data = parse_json(path.read_text(encoding="utf-8"), "file", error=ContractError)
        columns: tuple[ConditionColumn, ...] = read_value(
            tuple[ConditionColumn, ...], data, "the file", error=ContractError
        )
    except OSError as error:
        raise OptionError(f"condition_columns {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # of UTF-8, of JSON, of a column
        raise OptionError(
            f'condition_columns {path}: {error}; expected a JSON list such as [{{"name": "season"}}, '
            '{"name": "region", "kind": "string", "vocabulary": ["north", "south"], "nullable": true}]'
        ) from error
    if not columns:
        raise OptionError(f"condition_columns {path} has no columns; leave it out for an unconditional model")
    return columns
