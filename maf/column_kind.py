"""Whether a column holds numbers, or categories of text or integers, by its types in the files of a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from maf.errors import DataError
from maf_serving.table_formats import find_format

NUMBER, STRING, INTEGER = "number", "string", "integer"


def column_kind(name: str, schemas: Mapping[Path, pa.Schema], *, may_be: bool, must_be: bool) -> str:
    """`"number"`, `"string"` or `"integer"`.

    Args:
      name: of the column.
      schemas: of the files.
      may_be: whether the column may be a category.
      must_be: whether integers are categories too.

    Raises:
      DataError: if the column is of no such kind, or of one in one file and of another in the next.
    """
    found: dict[str, Path] = {}
    for file, schema in schemas.items():
        kind = _kind(file, name, schema.field(name).type, may_be=may_be, must_be=must_be)
        if kind is not None:
            found.setdefault(kind, file)
    if STRING in found:  # what looks like numbers in a text file can be read as text
        found = {kind: file for kind, file in found.items() if kind == STRING or is_parquet(file)}
    if len(found) > 1:
        (first, file), (second, other) = list(found.items())[:2]
        raise DataError(
            f"column {name!r} is a {first} in {file} and a {second} in {other}; expected the same in all files"
        )
    return next(iter(found), NUMBER)


def is_parquet(file: Path) -> bool:
    """By its name."""
    return find_format(file.name) == "parquet"


def _kind(file: Path, name: str, kind: pa.DataType, *, may_be: bool, must_be: bool) -> str | None:
    """`None` for a column of nulls alone, which says nothing."""
    types = pa.types
    plain = kind.value_type if may_be and types.is_dictionary(kind) else kind
    if types.is_null(plain):
        return None
    if may_be and (types.is_string(plain) or types.is_large_string(plain) or types.is_string_view(plain)):
        return STRING
    if may_be and types.is_integer(plain) and (must_be or plain is not kind):
        return INTEGER
    if must_be and (types.is_floating(plain) or types.is_decimal(plain)):
        return INTEGER  # integers with missing values often come as floats
    if not must_be and _is_numeric(plain):
        return NUMBER
    expected = "integers or text" if must_be else "numbers or text" if may_be else "numbers"
    raise DataError(f"column {name!r} of {file} is {kind}; expected {expected}: leave it out or encode it as numbers")


def _is_numeric(kind: pa.DataType) -> bool:
    types = pa.types
    return any(test(kind) for test in (types.is_integer, types.is_floating, types.is_decimal, types.is_boolean))
