"""What the faults happen to: a small model, a table, and a server that scores without TensorFlow."""

from __future__ import annotations

import os
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.beam_jobs.conftest import model_base  # noqa: F401  # a fixture
from tests.beam_jobs.scripted_server import Scripted
from tests.faults import system_calls

ROOT = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
ROWS = 500
NULL_ROW = 7


@pytest.fixture(scope="session")
def watched() -> None:
    """Skips where system calls cannot be watched."""
    reason = system_calls.why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def table(tmp_path_factory) -> Path:
    """A Parquet file of `ROWS` rows, of which one cannot be scored."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=ROWS).tolist() for name in ("x0", "x1", "c0")}
    columns["x0"][NULL_ROW] = None
    path = tmp_path_factory.mktemp("table") / "a.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=100)
    return path


@pytest.fixture(scope="session")
def endpoint():
    """Flags of a job that asks a server in this process."""
    server = grpc.server(futures.ThreadPoolExecutor(2), handlers=[Scripted()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield [f"--endpoint=127.0.0.1:{port}", "--endpoint_model_name=any"]
    server.stop(0).wait()


@pytest.fixture
def score_flags(model_base, table, endpoint):  # noqa: F811  # the fixture
    """Flags of `python -m beam_jobs.score` for an output."""

    def flags(output: str | Path, *more: str) -> list[str]:
        return [f"--model={model_base}", f"--input={table}", f"--output={output}", *endpoint, *more]

    return flags
