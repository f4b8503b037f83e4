"""Categories in Arrow columns: exact integers, whatever holds them and whatever their neighbours are."""

from __future__ import annotations

import decimal

import numpy as np
import pyarrow as pa
import pytest

from maf_serving.arrow_columns import Fault, to_categories

BIG = 9007199254740993  # 2^53 + 1: no double is that
D = decimal.Decimal


@pytest.mark.parametrize(
    ("values", "column_type", "expected"),
    [
        ([7, None, -3], pa.int8(), ["7", None, "-3"]),
        ([2**64 - 1, 2**63 - 1, None], pa.uint64(), [Fault.OVERFLOW, "9223372036854775807", None]),
        (
            [D(BIG), D("1.5"), D(2) ** 80, None],
            pa.decimal128(38, 2),
            [str(BIG), Fault.NOT_AN_INTEGER, Fault.OVERFLOW, None],
        ),
        ([D(7), D(-7)], pa.decimal256(50, 3), ["7", "-7"]),
        (
            [1.0, -0.0, 2.5, np.nan, np.inf, 1e19],
            pa.float64(),
            ["1", "0", *(Fault.NOT_AN_INTEGER, Fault.NAN, Fault.INFINITE, Fault.OVERFLOW)],
        ),
        ([1.0, np.nan, None], pa.float32(), ["1", Fault.NAN, None]),
        (["7", " +7", "7.0", "70e-1", "007", ""], pa.string(), ["7", "7", "7", "7", "7", None]),
        (
            [str(BIG), f"{BIG}.0", "1_0", "0x1", "x"],
            pa.large_string(),
            [str(BIG), str(BIG), *[Fault.NOT_AN_INTEGER] * 3],
        ),
        ([b"7", b"\xff", None], pa.binary(), ["7", Fault.NOT_AN_INTEGER, None]),
        ([None, None], pa.null(), [None, None]),
    ],
)
def test_integers(values, column_type, expected):
    read = to_categories(pa.array(values, column_type), "integer")
    assert read.text.to_pylist() == [each if isinstance(each, str) else None for each in expected]
    for row, each in enumerate(expected):
        assert [fault for fault, mask in read.faults.items() if mask[row]] == [each] * isinstance(each, Fault)


def test_text_is_taken_as_it_is():
    column = pa.array([" a", "", None, "ü"]).dictionary_encode()
    assert to_categories(column, "string").text.to_pylist() == [" a", "", None, "ü"]
    read = to_categories(pa.array([b"a", b"\xc3", None]), "string")
    assert read.text.to_pylist() == ["a", None, None]
    assert read.faults[Fault.NOT_UTF8].tolist() == [False, True, False]
