"""The command as a user runs it: one line when ready, one line when not, and a tidy end."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.forked import PIPE, Forked
from tests.serving_config.local_server.support import ROW, write_model
from tests.serving_config.serve_command import COMMAND, environment, free_ports, run


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small"
    write_model(path / "1", 1.0)
    return path


@contextlib.contextmanager
def served(base, *arguments):
    """A server that is ready: the process, the line it said, and its REST port."""
    port, rest_port = free_ports(2)
    command = [*COMMAND, "--backend=local", f"--model_base={base}", "--model_name=small"]
    command += [f"--port={port}", f"--rest_api_port={rest_port}", *arguments]
    process = Forked(command, stdout=PIPE, stderr=PIPE, env=environment(), cwd=base)
    with process:
        try:
            yield process, process.stdout.readline(), rest_port
        finally:
            if process.poll() is None:
                process.kill()


def predict(port, body):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/models/small:predict", json.dumps(body))
        response = connection.getresponse()
        return response.status, json.loads(response.read())


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys, serving_config.serve as s\n"
        "try: s.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'grpc', 'aiohttp', 'numpy', 'google.protobuf', 'pyarrow', 'apache_beam'}\n"
        "sys.exit(str(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert "--model_base_path" in done.stdout


def test_one_line_when_ready_and_a_graceful_end_under_load(base):
    with served(base, "--enable_grpc_healthcheck_service") as (process, line, port):
        assert re.fullmatch(
            r"local server in Python, for development, serves small: gRPC on 127\.0\.0\.1:\d+, "
            r"REST on http://127\.0\.0\.1:\d+, because --backend is local\n",
            line,
        )
        assert predict(port, {"instances": [ROW]}) == (200, {"predictions": [0.0]})
        answers = []
        slow = {"signature_name": "slow", "instances": [{"rounds": 40_000}]}
        asking = [threading.Thread(target=lambda: answers.append(predict(port, slow))) for _ in range(3)]
        for thread in asking:
            thread.start()
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        for thread in asking:
            thread.join()
        _, errors = process.communicate(timeout=60)
        assert answers == [(200, {"predictions": [1]})] * 3
        assert process.returncode == 0
        assert errors == ("version 1 of small is available\nstopping: no new requests, those under way are answered\n")
        with pytest.raises(ConnectionError):
            predict(port, {})


def test_a_second_signal_ends_it_at_once(base):
    with served(base, "--rest_api_timeout_in_ms=0") as (process, _, port):
        endless = {"signature_name": "slow", "instances": [{"rounds": 2**30}]}

        def ask():
            with contextlib.suppress(OSError, http.client.HTTPException):
                predict(port, endless)

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert process.poll() is None  # it waits for the request
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
        asking.join()
        assert process.returncode == 128 + signal.SIGINT
        assert errors.endswith("stopped at once\n")


def test_the_grace_period_ends(base):
    with served(base, "--rest_api_timeout_in_ms=1500", "--grace_seconds=0.5") as (process, _, port):
        slow = {"signature_name": "slow", "instances": [{"rounds": 2**30}]}

        def ask():
            with contextlib.suppress(OSError, http.client.HTTPException):
                predict(port, slow)

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        asking.join()
        assert process.returncode == 0


def test_a_port_in_use_is_one_line(base):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        used, free = taken.getsockname()[1], free_ports(1)[0]
        cases = (((used, free), "--port"), ((free, used), "--rest_api_port"))

        def start(ports):
            return run("--backend=local", f"--model_base={base}", f"--port={ports[0]}", f"--rest_api_port={ports[1]}")

        with ThreadPoolExecutor(2) as pool:
            runs = list(pool.map(start, [ports for ports, _ in cases]))
        for done, (_, flag) in zip(runs, cases, strict=True):
            assert done.returncode == 1
            assert done.stdout == ""
            [*versions, error] = done.stderr.splitlines()
            assert versions == ["version 1 of default is available"]
            assert error.startswith("error: cannot listen for ")
            assert str(used) in error
            assert flag in error


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--model_base=/nowhere"], "--model is /nowhere, which is no directory"),
        (["--model_base=BASE", "--backend=binary"], "set TENSORFLOW_MODEL_SERVER to its path"),
        (["--model_base=BASE", "--backend=local", "--enable_profiler"], "unknown argument '--enable_profiler"),
        (
            [
                "--model_base=BASE",
                "--backend=local",
                "--tensorflow_session_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
            ],
            "--tensorflow_session_parallelism excludes",
        ),
    ],
)
def test_usage_errors_are_one_line(base, tmp_path, arguments, complaint):
    (tmp_path / "empty").touch()
    given = [each.replace("BASE", str(base)).replace("FILE", str(tmp_path / "empty")) for each in arguments]
    done = run(*given, PATH="/nowhere")
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert complaint in line


def test_a_base_without_versions_is_waited_for(base, tmp_path):
    port, rest_port = free_ports(2)
    command = [
        *COMMAND,
        "--backend=local",
        f"--model_base={tmp_path}",
        f"--port={port}",
        f"--rest_api_port={rest_port}",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stderr.readline().startswith("no version of default to serve is under base path")
        with pytest.raises(ConnectionRefusedError):  # the real server does not listen either
            socket.create_connection(("127.0.0.1", rest_port))
        shutil.copytree(base / "1", tmp_path / "unfinished")
        (tmp_path / "unfinished").rename(tmp_path / "1")
        assert process.stdout.readline().startswith("local server in Python, for development, serves default")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
