"""Jobs on a runner that outlives the command: they publish by themselves, and Ctrl-C cancels them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.waiting import until

ROWS = 1_500
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
# Whoever touches the output needs the file system of the tests.
PRELUDE = (
    "import signal, sys, tests.beam_jobs.kept_file_system; signal.signal(signal.SIGINT, signal.default_int_handler)"
)
SERVER = f"{PRELUDE}; from apache_beam.runners.portability.local_job_service_main import run; run(sys.argv[1:])"
COMMAND = f"{PRELUDE}; from beam_jobs.score import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def job_server(tmp_path):
    """`host:port` of Beam's job service, whose workers are threads of it."""
    port_file = tmp_path / "port"
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, "--port_file", str(port_file)], stdout=log, stderr=log, env=ENVIRONMENT
        )
        until(lambda: port_file.exists() and port_file.read_text())
        yield f"127.0.0.1:{port_file.read_text()}"
        process.kill()
        process.wait()


@pytest.fixture
def start(job_server, model_base, write_parquet, make_columns, scored_elsewhere, tmp_path):
    """Starts a job that takes a second or more, to the store `kept://<tmp_path>/out`."""
    path = write_parquet("a.parquet", make_columns(ROWS, 1))
    flags = [f"--model={model_base}", f"--input={path}", f"--output=kept://{tmp_path}/out", *scored_elsewhere]
    flags += ["--runner=PortableRunner", f"--job_endpoint={job_server}"]
    flags += ["--environment_type=beam:env:embedded_python:v1"]
    processes: list[subprocess.Popen] = []

    def start(*more):
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, *flags, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def await_submission(process):
    lines = iter(process.stderr.readline, "")
    assert any("is submitted" in line for line in lines), "it ended before"


def scored_rows(tmp_path):
    summary = json.loads((tmp_path / "out" / "_summary.json").read_text())
    names = [name for name in summary["output_files"] if name.startswith("scored-")]
    rows = [row for name in names for row in pq.read_table(tmp_path / "out" / name)["row"].to_pylist()]
    assert (sorted(rows), summary["rows_scored"]) == (list(range(ROWS)), ROWS)
    return {path.name for path in (tmp_path / "out").iterdir()} - {*summary["output_files"], "_summary.json"}


def test_a_job_whose_command_was_killed_publishes_all_the_same(start, tmp_path):
    process = start("--batch_size=1")
    await_submission(process)
    process.kill()
    process.communicate()
    assert not (tmp_path / "out").exists()
    until(lambda: (tmp_path / "out" / "_summary.json").exists() and not list(tmp_path.glob("out.staging-*/*")))
    assert scored_rows(tmp_path) == set()


def test_whoever_waits_is_told_what_the_pipeline_published(start, tmp_path):
    process = start()
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    told = [line for line in errors.splitlines() if not line.startswith("WARNING:root")]  # of the prelude
    assert len(told) == 1
    assert re.fullmatch(r"job \S+ is submitted; it publishes its output by itself, Ctrl-C cancels it", told[0])
    assert f"rows scored          {ROWS:,}" in output
    assert scored_rows(tmp_path) == set()
    again = start()
    assert "exists; name a directory that does not" in again.communicate(timeout=120)[1]
    assert again.returncode == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_the_job_and_a_termination_leaves_it(number, start, tmp_path):
    process = start("--batch_size=1")
    await_submission(process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    told = errors.splitlines()[-1]
    if number == signal.SIGTERM:
        assert re.fullmatch(r"error: interrupted by SIGTERM; job \S+ goes on, and publishes its output", told)
        until(lambda: (tmp_path / "out" / "_summary.json").exists())
        assert scored_rows(tmp_path) == set()
    else:
        assert re.fullmatch(r"error: interrupted by SIGINT; job \S+ was cancelled", told)
        # Beam's job service goes on all the same: what it makes has lost its place.
        until(lambda: "nothing is published" in (tmp_path / "server.log").read_text())
        assert not (tmp_path / "out").exists()


def test_too_many_rejected_rows_fail_the_pipeline_and_are_kept(start, tmp_path):
    table = pq.read_table(tmp_path / "a.parquet")
    table = table.set_column(0, "x0", [[None, *table["x0"].to_pylist()[1:]]])
    pq.write_table(table, tmp_path / "a.parquet")
    process = start("--max_rejected=0")
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert re.search(r"error: the job failed: 1 of 1,500 rows .* are in kept://.*/out\.rejected-", errors)
    assert {path.name.partition("-")[0] for path in tmp_path.glob("out*/*")} == {"_rejected", "_summary.json"}


def test_the_pipeline_itself_publishes_nothing_where_an_input_changed(start, tmp_path):
    process = start("--batch_size=1")
    await_submission(process)
    process.kill()
    process.communicate()
    os.utime(tmp_path / "a.parquet", (1, 1))
    until(lambda: "a.parquet changed while it was read: had " in (tmp_path / "server.log").read_text())
    assert not (tmp_path / "out").exists()
