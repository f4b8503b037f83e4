"""Whether an input file has the columns that the model needs, before a row is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maf_serving import validation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beam_jobs.sources.table_source import InputFile
    from maf_serving.model_inputs import ModelInputs


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
    validation.check_columns(file.schema, inputs, where=file.path, untyped=file.untyped, optional=optional)
