"""Records, one Python dictionary for each row, to Arrow batches: for the formats that are not columnar."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from beam_jobs.sources.source import InputFile, ReadPlan, WorkUnit
from maf_serving.arrow_columns import type_in_words
from maf_serving.columns import TIMESTAMP
from maf_serving.rejection import WRONG_TYPE, RejectedRows, reject
from maf_serving.table_formats import InputBatch
from maf_serving.timestamps import may_hold_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# A schema is guessed from so many records where the format has none.
GUESSED_FROM = 1_000
_SHOWN_CHARACTERS = 40
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_ARROW_REFUSES = (pa.ArrowException, OverflowError, TypeError, ValueError)


def to_batches(
    file: str, rows: Sequence[int], records: Sequence[Mapping[str, Any]], plan: ReadPlan
) -> Iterator[InputBatch | RejectedRows]:
    """The records as one batch of the plan's columns; a missing key is null.

    Numbers of the model are taken as they are, to be judged value by value in validation. A value of a kept column, or
    a category, that is not of the column's type rejects its row.
    """
    strings = {name: pa.string() for name, kind in plan.condition_kinds.items() if kind == "string"}
    kept = strings | {field.name: field.type for field in plan.kept}
    faults: dict[int, str] = {}
    arrays: dict[str, pa.Array] = {}
    for name, column_type in kept.items():
        try:
            arrays[name] = pa.array([record.get(name) for record in records], column_type)
        except _ARROW_REFUSES:
            for index, record in enumerate(records):
                if not _fits(record.get(name), column_type):
                    shown = _shown(record.get(name))
                    faults.setdefault(
                        index, f"{name}: {WRONG_TYPE}: expected {type_in_words(column_type)}, got {shown}"
                    )
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
            values = [record.get(name) for record in records]
            arrays[name] = _READERS.get(plan.condition_kinds.get(name, ""), _numbers)(values)
    columns = pa.RecordBatch.from_arrays([arrays[name] for name in plan.columns], plan.columns)
    yield InputBatch(file=file, rows=pa.array(rows, pa.int64()), columns=columns)


def guess_file(path: str, records: Sequence[Mapping[str, Any]], units: tuple[WorkUnit, ...]) -> InputFile:
    """A file whose columns are those of its first records: names in the order in which they turn up, and types.

    A key of JSON may be no text, half a surrogate pair that is escaped, and is no column then.
    """
    names = dict.fromkeys(name for record in records for name in record if not _HALF_PAIR.search(name))
    types = {name: _guess_type([record.get(name) for record in records]) for name in names}
    untyped = frozenset(name for name, guessed in types.items() if pa.types.is_null(guessed))
    schema = pa.schema([(name, pa.string() if name in untyped else guessed) for name, guessed in types.items()])
    return InputFile(path=path, schema=schema, units=units, untyped=untyped, open_ended=True)


def _guess_type(values: list[Any]) -> pa.DataType:
    """The type of all values; the most frequent one where they differ."""
    try:
        return pa.array(values).type
    except _ARROW_REFUSES:
        ((guessed, _),) = Counter(_type_of(value) for value in values if value is not None).most_common(1)
        return guessed


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


def _integers(values: list[Any]) -> pa.Array:
    """As numbers where all are; else as text, of which validation says which are no integers."""
    try:
        array = pa.array(values)
    except _ARROW_REFUSES:
        pass
    else:
        if any(test(array.type) for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_null)):
            return array
    texts = [json.dumps(value) if isinstance(value, bool) else value for value in values]
    return pa.array([each if each is None or isinstance(each, str) else _as_text(each) for each in texts], pa.string())


def _times(values: list[Any]) -> pa.Array:
    """As Arrow has them where all can be points in time; else as text, of which validation says which are none."""
    try:
        array = pa.array(values)
    except _ARROW_REFUSES:
        pass
    else:
        if may_hold_time(array.type):
            return array
    texts = [value.isoformat() if isinstance(value, dt.date) else value for value in values]
    return pa.array([each if each is None or isinstance(each, str) else _as_text(each) for each in texts], pa.string())


_READERS = {"integer": _integers, TIMESTAMP: _times}


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
