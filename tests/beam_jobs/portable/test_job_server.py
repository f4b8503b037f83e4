"""The Flink runner's side of a job: a job server and workers in processes and directories of their own.

The job server here is the one that comes with Beam: what Flink itself does, `test_flink.py` shows.
"""

from __future__ import annotations

import pytest

FLINK = ("--runner=FlinkRunner", "--parallelism=2", "--number_of_execution_retries=1")


def test_separate_worker_processes_give_the_same_table(
    score_elsewhere, job_endpoint, worker_pool, assert_same_table, tmp_path
):
    workers = ("--environment_type=EXTERNAL", f"--environment_config={worker_pool}")
    done = score_elsewhere(*FLINK, f"--job_endpoint={job_endpoint}", *workers)
    assert (done.returncode, done.stderr) == (0, "")
    assert_same_table(tmp_path / "scores")


def test_a_failure_in_a_worker_is_the_one_line(score_elsewhere, job_endpoint, table, tmp_path):
    broken = tmp_path / "b.parquet"
    content = bytearray(table.read_bytes())
    content[1_000:1_200] = bytes(200)
    broken.write_bytes(content)
    done = score_elsewhere(*FLINK, f"--job_endpoint={job_endpoint}", "--environment_type=LOOPBACK", source=str(broken))
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: the job failed: {broken} cannot be read from row 0: ")
    assert done.stderr.count("\n") == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.parquet"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--flink_job_server_jar=nowhere.jar",), "Flink's job server is not to be had: Unable to parse jar URL"),
        (("--max_bundle_siz=3",), "unknown argument '--max_bundle_siz=3'"),
        (("--flink_version=1.2",), "invalid choice: '1.2'"),
    ],
)
def test_what_cannot_work_is_refused_before_the_start(flags, message, score_elsewhere, tmp_path):
    done = score_elsewhere("--runner=FlinkRunner", *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_without_java_there_is_no_job_server(score_elsewhere, monkeypatch, tmp_path):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "no_java"))
    done = score_elsewhere("--runner=FlinkRunner", "--flink_job_server_jar=nowhere.jar")
    assert done.returncode == 2
    assert "needs Java, but" in done.stderr
