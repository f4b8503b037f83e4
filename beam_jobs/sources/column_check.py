"""Whether a file has the columns that the model needs, of types that can hold them, before a row is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from beam_jobs.category_columns import is_whole
from beam_jobs.errors import UsageError
from beam_jobs.numeric_columns import is_convertible, is_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beam_jobs.model_inputs import ModelInputs
    from beam_jobs.sources.table_source import InputFile

_EXPECTED = {"number": "numbers or text", "string": "text", "integer": "whole numbers"}


def check_columns(file: InputFile, inputs: ModelInputs, *, vectors: Mapping[str, tuple[str, ...]]) -> None:
    """Raises `UsageError`, naming every column that does not serve.

    Args:
      file: what is known of it.
      inputs: the columns that the model needs.
      vectors: by name of a column that may be there instead, the columns that are its values.
    """
    if not file.schema.names:  # an empty CSV file: it has no row to score either
        return
    # Rows whose vector is no vector of that size are rejected one by one.
    optional = {name for vector in vectors if vector in file.schema.names for name in vectors[vector]}
    if file.open_ended:
        optional |= {raw.name for raw in inputs.condition if raw.column.nullable}
    columns = [name for name in inputs.names if name in file.schema.names or name not in optional]
    missing = [name for name in columns if name not in file.schema.names]
    if missing:
        raise UsageError(
            f"input column(s) {', '.join(missing)} not in {file.path}; it has: {', '.join(file.schema.names)}; "
            f"the model expects: {', '.join(inputs.names)}"
        )
    for name in columns:
        if file.schema.names.count(name) > 1:
            raise UsageError(f"{file.path} has more than one column {name}; expected each name once")
    _check_types(file, {name: inputs.categories.get(name, "number") for name in columns})


def _check_types(file: InputFile, kinds: Mapping[str, str]) -> None:
    types = {name: file.schema.field(name).type for name in kinds if name not in file.untyped}
    misfits = [name for name, column_type in types.items() if not _holds(column_type, kinds[name])]
    if misfits:
        first, *others = [f"is {types[name]}; expected {_EXPECTED[kinds[name]]}" for name in misfits]
        more = "".join(f"; and {name} {told}" for name, told in zip(misfits[1:], others, strict=True))
        raise UsageError(f"input column {misfits[0]} of {file.path} {first}{more}")


def _holds(column_type: pa.DataType, kind: str) -> bool:
    """Whether a column of that type can hold values of that kind."""
    if pa.types.is_dictionary(column_type):
        return _holds(column_type.value_type, kind)
    if pa.types.is_null(column_type) or kind == "number":
        return is_convertible(column_type)
    return is_text(column_type) if kind == "string" else is_whole(column_type)
