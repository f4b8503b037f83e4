"""Prism, Beam's portable runner in Go: an implementation of the protocol that shares nothing with the Python one.

Needs its program: a path in `PRISM`, which `make test-prism` sets and builds.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.prism, pytest.mark.slow]


@pytest.fixture
def prism_flags() -> tuple[str, ...]:
    program = Path(os.environ.get("PRISM", ""))
    if not program.is_file():
        pytest.skip("no Prism; PRISM names its program, and make test-prism builds it")
    return ("--runner=PrismRunner", f"--prism_location={program}")


@pytest.mark.parametrize("workers", ["LOOPBACK", "EXTERNAL"])
def test_the_same_table_comes_out(workers, prism_flags, score_elsewhere, assert_same_table, worker_pool, tmp_path):
    config = [f"--environment_config={worker_pool}"] if workers == "EXTERNAL" else []
    done = score_elsewhere(*prism_flags, f"--environment_type={workers}", *config)
    assert (done.returncode, done.stderr) == (0, "")
    assert_same_table(tmp_path / "scores")


def test_a_damaged_file_fails_the_job_in_one_line(prism_flags, score_elsewhere, table, tmp_path):
    broken = tmp_path / "b.parquet"
    content = bytearray(table.read_bytes())
    content[1_000:1_200] = bytes(200)
    broken.write_bytes(content)
    done = score_elsewhere(*prism_flags, "--environment_type=LOOPBACK", source=str(broken))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the job failed: {broken} cannot be read from row 0: ")
    assert done.stderr.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.parquet"]


def test_a_killed_worker_fails_the_job_and_a_rerun_succeeds(
    prism_flags, start_elsewhere, table, worker_pool, kill_workers, tmp_path
):
    many = tmp_path / "many.parquet"
    rows = pq.read_table(table)
    with pq.ParquetWriter(many, rows.schema) as writer:
        for _ in range(500):
            writer.write_table(rows)
    flags = (*prism_flags, "--environment_type=EXTERNAL", f"--environment_config={worker_pool}")
    job = start_elsewhere(*flags, source=str(many))
    _await(lambda: list(tmp_path.glob("scores.staging-*/scored-*")), job)
    kill_workers()
    _, complaint = job.communicate(timeout=240)
    assert job.returncode == 1
    assert complaint.startswith("error: the job failed: ")
    assert complaint.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["many.parquet"]

    again = start_elsewhere(*flags, source=str(many))
    assert again.communicate(timeout=240)[1] == ""
    scored = pq.ParquetDataset(sorted((tmp_path / "scores").glob("scored-*"))).read(columns=["id"])
    assert scored.num_rows == 500 * (rows.num_rows - 1)


def _await(condition: Callable[[], object], job: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
