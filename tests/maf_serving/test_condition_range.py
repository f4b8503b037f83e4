from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from maf_serving.answers import name_outside, split_batch
from maf_serving.columns import ConditionColumn
from maf_serving.condition_range import MARGIN, condition_ranges, encoded_bounds, join_names, ranges_for
from maf_serving.errors import UsageError
from maf_serving.model_inputs import make_inputs
from maf_serving.training_profile import ColumnProfile, Quantiles, TrainingProfile

WHEN = 1_700_040_000.0
PLAIN = (ConditionColumn(name="a"), ConditionColumn(name="same"))
RAW = (
    ConditionColumn(name="region", kind="string", vocabulary=("north", "south"), nullable=True),
    ConditionColumn(name="store", kind="integer", vocabulary=(7, 8)),
    ConditionColumn(name="age", nullable=True),
    ConditionColumn(name="when", offset=WHEN),
    ConditionColumn(name="same"),
)


def number(name, least, most, **more):
    values = (least, most) if least < most else (least,)
    quantiles = Quantiles(values=values, cumulative=(0.5, 1.0)[-len(values) :])
    return ColumnProfile(name=name, rows=100, mean=least, stddev=1.0, quantiles=quantiles, **more)


def category(name, kind, values, **more):
    return ColumnProfile(name=name, kind=kind, rows=100, categories=values, shares=(0.4,) * len(values), **more)


def profile_of(**changes):
    profiles = {
        "region": category("region", "string", ("north", "south")),
        "store": category("store", "integer", (7, 8), others=0.2),
        "age": number("age", 18.0, 68.0, nulls=5),
        "when": number("when", WHEN - 500, WHEN + 500),
        "same": number("same", 0.1, 0.1),
        "a": number("a", -1.0, 1.0),
    }
    return profiles | {name: dataclasses.replace(profiles[name], **more) for name, more in changes.items()}


def inputs_of(columns, dtype="float32", then="count", **changes):
    known = profile_of(**changes)
    profile = TrainingProfile(event=(), condition=tuple(known[column.name] for column in columns))
    raw = any(not column.is_plain for column in columns)
    inputs = make_inputs(["conditional_input"], event=(), condition=columns, encodes=raw, dtype=dtype, profile=profile)
    return dataclasses.replace(inputs, ranges=ranges_for(inputs.ranges, then, model="it"))


def encode(columns, table, dtype):
    """`conditional_input` of rows, value by value; a null number is 40."""
    rows = []
    for row in table.to_pylist():
        entries = []
        for column in columns:
            value = row[column.name]
            if column.is_category:
                entries += [float(value == each) for each in column.vocabulary]
                entries += [float(value is not None and value not in column.vocabulary)]
            else:
                entries += [40.0 if value is None else value - column.offset]
            entries += [float(value is None)] if column.nullable else []
        rows.append(entries)
    return np.array(rows, dtype)


def test_a_number_may_be_a_little_beyond_those_of_training():
    batch = pa.record_batch({"a": [-1.0, 1.0, 1.019, 1.021, -1.019, -1.03, 1e30, 0.5], "same": [0.1] * 8})
    assert MARGIN == 0.01
    assert name_outside(batch, inputs_of(PLAIN)).to_pylist() == ["", "", "", "a", "", "a", "a", ""]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_of_a_constant_column_any_other_value_is_outside(dtype):
    batch = pa.record_batch({"a": [0.0] * 4, "same": [0.1, 0.1001, 0.0, -0.1]})
    assert name_outside(batch, inputs_of(PLAIN, dtype)).to_pylist() == ["", "same", "same", "same"]


ROWS = {
    "region": ["north", None, "west", "south", "north", "west"],
    "store": [7, 9, 8, 7, 8, 9],
    "age": [18.0, None, 70.0, 68.4, 20.0, 1000.0],
    "when": [WHEN - 500, WHEN + 500, WHEN, WHEN + 511, WHEN - 509, WHEN],
    "same": [0.1, 0.1, 0.1, 0.1, 0.1, 5.0],
}


