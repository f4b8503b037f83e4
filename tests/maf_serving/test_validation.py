"""Rows of a table to what a model takes, without Beam: which pass, which do not, and why."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from export import ConditionColumn
from maf_serving.errors import UsageError
from maf_serving.model_inputs import encode_rows, make_inputs
from maf_serving.validation import check_columns, validate

REGION = ConditionColumn(name="region", kind="string", vocabulary=("north", "NA"), nullable=True)
AGE = ConditionColumn(name="age", nullable=True)


def inputs(needed=("x", "conditional_input"), *, condition=(AGE, REGION), encodes=True, **names):
    return make_inputs(needed, event=("price",), condition=condition, encodes=encodes, dtype="float32", **names)


def split(columns, model):
    batch = pa.record_batch(columns)
    good, bad = validate(batch, rows=pa.array(range(10, 10 + batch.num_rows)), file="a.csv", inputs=model)
    reasons = (
        {} if bad is None else dict(zip(bad.table["row"].to_pylist(), bad.table["reason"].to_pylist(), strict=True))
    )
    return good, reasons


def test_each_row_comes_out_once_scoreable_or_with_its_reason():
    columns = {
        "price": ["1", "", " 2.5 ", "1e400", "cheap", "3"],
        "age": pa.array([40, 41, None, 43, 44, np.inf]),
        "region": ["north", "north", None, "north", "north", "north"],
    }
    good, reasons = split(columns, inputs())
    assert good.rows.to_pylist() == [10, 12]
    np.testing.assert_array_equal(good.inputs["x"], np.array([[1], [2.5]], np.float32))
    assert reasons == {
        11: "price: null",
        13: "price: infinite",
        14: "price: not a number: 'cheap'",
        15: "age: infinite",
    }


def test_values_beyond_a_bound_are_told_from_those_at_it():
    model = inputs(["x"], condition=(), encodes=False, event_columns=("p",), bounds={"price": (0.1, 0.7)})
    good, reasons = split({"p": ["0.1", "0.09", "0.7", "0.71", "-1e400", "cheap", "0.3"]}, model)
    assert good.rows.to_pylist() == [10, 12, 16]
    assert reasons == {
        11: "p: beyond its bound: 0.09",
        13: "p: beyond its bound: 0.71",
        14: "p: infinite",
        15: "p: not a number: 'cheap'",
    }
    assert split({"p": [0.1, 0.7]}, model)[1] == {}
    below = inputs(["x"], condition=(), encodes=False, bounds={"price": (0.0, None)})
    assert split({"price": [-1.0, 1e9]}, below)[1] == {10: "price: beyond its bound: -1.0"}
    drawn = inputs(["conditional_input"], condition=(AGE,), bounds={"price": (0.0, None)})
    assert split({"age": [1.0]}, drawn)[1] == {}


def test_all_good_and_all_bad():
    good, reasons = split({"price": [1.0], "age": [None], "region": ["south"]}, inputs())
    assert (len(good), reasons) == (1, {})
    assert good.unknown["region"].tolist() == [True]
    good, reasons = split({"price": pa.array([None], pa.float64()), "age": [1], "region": ["NA"]}, inputs())
    assert (good, reasons) == (None, {10: "price: null"})
    empty = {
        "price": pa.array([], pa.float64()),
        "age": pa.array([], pa.float64()),
        "region": pa.array([], pa.string()),
    }
    assert split(empty, inputs()) == (None, {})


def test_the_model_encodes_the_condition():
    good, _ = split({"price": [1.0, 2.0], "age": [None, 3.0], "region": ["north", None]}, inputs())
    asked = {}

    def run(signature_name, arrays):
        asked[signature_name] = arrays
        return {"conditional_input": np.zeros((2, 5), np.float32)}

    encoded = encode_rows(good, run)
    assert encoded.inputs["conditional_input"].shape == (2, 5)
    arrays = asked["encode_condition"]
    assert np.isnan(arrays["numbers"]).tolist() == [[True], [False]]
    assert arrays["categories"].tolist() == [[b"north"], [b""]]
    assert arrays["null_categories"].tolist() == [[False], [True]]


def test_plain_conditions_and_points_of_base_space_are_stacked():
    model = inputs(("z", "conditional_input"), condition=(ConditionColumn(name="age"),), encodes=False)
    assert model.names == ("z_price", "age")
    renamed = inputs(("x", "conditional_input"), event_columns=("p",), conditional_columns=("a", "r"))
    assert renamed.names == ("p", "a", "r")
    with pytest.raises(UsageError, match="--event_columns names 2 column"):
        inputs(("x",), event_columns=("p", "q"))
    with pytest.raises(UsageError, match="p named for more than one column"):
        inputs(("x", "conditional_input"), event_columns=("p",), conditional_columns=("p", "r"))


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"price": pa.float64()}, r"input column\(s\) age, region not in the table; it has: price"),
        (
            {"price": pa.float64(), "Age": pa.int8(), "region": pa.string()},
            r"age not in the table; did you mean 'Age'\?",
        ),
        (
            {"price": pa.date32(), "age": pa.float64(), "region": pa.int64()},
            r"price of the table holds dates; expected numbers or text; and region holds whole numbers; expected text",
        ),
    ],
)
def test_columns_that_cannot_serve_are_refused(schema, message):
    with pytest.raises(UsageError, match=message):
        check_columns(pa.schema(schema), inputs(), where="the table")


def test_a_number_with_an_offset_stays_as_it_is_and_is_checked_without():
    when = ConditionColumn(name="when", offset=3.402823e38)
    columns = {
        "price": [1.0, 2.0, 3.0],
        "when": [3.402824e38, -3.4e38, None],
        "age": [30.5, 0.1, 1.0],
        "region": [None] * 3,
    }
    good, reasons = split(columns, inputs(condition=(when, AGE, REGION)))
    numbers = good.condition.inputs["numbers"]
    assert numbers.dtype == np.float64
    np.testing.assert_array_equal(numbers, [[3.402824e38, 30.5]])
    assert reasons == {11: "when: overflow: -3.4e+38 does not fit float32", 12: "when: null"}


def test_a_column_of_float32_has_its_offset_taken_off_in_float64():
    when = ConditionColumn(name="when", offset=1_700_040_000.0)
    columns = {"price": [1.0], "when": pa.array([1.70004e9], pa.float32()), "age": [1.0], "region": ["north"]}
    good, reasons = split(columns, inputs(condition=(when, AGE, REGION)))
    assert not reasons
    assert good.condition.inputs["numbers"][0, 0] == np.float32(1.70004e9)
