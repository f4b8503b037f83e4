"""Every command of the serving tools that is interrupted says so in one line, and has the signal's exit status."""

import signal
import subprocess
import sys

import pytest

AT = ["--rest_url", "http://localhost:1", "--model_name", "m"]
FLAGS = {
    "serving_config.__main__": ["--model_base", "gs://b/m", "--model_name", "m", "--output", "o"],
    "serving_config.client.__main__": ["status", *AT],
    "serving_config.rollout": [
        "promote",
        "--models_config",
        "f",
        "--rest_url",
        "http://localhost:1",
        "--model_name",
        "m",
    ],
    "serving_config.tune": ["--model", "m"],
    "serving_config.serve": ["--model_base", "gs://b/m", "--backend", "local"],
}
STUCK = {
    "serving_config.__main__": "serving_config.generate.generate",
    "serving_config.client.__main__": "serving_config.client.table_call.format_status",
    "serving_config.rollout": "serving_config.labels.rollout.Rollout",
    "serving_config.tune": "serving_config.tune._tune",
    "serving_config.serve": "serving_config.serve.choose_backend",
}


@pytest.mark.parametrize("module", FLAGS)
def test_status_and_line(module):
    place, _, name = STUCK[module].rpartition(".")
    code = f"""
import importlib, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
def interrupt(*_arguments, **_options):
    signal.raise_signal(signal.SIGINT)
setattr(importlib.import_module({place!r}), {name!r}, interrupt)
sys.argv = ["command", *{FLAGS[module]!r}]
sys.exit(importlib.import_module({module!r}).main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr.strip().startswith("error: interrupted by SIGINT; ")
    assert done.stderr.strip().count("\n") == 0
