"""One job on several runners: the same rows come out."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from beam_jobs import SampleOptions, sample_table
from beam_jobs.runner.options import parse_beam_flags

RUNNERS = {
    "threads": [],
    "processes": ["--direct_running_mode=multi_processing", "--direct_num_workers=2"],
    "portable": ["--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK"],
}


@pytest.fixture(scope="module")
def rows_by_runner():
    return {}


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_same_table_comes_out(
    runner, rows_by_runner, model_base, write_parquet, make_columns, tmp_path, monkeypatch
):
    monkeypatch.setattr("beam_jobs.sources.parquet_source.MIN_UNIT_ROWS", 1)
    path = write_parquet("a.parquet", make_columns(2_000, 1), row_group_size=300)
    options = SampleOptions(
        model=str(model_base),
        input_patterns=(path,),
        output=str(tmp_path / "out"),
        num_samples=2,
        seed=5,
        batch_size=500,
    )
    summary = sample_table(options, parse_beam_flags(RUNNERS[runner]))
    assert (summary.rows_read, summary.draws_written) == (2_000, 4_000)
    table = pq.ParquetDataset(sorted((tmp_path / "out").glob("samples-*"))).read()
    table = table.drop_columns("file").sort_by([("row", "ascending"), ("draw", "ascending")])
    first = rows_by_runner.setdefault("first", table)
    for name in table.schema.names:
        np.testing.assert_allclose(table[name], first[name], rtol=1e-4, atol=1e-5)
