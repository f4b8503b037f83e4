"""A command that is killed while it writes, and run again with the same flags."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.forked import DEVNULL, Forked, run_python
from tests.waiting import until

ROWS = 60_000


@pytest.fixture
def command(model_base, write_parquet, make_columns, tmp_path) -> list[str]:
    """A job of half a minute or so: few rows at a time."""
    path = write_parquet("a.parquet", make_columns(ROWS, 1), row_group_size=10_000)
    flags = [f"--model={model_base}", f"--input={path}", f"--output={tmp_path / 'scores'}", "--batch_size=4"]
    return [sys.executable, "-m", "beam_jobs.score", *flags]


def wait_until_it_writes(process: Forked | subprocess.Popen, directory: Path) -> None:
    until(lambda: list(directory.glob("scores.staging-*/scored-*")), of=process)


def test_a_killed_job_shows_nothing_and_can_be_run_again(command, scored_elsewhere, tmp_path):
    with Forked([*command, *scored_elsewhere], stdout=DEVNULL, stderr=DEVNULL) as process:
        wait_until_it_writes(process, tmp_path)
        time.sleep(random.random())  # noqa: S311  # another moment each time
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
    assert not (tmp_path / "scores").exists()
    assert len(list(tmp_path.glob("scores.staging-*"))) == 1

    # A later flag wins: the same job, in seconds.
    done = run_python(*command[1:], "--batch_size=4096", timeout=60)
    assert done.returncode == 0, done.stderr
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.parquet", "scores"]
    output = tmp_path / "scores"
    assert json.loads((output / "_summary.json").read_text())["rows_scored"] == ROWS
    table = pq.ParquetDataset(sorted(output.glob("scored-*"))).read(["row"])
    assert sorted(table["row"].to_pylist()) == list(range(ROWS))


def worker_processes(process: subprocess.Popen) -> list[int]:
    """Children of the command that run Beam's worker."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [child for child in children if b"sdk_worker_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.skipif(sys.platform != "linux", reason="finds worker processes in /proc")
def test_a_job_whose_worker_process_is_killed_says_so_and_ends(command, scored_elsewhere, tmp_path):
    flags = ["--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    with subprocess.Popen([*command, *flags, *scored_elsewhere], stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until_it_writes(process, tmp_path)
            workers = worker_processes(process)
            assert len(workers) == 2
            os.kill(workers[0], signal.SIGKILL)
            _, errors = process.communicate(timeout=180)
        finally:
            process.kill()
    (told,) = errors.splitlines()
    assert told.startswith(
        "error: the job failed: a worker process was killed by SIGKILL; if memory ran out, use fewer"
    )
    assert process.returncode == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.parquet"]
    assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
