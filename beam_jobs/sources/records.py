"""Records, one Python dictionary for each row, to Arrow batches: for the formats that are not columnar."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from beam_jobs.rejection import RejectedRows, reject
from beam_jobs.sources.table_source import InputBatch, ReadPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

WRONG_TYPE = "wrong type"
# A schema is guessed from so many records where the format has none.
GUESSED_FROM = 1_000
_SHOWN_CHARACTERS = 40
_ARROW_REFUSES = (pa.ArrowException, OverflowError, TypeError, ValueError)


def to_batches(
    file: str, rows: Sequence[int], records: Sequence[Mapping[str, Any]], plan: ReadPlan
) -> Iterator[InputBatch | RejectedRows]:
    """The records as one batch of the plan's columns; a missing key is null.

    Columns of the model are taken as they are, to be judged value by value in validation. A value of a kept column that
    is not of the column's type rejects its row.
    """
    kept = {field.name: field.type for field in plan.kept}
    faults: dict[int, str] = {}
    arrays: dict[str, pa.Array] = {}
    for name, column_type in kept.items():
        try:
            arrays[name] = pa.array([record.get(name) for record in records], column_type)
        except _ARROW_REFUSES:
            for index, record in enumerate(records):
                if not _fits(record.get(name), column_type):
                    shown = _shown(record.get(name))
                    faults.setdefault(index, f"{name}: {WRONG_TYPE}: expected {column_type}, got {shown}")
    if faults:
        refused = sorted(faults)
        refused_rows = pa.array([rows[index] for index in refused], pa.int64())
        yield reject(file, refused_rows, [faults[index] for index in refused], {WRONG_TYPE: len(refused)})
        good = [index for index in range(len(records)) if index not in faults]
        if good:
            yield from to_batches(file, [rows[index] for index in good], [records[index] for index in good], plan)
        return
    for name in plan.model_columns:
        if name not in arrays:
            arrays[name] = _numbers([record.get(name) for record in records])
    columns = pa.RecordBatch.from_arrays([arrays[name] for name in plan.columns], plan.columns)
    yield InputBatch(file=file, rows=pa.array(rows, pa.int64()), columns=columns)


def guess_schema(records: Sequence[Mapping[str, Any]]) -> pa.Schema:
    """Names, in the order in which they turn up, and types; a column without any value is text."""
    names = dict.fromkeys(name for record in records for name in record)
    return pa.schema([(name, _guess_type([record.get(name) for record in records])) for name in names])


def _guess_type(values: list[Any]) -> pa.DataType:
    """The type of all values; the most frequent one where they differ."""
    try:
        guessed = pa.array(values).type
    except _ARROW_REFUSES:
        ((guessed, _),) = Counter(_type_of(value) for value in values if value is not None).most_common(1)
    return pa.string() if pa.types.is_null(guessed) else guessed


def _type_of(value: Any) -> pa.DataType:
    try:
        return pa.array([value]).type
    except _ARROW_REFUSES:
        return pa.string()


def _numbers(values: list[Any]) -> pa.Array:
    """As numbers where all are; else as text, of which validation says which are none."""
    try:
        return pa.array(values, pa.float64())
    except _ARROW_REFUSES:
        texts = [value if value is None or isinstance(value, str) else _as_text(value) for value in values]
        return pa.array(texts, pa.string())


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))  # as Arrow reads a column of them
    if isinstance(value, bytes):
        return value.decode(errors="backslashreplace")
    return json.dumps(value, default=str)


def _fits(value: Any, column_type: pa.DataType) -> bool:
    try:
        pa.array([value], column_type)
    except _ARROW_REFUSES:
        return False
    return True


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."
