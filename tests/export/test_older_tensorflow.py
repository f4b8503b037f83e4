"""Exports in the TensorFlow of an older server: its loaders take them, and give the same answers and draws.

Needs a Python with that TensorFlow, in `OLDER_TENSORFLOW`: `make test-older-tensorflow` sets it and installs 2.19.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from export.signatures import Request
from export.verification.replay import LOADERS, Replies, _environment, write_requests

pytestmark = [pytest.mark.older_tensorflow, pytest.mark.slow]
ROWS = 40  # more than a chunk's alignment, less than a chunk


@pytest.fixture(scope="module")
def older_python() -> str:
    python = os.environ.get("OLDER_TENSORFLOW")
    if not python:
        pytest.skip("no older TensorFlow; OLDER_TENSORFLOW names a Python that has one: make test-older-tensorflow")
    return python


def answers(python, version_dir, requests, place):
    sent, replied = place / "requests.npz", place / "replies.npz"
    write_requests(sent, requests)
    lines = [{"version_dir": str(version_dir)}, {"requests": str(sent), "replies": str(replied)}]
    told = "".join(json.dumps(line) + "\n" for line in lines)
    command = [python, "-m", "export.verification.replay"]
    done = subprocess.run(
        command, input=told, env=_environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    with np.load(replied) as archive:
        return Replies(dict(archive))


def test_an_older_server_answers_alike(exported, older_python, tmp_path):
    condition = exported.condition(ROWS, seed=1)
    dtype = exported.distribution.dtype.as_numpy_dtype
    point = np.random.default_rng(0).normal(size=(ROWS, exported.event_size)).astype(dtype)
    inputs = {
        "forward": {"z": point, **condition},
        "inverse": {"x": exported.signature("forward")(z=point, **condition)["x"], **condition},
        "sample_with_seed": {"seed": np.arange(ROWS), **condition},
    }
    inputs["log_prob"] = inputs["inverse"]
    requests = [Request(name, name, values) for name, values in inputs.items()]
    now = answers(sys.executable, exported.version_dir, requests, tmp_path)
    older = answers(older_python, exported.version_dir, requests, tmp_path)
    assert now.arrays.keys() == older.arrays.keys()
    for loader in LOADERS:
        for name, output in (("forward", "x"), ("inverse", "z"), ("log_prob", "log_prob"), ("sample_with_seed", "x")):
            expected, got = now.output(loader, name, output), older.output(loader, name, output)
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4, err_msg=f"{loader} {name}")


def test_it_is_older(older_python):
    script = "import tensorflow; print(tensorflow.__version__)"
    versions = [
        subprocess.run([python, "-c", script], capture_output=True, text=True, timeout=300, check=True).stdout
        for python in (older_python, sys.executable)
    ]
    older, newer = ([int(part) for part in version.split(".")[:2]] for version in versions)
    assert older < newer