def test_categories_nulls_and_offsets():
    batch = pa.record_batch(ROWS)
    named = name_outside(batch, inputs_of(RAW)).to_pylist()
    assert named == ["", "region", "region,age", "when", "", "region,age,same"]
    kinder = inputs_of(RAW, region={"others": 0.01, "null_is_trained": True}, age={"nulls": 0}, store={"others": 0.0})
    assert name_outside(batch, kinder).to_pylist() == ["", "store,age", "age", "when", "", "store,age,same"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("changes", [{}, {"region": {"nulls": 1, "others": 0.1}, "age": {"nulls": 0}}])
def test_the_bounds_of_encoded_entries_say_the_same(dtype, changes):
    rng = np.random.default_rng(0)
    rows = 2_000
    table = pa.table(
        {
            "region": pa.array(rng.choice(["north", "south", "west"], rows), mask=rng.random(rows) < 0.2),
            "store": rng.integers(6, 10, rows),
            "age": pa.array(rng.uniform(17, 69, rows), mask=rng.random(rows) < 0.2),
            "when": WHEN + rng.uniform(-520, 520, rows),
            "same": rng.choice([0.1, 0.2], rows),
        }
    )
    inputs = inputs_of(RAW, dtype, **changes)
    lower, upper = encoded_bounds(RAW, inputs.ranges, dtype)
    encoded = encode(RAW, table, dtype)
    assert len(lower) == encoded.shape[1]
    in_range = ((encoded >= lower) & (encoded <= upper)).all(axis=1)
    names = name_outside(table.to_batches()[0], inputs).to_pylist()
    assert 0.05 < in_range.mean() < 0.95
    assert [not name for name in names] == in_range.tolist()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_training_saw_is_in_range_however_it_is_rounded(dtype):
    rng = np.random.default_rng(1)
    for scale in (1e-30, 1e-3, 1.0, 1e7, 3e37):
        for values in (rng.normal(size=50) * scale, np.full(3, rng.normal() * scale)):
            typed = values.astype(dtype)
            least, most = (float(str(end)) for end in (typed.min(), typed.max()))
            inputs = inputs_of(PLAIN[1:], dtype, same={"quantiles": number("same", least, most).quantiles})
            assert name_outside(pa.record_batch({"same": values}), inputs).to_pylist() == [""] * len(values)


def test_a_column_without_any_value_knows_none():
    empty = {"nulls": 100, "mean": None, "stddev": None, "quantiles": None}
    column = (ConditionColumn(name="age", nullable=True),)
    inputs = inputs_of(column, age=empty)
    assert name_outside(pa.record_batch({"age": [None, 3.0]}), inputs).to_pylist() == ["", "age"]
    lower, upper = encoded_bounds(column, inputs.ranges, "float32")
    assert (lower[0] <= 0 <= upper[0], upper[0] < 3, upper[1]) == (True, True, 1)


def test_rows_are_counted_named_or_rejected():
    batch = pa.record_batch(ROWS)
    good, rejected = split_batch(batch, 10, inputs_of(RAW))
    assert (len(good), rejected) == (6, [])
    assert {name: int(mask.sum()) for name, mask in good.out_of_range.items()} == {
        "region": 3, "age": 2, "when": 1, "same": 1,
    }  # fmt: skip
    good, _ = split_batch(batch, 10, inputs_of(RAW, then="name"))
    assert good.columns.column("out_of_range").to_pylist() == [
        "",
        "region",
        "region,age",
        "when",
        "",
        "region,age,same",
    ]
    good, (rejected,) = split_batch(batch, 10, inputs_of(RAW, then="reject"))
    assert good.rows.to_pylist() == [10, 14]
    assert dict(zip(rejected.table["row"].to_pylist(), rejected.table["reason"].to_pylist(), strict=True)) == {
        11: "region: out of range: null",
        12: "region: out of range: west",
        13: "when: out of range: 1700040511.0",
        15: "region: out of range: west",
    }
    assert rejected.kinds == {"out of range": 4}
    assert rejected.out_of_range == {"region": 3, "age": 2, "when": 1, "same": 1}


def test_a_row_that_cannot_be_used_is_neither():
    batch = pa.record_batch({"a": [None, 9.0], "same": [0.1, 0.1]})
    assert name_outside(batch, inputs_of(PLAIN)).to_pylist() == [None, "a"]
    good, (null, outside) = split_batch(batch, 0, inputs_of(PLAIN, then="reject"))
    assert good is None
    assert [null.table["reason"][0].as_py(), outside.table["reason"][0].as_py()] == ["a: null", "a: out of range: 9.0"]
    batch = pa.record_batch(
        {"a": [None, 0.0], "same": [5.0, 0.1]}
    )  # what is out of range is refused for another reason
    good, rejected = split_batch(batch, 0, inputs_of(PLAIN, then="reject"))
    assert (len(good), len(rejected)) == (1, 1)


def test_names_of_many_columns():
    rng = np.random.default_rng(0)
    masks = {f"c{index}": rng.random(300) < 0.02 for index in range(20)}
    expected = [",".join(name for name, mask in masks.items() if mask[row]) for row in range(300)]
    assert join_names(masks, 300).to_pylist() == expected
    assert join_names({}, 2).to_pylist() == ["", ""]


def test_a_model_without_ranges_is_named():
    assert ranges_for(None, "count", model="m") is None
    for then, flag in {"name": "--out_of_range", "reject": "--reject_out_of_range"}.items():
        with pytest.raises(UsageError, match=rf"^{flag}: version 3 of m knows no ranges of its condition: .* train it"):
            ranges_for(None, then, model="version 3 of m")


def test_columns_have_the_names_of_the_table():
    ranges = condition_ranges(PLAIN, [profile_of()["a"], profile_of()["same"]], ["x", "y"], "float32")
    assert [each.name for each in ranges.columns] == ["x", "y"]
