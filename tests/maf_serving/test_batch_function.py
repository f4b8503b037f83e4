"""A model as a function on record batches: the answers of `Model`, row by row, in this process and in others."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import maf_serving as ms
from beam_jobs import SampleOptions, sample_table
from tests import shop_model
from tests.beam_jobs.conftest import save_model

ROWS = {
    "id": [*range(6)],
    "x0": pa.array([0.5, None, 1.5, 2.0, float("nan"), 3.0]),
    "x1": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0],
    "region": ["north", "süd", None, "east", "north", "north"],
    "price": [1.0, 2.0, 3.0, 4.0, 5.0, float("inf")],
    "store": [7, -12, 7, 8, 7, 7],
    "temperature": [None, 1.0, 2.0, 3.0, 4.0, 5.0],
}
REASONS = [None, "x0: null", None, None, "x0: NaN", "price: infinite"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return ms.load(shop_model.save_shop_model(tmp_path_factory.mktemp("models") / "shop"))


@pytest.fixture(scope="module")
def gaussian(tmp_path_factory):
    return ms.load(save_model(tmp_path_factory.mktemp("models") / "gaussian", base_kind="normal"))


def test_batches_in_are_batches_out_with_a_row_for_each_row(shop):
    batch = pa.record_batch(ROWS)
    fn = shop.batch_function("score", keep=["id", "region"])
    answers = pa.Table.from_batches(fn(iter([batch.slice(0, 1), batch.slice(1, 4), batch.slice(5)])))
    assert answers.schema.names == ["id", "region", "log_prob", "reason"]
    assert answers["id"].to_pylist() == ROWS["id"]
    assert answers["reason"].to_pylist() == REASONS
    assert answers["log_prob"].to_pylist() == shop.log_prob(batch).to_pylist()
    base = shop.batch_function("inverse")(batch)
    assert isinstance(base, pa.RecordBatch)
    assert base.schema.names == ["log_prob", "z_x0", "z_x1", "reason"]
    assert base["z_x1"].to_pylist() == shop.inverse(batch)["z_x1"].to_pylist()
    assert fn(batch.slice(0, 0)).schema == answers.schema
    assert list(fn(iter([]))) == []


def test_a_table_is_answered_by_one_of_its_kind(shop):
    table = pa.table(ROWS)
    fn = shop.batch_function("score", keep=["id"])
    assert fn(table).schema == fn(pa.record_batch(ROWS)).schema
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    frame = table.to_pandas()
    frame.index = list("abcdef")
    answers = fn(frame)
    assert isinstance(answers, pd.DataFrame)
    assert list(answers.index) == list("abcdef")
    assert answers["reason"].dropna().to_dict() == {"b": "x0: null", "e": "x0: null", "f": "price: infinite"}
    assert fn(pl.from_arrow(table))["reason"].to_list() == REASONS


def test_schemas_are_known_before_the_first_batch(shop):
    table = pa.table(ROWS)
    fn = shop.batch_function("score", keep="*", input_schema=table.schema)
    assert fn.schema.names == [*ROWS, "log_prob", "reason"]
    assert fn.schema.field("id").type == pa.int64()
    assert fn.schema == fn(table).schema
    assert shop.batch_function("score").schema.names == ["log_prob", "reason"]
    with pytest.raises(ms.errors.UsageError, match="the types of id, to be kept, are known when a batch comes"):
        _ = shop.batch_function("score", keep=["id"]).schema


def test_draws_are_those_of_a_job_with_the_same_keys(gaussian, tmp_path):
    table = pa.table({"key": ["a", "b", None, "d"], "c0": [0.0, 1.0, 2.0, None]})
    pq.write_table(table, tmp_path / "c.parquet")
    seeded = {"num_samples": 2, "seed": 7, "key_column": "key"}
    fn = gaussian.batch_function("sample", keep=["key"], **seeded)
    draws = fn(table)
    assert draws.schema.names == ["key", "draw", "x0", "x1", "log_prob", "reason"]
    assert draws["key"].to_pylist() == ["a", "a", "b", "b", None, None, "d", "d"]
    assert draws["draw"].to_pylist() == [0, 1] * 4
    assert draws["reason"].to_pylist() == [None] * 4 + ["key: null key"] * 2 + ["c0: null"] * 2
    sample_table(
        SampleOptions(
            model=gaussian.location, input_patterns=(str(tmp_path / "c.parquet"),), output=str(tmp_path / "o"), **seeded
        )
    )
    job = pq.ParquetDataset(sorted((tmp_path / "o").glob("samples-*"))).read().sort_by([("row", "ascending")])
    for name in ("x0", "x1", "log_prob"):
        np.testing.assert_allclose(draws[name].drop_null(), job[name], rtol=1e-5, atol=1e-5)
    back = fn(table.take([3, 2, 1, 0]))
    assert back["x0"].to_pylist()[::-2] == draws["x0"].to_pylist()[1::2]


def test_summaries_have_one_seed_or_that_of_their_key(gaussian):
    table = pa.table({"key": [1, 2, 3], "c0": [0.5, 0.5, 0.5]})
    by_condition = gaussian.batch_function("summarize", seed=3)(table)
    assert len(set(by_condition["x0_mean"].to_pylist())) == 1
    assert by_condition["x0_mean"][0].as_py() == pytest.approx(gaussian.summarize(table, seed=3)["x0_mean"][0].as_py())
    by_key = gaussian.batch_function("summarize", seed=3, key_column="key")(table)
    assert len(set(by_key["x0_mean"].to_pylist())) == 3


def test_another_process_loads_the_model_once(shop, tmp_path):
    fn = shop.batch_function("score", keep=["id"], threads=1)
    (tmp_path / "fn.pickle").write_bytes(pickle.dumps(fn))
    pq.write_table(pa.table(ROWS), tmp_path / "rows.parquet")
    code = f"""
