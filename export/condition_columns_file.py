"""The raw columns of a condition from a JSON file, written as in a contract: a list of `ConditionColumn`s."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from export.condition_columns import ConditionColumn, condition_column_from_json
from export.contract_json import typed
from export.errors import OptionError


def read_condition_columns(path: Path) -> tuple[ConditionColumn, ...]:
    """The columns in the file, in order.

        [{"name": "season"}, {"name": "region", "kind": "string", "vocabulary": ["north", "south"], "nullable": true}]

    Raises:
      OptionError: if the file cannot be read, or is no such list.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        listed: list[Any] = typed(data, list, "the file")
        columns = tuple(condition_column_from_json(each, f"[{index}]") for index, each in enumerate(listed))
    except OSError as error:
        raise OptionError(f"condition_columns {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # of JSON, of UTF-8, of a contract
        raise OptionError(
            f'condition_columns {path}: {error}; expected a JSON list such as [{{"name": "season"}}, '
            '{"name": "region", "kind": "string", "vocabulary": ["north", "south"], "nullable": true}]'
        ) from error
    if not columns:
        raise OptionError(f"condition_columns {path} has no columns; leave it out for an unconditional model")
    return columns
