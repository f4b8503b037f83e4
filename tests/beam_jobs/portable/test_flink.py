"""A real Flink: a local cluster inside Beam's job server, with two task slots.

Needs Java, and the jar of the job server: its path in `FLINK_JOB_SERVER_JAR`, or where Beam keeps what it downloaded.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.flink_runner import FlinkJarJobServer
from apache_beam.utils.subprocess_server import JavaHelper, JavaJarServer

pytestmark = [pytest.mark.flink, pytest.mark.slow]


@pytest.fixture(scope="module")
def flink_flags() -> tuple[str, ...]:
    if shutil.which(JavaHelper.get_java()) is None:
        pytest.skip("no Java on this machine")
    url = FlinkJarJobServer(PipelineOptions([])).path_to_jar()
    jar = Path(os.environ.get("FLINK_JOB_SERVER_JAR") or Path(JavaJarServer.JAR_CACHE) / Path(url).name)
    if not jar.is_file():
        pytest.skip(f"no job server of Flink at {jar}; name one with FLINK_JOB_SERVER_JAR")
    return ("--runner=FlinkRunner", "--flink_master=[local]", "--parallelism=2", f"--flink_job_server_jar={jar}")


@pytest.mark.parametrize("workers", ["LOOPBACK", "EXTERNAL"])
def test_the_same_table_comes_out(workers, flink_flags, score_elsewhere, assert_same_table, worker_pool, tmp_path):
    config = [f"--environment_config={worker_pool}"] if workers == "EXTERNAL" else []
    done = score_elsewhere(*flink_flags, f"--environment_type={workers}", *config)
    assert done.returncode == 0, done.stderr
    assert_same_table(tmp_path / "scores")


def test_a_damaged_file_fails_the_job_in_one_line(flink_flags, score_elsewhere, table, tmp_path):
    broken = tmp_path / "b.parquet"
    content = bytearray(table.read_bytes())
    content[1_000:1_200] = bytes(200)
    broken.write_bytes(content)
    done = score_elsewhere(*flink_flags, "--environment_type=LOOPBACK", source=str(broken))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the job failed: {broken} cannot be read from row 0: ")
    assert done.stderr.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.parquet"]
