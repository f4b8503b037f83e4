"""A table, and the flags of a call with its rows to the server of the tests."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

COLUMNS = ["--event_columns", "x0,x1", "--conditional_columns", "c0"]


@pytest.fixture
def table():
    rng = np.random.default_rng(1)
    names = ["id", "c0", "x0", "x1"]
    return pa.table(
        [pa.array([f"{i:03d}" for i in range(40)]), *(rng.normal(size=40).astype(np.float32) for _ in range(3))], names
    )


@pytest.fixture
def rows(tmp_path, table):
    path = tmp_path / "rows.parquet"
    pq.write_table(table, path, row_group_size=9)
    return path


@pytest.fixture
def flags(address):
    ((name, value),) = address.items()
    return [f"--{name}", value, "--model_name", "flow", *COLUMNS]
