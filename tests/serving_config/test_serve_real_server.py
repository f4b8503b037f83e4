"""The command with a real server: it takes over, with its flags, its signals and its exit status."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys

import pytest

from maf_serving.model_spec import VersionPolicy
from serving_config.local_server.model_config import read_model_configs
from tests.serving_config.local_server.support import write_model
from tests.serving_config.serve_command import COMMAND, environment, run


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small"
    write_model(path / "1", 1.0)
    return path


@pytest.fixture
def real_server(tmp_path):
    """A program that says how it was called, ends like the real one on SIGTERM, and else with status 7."""
    program = tmp_path / "bin" / "tensorflow_model_server"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "print(sys.argv[1:], flush=True)\n"
        "time.sleep(60 if '--wait' in sys.argv else 0)\nsys.exit(7)\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_the_real_server_takes_over(base, real_server):
    done = run(f"--model_base={base}", "--model_name=m", PATH=str(real_server.parent))
    assert done.returncode == 7
    started, arguments = done.stdout.splitlines()
    doors = "gRPC on 0.0.0.0:8500, REST on 0.0.0.0:8501"
    assert started == f"starting tensorflow_model_server ({real_server}): {doors}, because it is on PATH"
    flags = ["--port=8500", "--rest_api_port=8501", "--model_name=m", f"--model_base_path={base}"]
    assert arguments == str(flags)


def test_a_version_reaches_the_real_server_by_a_file(base, real_server, tmp_path):
    write_model(base / "2", 1.0)
    done = run(f"--model={base}/1", "--model_name=m", PATH=str(real_server.parent), TMPDIR=str(tmp_path))
    assert done.returncode == 7
    said, _, arguments = done.stdout.splitlines()
    (config,) = tmp_path.glob("maf-serving-*/models.config")
    assert said == f"version 1 of {base} alone: see {config}"
    assert arguments == str(["--port=8500", "--rest_api_port=8501", f"--model_config_file={config}"])
    (model,) = read_model_configs(str(config))
    assert (model.name, model.base_path, model.policy) == ("m", str(base), VersionPolicy.parse("specific=1"))


def test_signals_reach_the_real_server(base, real_server):
    command = [*COMMAND, f"--model_base={base}", "--wait"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment(TENSORFLOW_MODEL_SERVER=str(real_server))
    ) as process:
        process.stdout.readline()
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 5


def test_a_host_that_the_real_server_cannot_take_is_refused(base, real_server):
    done = run(f"--model_base={base}", "--host=127.0.0.1", TENSORFLOW_MODEL_SERVER=str(real_server))
    assert done.returncode == 2
    assert "listens on all addresses" in done.stderr