import pickle, sys, threading, pyarrow as pa, pyarrow.parquet as pq
fn, table = pickle.load(open({str(tmp_path / "fn.pickle")!r}, "rb")), pq.read_table({str(tmp_path / "rows.parquet")!r})
assert "tensorflow" not in sys.modules
from maf_serving.saved_model import LoadedModel
load, loaded = LoadedModel.load, []
LoadedModel.load = lambda *args, **more: loaded.append(args) or load(*args, **more)
results = []
threads = [threading.Thread(target=lambda: results.append(pickle.loads(pickle.dumps(fn))(table))) for _ in range(2)]
[each.start() for each in threads], [each.join() for each in threads]
assert len(loaded) == 1 and results[0].equals(results[1]), loaded
assert not {{"tensorflow_probability", "apache_beam", "maf", "pyspark"}} & set(sys.modules)
pq.write_table(results[0], {str(tmp_path / "answers.parquet")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    there, here = pq.read_table(tmp_path / "answers.parquet"), fn(pa.table(ROWS))
    assert there["reason"].to_pylist() == REASONS
    np.testing.assert_allclose(there["log_prob"].drop_null(), here["log_prob"].drop_null(), rtol=1e-6)


def test_a_model_that_is_not_there_is_named(shop, tmp_path):
    fn = pickle.loads(pickle.dumps(shop.batch_function("score")))  # noqa: S301  # our own
    fn.model = str(tmp_path / "gone")
    with pytest.raises(ms.errors.JobError, match=r"there is no model .*gone on this machine; expected a path"):
        fn(pa.table(ROWS))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scores"], "got 'scores'; expected one of score, inverse, summarize, sample"),
        (["score", {"seed": 1}], r"batch_function\('score'\) got seed=1, which it has no use for"),
        (["sample", {"seed": 1}], "needs a seed and a key_column: rows in batches have no numbers"),
        (["sample", {"key_column": "id"}], "needs a seed and a key_column"),
        (["sample", {"seed": 1, "key_column": "id", "num_samples": 0}], "num_samples is 0"),
        (["score", {"keep": ["idd"], "input_schema": pa.table(ROWS).schema}], "no column 'idd'; did you mean 'id'"),
        (
            ["score", {"input_schema": pa.schema([("x0", pa.float64())])}],
            "x1, region, price, store, temperature not in",
        ),
        (
            ["score", {"keep": ["reason"], "input_schema": pa.table({**ROWS, "reason": [""] * 6}).schema}],
            "keep names rea",
        ),
        (
            ["sample", {"seed": 1, "key_column": "x1", "input_schema": pa.table(ROWS).schema}],
            "key_column x1 is double; expected whole numbers or text",
        ),
    ],
)
def test_what_does_not_fit_is_refused(shop, arguments, message):
    verb, more = [*arguments, {}][:2]
    with pytest.raises(ms.errors.UsageError, match=message):
        shop.batch_function(verb, **more)


def test_a_model_without_a_place_has_no_function(shop):
    with pytest.raises(ms.errors.UsageError, match="needs an exported model"):
        ms.Model(shop.contract, shop._run).batch_function("score")
