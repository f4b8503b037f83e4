"""JSON Lines column by column: what Python's own encoder, row by row, would say."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beam_jobs.output.byte_columns import contents
from beam_jobs.output.json_lines import encode_lines

QUICK = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck), derandomize=True)
VALUES = {
    "whole": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(),
    "single": st.floats(width=32),
    "text": st.text(),
    "flag": st.booleans(),
}
SCHEMA = pa.schema(
    {"whole": pa.int64(), "number": pa.float64(), "single": pa.float32(), "text": pa.string(), "flag": pa.bool_()}
)


def lines(batch):
    text = bytes(contents(encode_lines(batch))).decode()
    assert text.endswith("\n") or not batch.num_rows
    return text.split("\n")[:-1]


def same(got, expected):
    if isinstance(expected, float) and math.isnan(expected):
        return isinstance(got, float) and math.isnan(got)
    return type(got) is type(expected) and got == expected


@QUICK
@given(st.lists(st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), max_size=20))
def test_every_value_comes_back(rows):
    batch = pa.RecordBatch.from_pylist(rows, SCHEMA)
    found = [json.loads(line) for line in lines(batch)]
    assert len(found) == len(rows)
    for got, expected in zip(found, rows, strict=True):
        if got["single"] is not None:
            got["single"] = float(np.float32(got["single"]))
        assert list(got) == list(SCHEMA.names)
        assert all(same(got[name], expected[name]) for name in SCHEMA.names), (got, expected)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([b"\xffa", None], pa.binary(), ['"\\\\xffa"', "null"]),
        ([dt.date(2024, 2, 29)], pa.date32(), ['"2024-02-29"']),
        ([decimal.Decimal("1.50")], pa.decimal128(5, 2), ['"1.50"']),
        ([[1, None], []], pa.list_(pa.int8()), ["[1, null]", "[]"]),
        ([{"a": 'x"'}], pa.struct({"a": pa.string()}), ['{"a": "x\\""}']),
        ([None], pa.null(), ["null"]),
        ([0.5, float("-inf")], pa.float16(), ["0.5", "-Infinity"]),
        ([3.0, -0.0, 1e22], pa.float64(), ["3.0", "-0.0", "1e+22"]),
        (["naïve", 'a"b\\c\n\x01'], pa.string_view(), ['"naïve"', '"a\\"b\\\\c\\n\\u0001"']),
    ],
)
def test_types_that_json_lacks_and_odd_values(values, kind, expected):
    batch = pa.RecordBatch.from_arrays([pa.array(values, kind)], ['a "name"'])
    assert lines(batch) == [f'{{"a \\"name\\"": {value}}}' for value in expected]


def test_slices_and_dictionaries():
    column = pa.array(["x", None, "z\t"] * 3).dictionary_encode()
    batch = pa.RecordBatch.from_arrays([column, pa.array(range(9))], ["k", "n"]).slice(2, 3)
    assert [json.loads(line) for line in lines(batch)] == [
        {"k": "z\t", "n": 2},
        {"k": "x", "n": 3},
        {"k": None, "n": 4},
    ]


def test_rows_without_columns():
    table = pa.table({"a": [1, 2]}).select([])
    assert [json.loads(line) for batch in table.to_batches() for line in lines(batch)] == [{}] * 2
