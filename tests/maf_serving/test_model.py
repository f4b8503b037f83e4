"""A model in this process: tables of every kind in and out, raw columns by name, as many answers as rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import maf_serving as ms
from maf_serving.answers import ROWS_AT_A_TIME
from tests import shop_model

# The second row has no region, which is a state; the others have something that the model cannot take.
ROWS = {
    "id": ["a", "b", "c", "d", "e"],
    "x0": [1.0, 2.0, None, 4.0, 5.0],
    "x1": [0.5, -1.0, 0.0, 1.0, 2.0],
    "region": ["north", None, "süd", "elsewhere", "north"],
    "price": [1.0, 2.0, 3.0, float("inf"), 5.0],
    "store": [7, -12, 7, 7, None],
    "temperature": [20.0, None, 21.0, 22.0, 23.0],
}
GOOD = [0, 1]
REASONS = [None, None, "x0: null", "price: infinite", "store: null"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return ms.load(shop_model.save_shop_model(tmp_path_factory.mktemp("shop")))


def expected(row):
    raw = [ROWS[name][row] for name in ("x0", "x1", "region", "price", "store", "temperature")]
    return shop_model.log_prob(*raw)


def check_answers(answers):
    for row in GOOD:
        assert answers[row] == pytest.approx(expected(row), rel=1e-5)


def test_arrow(model):
    answers = model.log_prob(pa.table(ROWS))
    assert isinstance(answers, pa.ChunkedArray)
    assert answers.type == pa.float32()
    check_answers(answers.to_pylist())
    assert answers.to_pylist()[2:] == [None, None, None]


def test_reasons(model):
    assert model.check(ROWS).to_pylist() == REASONS
    conditions = {name: ROWS[name] for name in ("region", "price", "store", "temperature")}
    assert model.check(conditions).to_pylist() == [None, None, None, "price: infinite", "store: null"]


@pytest.mark.parametrize("made", ["batch", "reader", "capsule", "mapping"])
def test_other_tables_of_arrow(model, made):
    class Capsule:
        def __init__(self, table):
            self.columns = table.column_names
            self._table = table

        def __arrow_c_stream__(self, requested_schema=None):
            return self._table.__arrow_c_stream__(requested_schema)

    table = pa.table(ROWS)
    tables = {"batch": table.to_batches()[0], "reader": table.to_reader(), "capsule": Capsule(table), "mapping": ROWS}
    check_answers(model.log_prob(tables[made]).to_pylist())


def test_pandas(model):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(ROWS, index=list("vwxyz"))
    answers = model.log_prob(frame)
    assert isinstance(answers, pd.Series)
    assert (answers.name, list(answers.index)) == ("log_prob", list("vwxyz"))
    assert answers.dtype == np.float32
    check_answers(answers.to_list())
    assert answers.isna().to_list() == [False, False, True, True, True]
    reasons = model.check(frame)
    assert [None if pd.isna(each) else each for each in reasons] == REASONS
    assert list(frame.assign(log_prob=answers, reason=reasons).query("reason.isna()")["id"]) == ["a", "b"]
    base = model.inverse(frame)
    assert list(base.columns) == ["log_prob", "z_x0", "z_x1"]
    assert list(base.index) == list("vwxyz")
    draws = model.sample(frame, num_samples=2, seed=7, keep=["id"])
    assert list(draws.columns) == ["row", "draw", "id", "x0", "x1", "log_prob"]
    assert list(draws.index) == [label for label in "vwxyz" for _ in range(2)]
    assert draws.loc["z", "x0"].isna().all()


def test_pandas_of_other_types(model):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(ROWS)
    frame["region"] = frame["region"].astype("category")
    frame["store"] = frame["store"].astype("Int64")
    frame["x0"] = frame["x0"].astype("Float64")
    frame["odd"] = [1, "a", None, b"x", {}]  # what the model does not need may be anything
    frame[7] = 1
    check_answers(model.log_prob(frame).to_list())
    frame["price"] = [1.0, "two", None, 4.0, b"5"]
    with pytest.raises(ms.errors.UsageError, match=r"column 'price' of the DataFrame .object. holds values of several"):
        model.log_prob(frame)


def test_polars(model):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(ROWS).with_columns(pl.col("region").cast(pl.Categorical))
    answers = model.log_prob(frame)
    assert isinstance(answers, pl.Series)
    assert (answers.name, answers.dtype) == ("log_prob", pl.Float32)
    check_answers(answers.to_list())
    assert model.check(frame).to_list() == REASONS
    draws = model.sample(frame, num_samples=2, seed=7, keep=["id", "region"])
    assert isinstance(draws, pl.DataFrame)
    assert draws.columns == ["row", "draw", "id", "region", "x0", "x1", "log_prob"]
    with pytest.raises(ms.errors.UsageError, match=r"LazyFrame .* hand in its collect"):
        model.log_prob(frame.lazy())


def test_inverse_and_forward_undo_each_other(model):
    table = pa.table(ROWS)
    base = model.inverse(table)
    z = {name: base[name] for name in ("z_x0", "z_x1")}
    conditions = {name: table[name] for name in ("region", "price", "store", "temperature")}
    back = model.forward(pa.table({**z, **conditions}))
    assert back.column_names == ["x0", "x1"]
    for name in back.column_names:
        assert back[name].to_pylist()[: len(GOOD)] == pytest.approx(ROWS[name][: len(GOOD)])
    assert back["x0"].to_pylist()[2:] == [None] * 3


def many_rows(rows):
    rng = np.random.default_rng(0)
    columns = {
        "x0": rng.normal(size=rows),
        "x1": rng.normal(size=rows),
        "region": rng.choice(["north", "süd", "x"], rows),
        "price": rng.normal(size=rows),
        "store": rng.choice([7, -12, 5], rows),
        "temperature": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
    }
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def test_chunks_do_not_matter(model):
    table = many_rows(ROWS_AT_A_TIME + 100)
    whole = model.log_prob(table)
    pieces = pa.concat_tables([table.slice(start, 97) for start in range(0, len(table), 97)])
    np.testing.assert_allclose(model.log_prob(pieces), whole, rtol=1e-5, atol=1e-5)
    few = table.slice(ROWS_AT_A_TIME - 5, 10)
    np.testing.assert_allclose(
        model.log_prob(few), whole[ROWS_AT_A_TIME - 5 : ROWS_AT_A_TIME + 5], rtol=1e-5, atol=1e-5
    )


def test_draws_do_not_depend_on_their_number_or_on_other_rows(model):
    table = many_rows(50)
    few, many = model.sample(table, num_samples=2, seed=7), model.sample(table, num_samples=5, seed=7)
    assert few["row"].to_pylist() == [row for row in range(50) for _ in range(2)]
    assert few["draw"].to_pylist() == [0, 1] * 50
    first_two = many.filter(pa.compute.less(many["draw"], 2))
    np.testing.assert_allclose(few["x0"], first_two["x0"], rtol=1e-5)
    head = model.sample(table.slice(0, 3), num_samples=2, seed=7)
    np.testing.assert_allclose(head["x1"], few["x1"][:6], rtol=1e-5)
    assert model.sample(table, num_samples=2)["x0"] != few["x0"]


def test_more_draws_than_are_made_at_a_time(model):
    draws = model.sample(many_rows(2), num_samples=ROWS_AT_A_TIME + 3, seed=1)
    assert len(draws) == 2 * (ROWS_AT_A_TIME + 3)
    assert draws["draw"].to_pylist()[-1] == ROWS_AT_A_TIME + 2
    assert draws["x0"].null_count == 0


@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows(model, rows):
    table = many_rows(1).slice(0, rows)
    assert len(model.log_prob(table)) == rows
    assert model.sample(table, num_samples=3, keep=["region"]).num_rows == 3 * rows
    assert model.inverse(table).column_names == ["log_prob", "z_x0", "z_x1"]


REFUSED = {
    "a near miss": (
        lambda m: m.log_prob({"X0": [1], "x1": [1], "region": ["a"], "price": [1], "store": [1], "temperature": [1]}),
        r"the table has no column 'x0'; did you mean 'X0'\? its columns: X0, x1",
    ),
    "a type": (
        lambda m: m.check({"region": [1.5], "price": [1], "store": [1], "temperature": [1]}),
        "input column region of the table holds numbers; expected text",
    ),
    "no table": (lambda m: m.log_prob("new.parquet"), "the table is a str; expected a DataFrame"),
    "a list": (lambda m: m.log_prob([1.0]), "the table is a list; expected a DataFrame"),
    "lengths": (lambda m: m.log_prob({"x0": [1], "x1": [1, 2]}), "the mapping is no table"),
    "no condition": (lambda m: m.sample(), r"sample\(\) got no table; the model needs one with region, price"),
    "no draws": (lambda m: m.sample({}, num_samples=0), "num_samples is 0; expected at least 1"),
    "a kept column": (lambda m: m.sample(ROWS, keep=["x0"]), "keep names x0, as a column of the draws is called"),
    "kept and not there": (lambda m: m.sample(ROWS, keep=["Id"]), "no column 'Id'; did you mean 'id'"),
    "a seed": (lambda m: m.sample(ROWS, seed=2**64), "seed is 18446744073709551616"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_in_one_line(model, case):
    call, message = REFUSED[case]
    with pytest.raises(ms.errors.UsageError, match=message) as caught:
        call(model)
    assert "\n" not in str(caught.value)


def test_no_model(tmp_path):
    with pytest.raises(ms.errors.UsageError, match="does not exist; expected a version directory"):
        ms.load(tmp_path / "none")


def test_what_it_shows(model):
    assert repr(model) == "Model(event=['x0', 'x1'], condition=['region', 'price', 'store', 'temperature'])"
