"""`--num_shards`: so many files, of as many rows each, with the rows that there would be without it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import SampleOptions, UsageError, sample_table
from beam_jobs.output.writing import RowRange, share_rows


def test_rows_are_split_evenly_and_each_goes_to_one_shard():
    files = [("b", 5), ("a", 4), ("c", 0), ("d", 1)]
    shards = list(share_rows(files, num_shards=3))
    assert shards == [
        [RowRange(path="a", start=0, stop=3)],
        [RowRange(path="a", start=3, stop=4), RowRange(path="b", start=0, stop=2)],
        [RowRange(path="b", start=2, stop=5), RowRange(path="d", start=0, stop=1)],
    ]
    assert list(share_rows([("a", 1)], num_shards=2)) == [[], [RowRange(path="a", start=0, stop=1)]]
    assert list(share_rows([], num_shards=2)) == [[], []]


@pytest.mark.parametrize("num_shards", [1, 7])
def test_a_table_in_that_many_files(num_shards, score, write_parquet, make_columns, monkeypatch):
    monkeypatch.setattr("beam_jobs.sources.parquet_source.MIN_UNIT_ROWS", 1)
    monkeypatch.setattr("beam_jobs.output.writing.ROW_GROUP_ROWS", 100)
    columns = make_columns(3_000, 1)
    columns["x0"][::10] = np.nan
    kind = pa.array([f"k{row % 5}" for row in range(3_000)]).dictionary_encode()
    path = write_parquet("a.parquet", {**columns, "kind": kind}, row_group_size=400)
    plain = score(path, output="plain", keep=("kind",), batch_size=90)
    merged = score(path, output="merged", keep=("kind",), batch_size=90, num_shards=num_shards)
    merged.assert_each_row_once({(path, row) for row in range(3_000)})
    files = sorted(merged.directory.glob("scored-*"))
    rows = [pq.read_metadata(file).num_rows for file in files]
    assert len(rows) == num_shards
    assert max(rows) - min(rows) <= 1
    assert merged.scored.schema.equals(plain.scored.schema)
    assert merged.scored.sort_by("row").to_pydict() == plain.scored.sort_by("row").to_pydict()
    listed = {*merged.summary.output_files, "_summary.json"}
    assert {file.name for file in merged.directory.iterdir()} == listed


def test_more_shards_than_rows_and_no_row_at_all(score, write_parquet, make_columns):
    few = score(write_parquet("a.parquet", make_columns(2, 1)), output="few", num_shards=4)
    assert (len(list(few.directory.glob("scored-*"))), few.scored.num_rows) == (4, 2)
    none = score(write_parquet("b.parquet", make_columns(0, 1)), output="none", num_shards=2)
    assert (len(list(none.directory.glob("scored-*"))), none.scored.num_rows) == (2, 0)


def test_samples_too(run_job, model_base, write_parquet, make_columns):
    path = write_parquet("a.parquet", make_columns(100, 1))
    values = {"model": str(model_base), "num_samples": 3, "seed": 1, "num_shards": 2}
    directory = run_job(sample_table, SampleOptions, path, **values)
    assert [pq.read_metadata(file).num_rows for file in directory.glob("samples-*")] == [150, 150]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_shards": 0}, "--num_shards is 0; expected at least 1"),
        ({"num_shards": 2, "rows_per_file": 5}, "both given"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message, score):
    with pytest.raises(UsageError, match=message):
        score("a.parquet", **options)
