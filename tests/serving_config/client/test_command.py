"""The client as a command: flags, what it prints, errors of one line, signals."""

import json
import os
import signal
import subprocess
import sys

import pytest

from serving_config import UsageError
from serving_config.client.options import parse_call
from tests.waiting import SOON, until

ASKED = ["quantile", "--model_name", "m", "--rest_url", "http://h:1", "--levels", "0.5"]
COLUMNS = ["--event_columns", "x0,x1", "--conditional_columns", "c0"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "arguments are required: log_prob"),
        (["score", "--model_name", "m"], "invalid choice: 'score'"),
        (["log_prob", "--model_name", "m", "--input", "a.csv"], "neither came; expected one"),
        (["log_prob", "--model_name", "m", "--rest_url", "u", "--grpc_target", "g", "--input", "a.csv"], "both came"),
        (["log_prob", "--model_name", "m", "--rest_url", "http://h:1"], "--input is missing"),
        (["log_prob", "--model_name", "m", "--rest_url", "http://h:1", "--input", "a.txt"], "ends in '.txt'"),
        (
            ["log_prob", "--model_name", "m", "--rest_url", "u", "--input", "a.csv", "--seed", "1"],
            "expected with sample",
        ),
        ([*ASKED, "--num_samples", "2", "--input", "a.csv"], "expected with sample"),
        (["log_prob", *ASKED[1:], "--levels", "0.5", "--input", "a.csv"], "no meaning for log_prob; .* with quantile"),
        ([*ASKED[:-2], "--input", "a.csv"], "--levels are missing"),
        ([*ASKED[:-1], "0.5,1", "--input", "a.csv"], "--levels has 1; expected probabilities between 0 and 1"),
        ([*ASKED[:-1], "half", "--input", "a.csv"], "'half' has what is no number"),
        ([*ASKED, "--seed", "1", "--input", "a.csv"], "expected with sample or summarize"),
        (["status", "--model_name", "", "--rest_url", "http://h:1"], "name is empty"),
        (["status", "--model_name", "m", "--grpc_target", "h:1", "--client_key", "k"], "belong together"),
    ],
)
def test_flags_that_make_no_sense_are_usage_errors(arguments, message):
    with pytest.raises(UsageError, match=message):
        parse_call(arguments)


def _command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "serving_config.client", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": "."},
    )


def test_the_command_prints_csv(flags, rows):
    run = _command("log_prob", *flags, "--input", rows, "--keep", "id")
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert lines[0] == '"id","row","log_prob"'
    assert len(lines) == 41
    assert run.stderr == ""


def test_the_command_says_what_it_did_and_prints_states(flags, rows, tmp_path):
    run = _command("log_prob", *flags, "--input", rows, "--output", tmp_path / "o.parquet")
    assert run.stdout == f"log_prob: 40 rows of {rows} -> {tmp_path}/o.parquet\n"
    run = _command("status", *flags[:4])
    assert run.stdout.splitlines()[1:] == [
        "version  state      error",
        "      2  AVAILABLE",
        "      1  AVAILABLE",
    ]


def test_errors_are_one_line_and_a_status(rows):
    run = _command(
        "log_prob", "--rest_url", "http://127.0.0.1:9", "--attempts", 1, "--model_name", "m", *COLUMNS, "--input", rows
    )
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("error: http://127.0.0.1:9 cannot be reached")
    assert len(run.stderr.splitlines()) == 1
    run = _command("log_prob", "--model_name", "m")
    assert (run.returncode, len(run.stderr.splitlines())) == (2, 1)


def test_help_is_instant_and_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['client', '--help']\n"
        "try:\n    from serving_config.client.__main__ import main; main()\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'pyarrow', 'numpy', 'grpc', 'urllib3', 'apache_beam'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "--num_samples" in run.stdout


def test_calls_load_no_tensorflow(flags, rows, tmp_path):
    arguments = ["client", "log_prob", *flags, "--input", str(rows), "--output", str(tmp_path / "o.csv")]
    code = (
        f"import sys; sys.argv = {json.dumps(arguments)}\n"
        "from serving_config.client.__main__ import main; assert main() == 0\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert 'numpy' in loaded\n"
        "heavy = {'tensorflow', 'tensorflow_serving', 'tf_keras', 'apache_beam'} & loaded\n"
        "assert not heavy, heavy"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stuck_call_ends_when_it_is_interrupted_and_leaves_nothing(server, rows, tmp_path, number):
    server.stuck.clear()
    try:
        flags = ["--rest_url", server.rest_url, "--model_name", "flow", *COLUMNS]
        command = [sys.executable, "-m", "serving_config.client", "log_prob", *flags, "--input", str(rows)]
        with subprocess.Popen(
            [*command, "--output", str(tmp_path / "o.csv")], stderr=subprocess.PIPE, text=True
        ) as process:
            until(lambda: server.in_flight, of=process)
            process.send_signal(number)
            _, told = process.communicate(timeout=SOON)
    finally:
        server.stuck.set()
    assert process.returncode == 128 + number
    assert told.strip() == f"error: interrupted by {number.name}; nothing was written"
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]
