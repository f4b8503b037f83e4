"""One table scored in this process, for other runners to be compared with; and places to run it elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.waiting import until

ROWS = 4_000


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory, make_columns: Callable) -> Path:
    """A file of several row groups, one row without a value."""
    path = tmp_path_factory.mktemp("table") / "a.parquet"
    columns = {name: pa.array(values) for name, values in make_columns(ROWS, 3).items()}
    columns["x0"] = pa.array([None, *columns["x0"].to_pylist()[1:]])
    pq.write_table(pa.table({**columns, "id": np.arange(ROWS)}), path, row_group_size=500, write_page_checksum=True)
    return path


@pytest.fixture
def start_elsewhere(model_base: Path, table: Path, tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Starts `python -m beam_jobs.score` in the directory of the table, with those flags, into `tmp_path / output`."""

    def start(*flags: str, output: str = "scores", source: str = "a.parquet") -> subprocess.Popen:
        command = [sys.executable, "-m", "beam_jobs.score", f"--model={model_base}", f"--input={source}", "--keep=id"]
        return subprocess.Popen(
            [*command, f"--output={tmp_path / output}", "--batch_size=300", *flags],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=table.parent,
            env=importable(),
        )

    return start


@pytest.fixture
def score_elsewhere(start_elsewhere: Callable) -> Callable[..., subprocess.CompletedProcess]:
    """The same, to its end."""

    def score(*flags: str, output: str = "scores", source: str = "a.parquet") -> subprocess.CompletedProcess:
        with start_elsewhere(*flags, output=output, source=source) as process:
            try:
                told, complaint = process.communicate(timeout=240)
            finally:
                process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, told, complaint)

    return score


def importable() -> dict[str, str]:
    """The environment of a process that finds this project and this Python, wherever it is started."""
    root, python = str(Path(__file__).parents[3]), str(Path(sys.executable).parent)
    return {**os.environ, "PYTHONPATH": root, "PATH": os.pathsep.join([python, os.environ["PATH"]])}


def scores_by_id(directory: Path) -> dict[int, float]:
    """What was scored, each row once."""
    scored = pq.ParquetDataset(sorted(directory.glob("scored-*.parquet"))).read()
    assert scored.num_rows == len(set(scored["id"].to_pylist()))
    return dict(zip(scored["id"].to_pylist(), scored["log_prob"].to_pylist(), strict=True))


@pytest.fixture
def assert_same_table(score_elsewhere: Callable, tmp_path: Path) -> Callable[[Path], None]:
    """Compares a result with that of this machine's own threads."""

    def compare(directory: Path) -> None:
        assert score_elsewhere(output="reference").returncode == 0
        expected, got = scores_by_id(tmp_path / "reference"), scores_by_id(directory)
        assert set(got) == set(expected) == set(range(1, ROWS))
        np.testing.assert_allclose([got[i] for i in sorted(got)], [expected[i] for i in sorted(got)], rtol=1e-5)
        rejected = pq.ParquetDataset(sorted(directory.glob("_rejected-*.parquet"))).read().to_pylist()
        assert [(row["row"], row["reason"]) for row in rejected] == [(0, "x0: null")]

    return compare


@pytest.fixture(scope="session")
def running_pool(tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]) -> Iterator[tuple[str, int]]:
    """`host:port` and process of a pool that starts a worker process when asked, in a directory of its own."""
    port = free_port()
    module = "apache_beam.runners.worker.worker_pool_main"
    with _running(tmp_path_factory.mktemp("pool"), "-m", module, f"--service_port={port}") as process:
        yield f"localhost:{port}", process.pid


@pytest.fixture(scope="session")
def worker_pool(running_pool: tuple[str, int]) -> str:
    """`host:port` of the pool."""
    return running_pool[0]


@pytest.fixture
def kill_workers(running_pool: tuple[str, int]) -> Callable[[], None]:
    """SIGKILL to every worker that the pool has started."""

    def kill() -> None:
        children = Path(f"/proc/{running_pool[1]}/task").glob("*/children")
        workers = [int(worker) for path in children for worker in path.read_text().split()]
        assert workers
        for worker in workers:
            os.kill(worker, signal.SIGKILL)

    return kill


@pytest.fixture(scope="session")
def job_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a job server in a process and a directory of its own: Beam's, which runs jobs without Flink."""
    directory = tmp_path_factory.mktemp("job_server")
    module = "apache_beam.runners.portability.local_job_service_main"
    port = directory / "port"
    with _running(directory, "-m", module, f"--port_file={port}", f"--staging_dir={directory / 'staging'}"):
        until(lambda: port.is_file() and port.read_text())
        yield f"localhost:{port.read_text().strip()}"


class _running:  # noqa: N801  # a context manager, and used as one
    def __init__(self, directory: Path, *arguments: str) -> None:
        self._log = (directory / "log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, *arguments], cwd=directory, env=importable(), stdout=self._log, stderr=subprocess.STDOUT
        )

    def __enter__(self) -> subprocess.Popen:
        return self._process

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._log.close()


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    import socket  # noqa: PLC0415

    def find() -> int:
        with socket.create_server(("localhost", 0)) as server:
            port: int = server.getsockname()[1]
            return port

    return find
