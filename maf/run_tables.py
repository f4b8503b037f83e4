"""The tables that a run reads: their columns, and the codes of their categories."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from maf.category_codes import CategoryCodes
from maf.column_kind import INTEGER, NUMBER, STRING, is_parquet
from maf.config import DataConfig
from maf.errors import DataError
from maf.table import Table, open_table


def open_tables(config: DataConfig) -> tuple[Table, Table | None]:
    """The table of `--data`, and that of `--test_data` if there is one, with the same categories.

    Raises:
      DataError: if one cannot be read, or a column is of another kind in it than in the other, or in the run.
    """
    wanted = None
    if config.condition_columns is not None:
        wanted = {column.name: column.kind for column in config.condition_columns}
    table = _open(config.data, config, wanted)
    kinds = {name: table.categories.get(name, NUMBER) for name in config.condition}
    return table, _open(config.test_data, config, kinds) if config.test_data else None


def category_codes(config: DataConfig, table: Table) -> dict[str, CategoryCodes]:
    """Codes of the categories of `table`: of the run's vocabularies if it has them, else new ones."""
    known = {column.name: column.vocabulary for column in config.condition_columns or ()}
    return {name: CategoryCodes(name, kind, known.get(name)) for name, kind in table.categories.items()}


def _open(patterns: Sequence[str], config: DataConfig, wanted: Mapping[str, str] | None) -> Table:
    categorical = {*config.categorical, *(name for name, kind in (wanted or {}).items() if kind == INTEGER)}
    columns = (*config.event, *config.condition)
    table = open_table(patterns, columns, condition=config.condition, categorical=tuple(categorical))
    if wanted is None:
        return table
    text_files = not any(is_parquet(file) for file in table.files)
    for name, kind in wanted.items():
        got = table.categories.get(name, NUMBER)
        if got != kind and not (kind == STRING and text_files):  # what looks like numbers can be read as text
            raise DataError(f"column {name!r} of {', '.join(patterns)} is of kind {got}; the model takes a {kind}")
    return dataclasses.replace(table, categories={name: kind for name, kind in wanted.items() if kind != NUMBER})
