"""What is written of a row is what `model.summarize` says of it, with the same seeds; every row comes out once."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import maf_serving as ms
from beam_jobs import SummarizeOptions, UsageError, summarize_table
from tests.beam_jobs.conftest import NAN_AT

NAMES = ["x0_mean", "x0_stddev", "x1_mean", "x1_stddev", "x0_q16", "x0_q84", "x1_q16", "x1_q84"]


@pytest.fixture
def summarize(run_job, model_base):
    """Summaries of conditions with the model, sorted; and what the job says of itself."""

    def run(*inputs: str, **values):
        directory = run_job(summarize_table, SummarizeOptions, *inputs, **{"model": str(model_base), **values})
        table = pq.ParquetDataset(sorted(directory.glob("summaries-*"))).read()
        return table.sort_by([("file", "ascending"), ("row", "ascending")]), directory

    return run


def same(table: pa.Table, expected: pa.Table) -> None:
    for name in NAMES:
        np.testing.assert_allclose(table[name], expected[name].drop_null(), rtol=1e-5, atol=1e-5)


def test_each_row_has_what_the_model_says_of_it_in_python(summarize, model_base, write_parquet):
    conditions = {"c0": pa.array([*np.linspace(-2, 2, 300), None, 1.0, NAN_AT]), "id": range(303)}
    path = write_parquet("a.parquet", conditions, row_group_size=70)
    table, directory = summarize(path, seed=7, keep=("id",), batch_size=99)
    assert table.schema.names == ["file", "row", *(NAMES[i] for i in (0, 2, 1, 3, 4, 5, 6, 7)), "id"]
    assert table["row"].to_pylist() == table["id"].to_pylist() == [*range(300), 301]
    same(table, ms.load(model_base).summarize(pa.table(conditions), seed=7))
    rejected = pq.ParquetDataset(sorted(directory.glob("_rejected-*"))).read().sort_by("row").to_pylist()
    assert [(each["row"], each["reason"]) for each in rejected] == [(300, "c0: null"), (302, "not finite")]
    summary = json.loads((directory / "_summary.json").read_text())
    assert (summary["rows_read"], summary["rows_scored"], summary["rows_rejected"]) == (303, 301, 2)
    assert (summary["quantile_levels"], summary["num_draws"]) == ([0.16, 0.84], 1024)
    assert summary["rejected_by_kind"] == {"null": 1, "not finite": 1}


def test_summaries_follow_the_key_of_a_row(summarize, write_parquet):
    c0, keys = np.linspace(-2, 2, 50), [f"k{i}" for i in range(50)]
    forward, _ = summarize(write_parquet("a.parquet", {"c0": c0, "key": keys}), key_column="key", output="a")
    keys[0] = None
    back, directory = summarize(
        write_parquet("b.parquet", {"c0": c0[::-1], "key": keys[::-1]}), key_column="key", output="b"
    )
    np.testing.assert_allclose(back["x0_mean"].to_numpy()[::-1], forward["x0_mean"].to_numpy()[1:], rtol=1e-5)
    rejected = pq.ParquetDataset(sorted(directory.glob("_rejected-*"))).read().to_pylist()
    assert [(each["row"], each["reason"]) for each in rejected] == [(49, "key: null key")]


def test_a_table_in_memory(model_base, tmp_path):
    table = pa.table({"c0": [0.0, 1.0], "unused": [1, 2]})
    summary = ms.summarize(model_base, table, output=tmp_path / "out", seed=3)
    assert (summary.rows_scored, summary.signature_name) == (2, "summarize")
    same(
        pq.ParquetDataset(sorted((tmp_path / "out").glob("summaries-*"))).read(),
        ms.load(model_base).summarize(table, seed=3),
    )


def test_what_does_not_fit_is_refused(summarize, model_base, write_parquet):
    path = write_parquet("a.parquet", {"c0": [1.0], "x0_mean": [1.0]})
    with pytest.raises(UsageError, match="x0_mean, names that the output needs"):
        summarize(path, keep=("x0_mean",))
    with pytest.raises(UsageError, match="--key_column c0 is double; expected whole numbers or text"):
        summarize(path, key_column="c0")
