"""The generator's files, the client and rollouts against a real tensorflow_model_server."""

import os
import shutil
import subprocess

import numpy as np
import pytest

from serving_config import Client
from serving_config.__main__ import main as generate
from serving_config.errors import InvalidArgumentError
from serving_config.rollout import main as rollout
from tests.serving_config.served_flow import await_model, free_ports, log_prob, stop, write_flow

BINARY = os.environ.get("TENSORFLOW_MODEL_SERVER") or shutil.which("tensorflow_model_server")
pytestmark = [
    pytest.mark.serving,
    pytest.mark.skipif(BINARY is None, reason="no tensorflow_model_server on PATH or in TENSORFLOW_MODEL_SERVER"),
]


@pytest.fixture(scope="module", params=["plain", "batching"])
def place(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("real")
    for version in (1, 2, 3):
        write_flow(root / "models" / "flow" / str(version), float(version))
    port, rest_port = free_ports(2)
    flags = ["--model_base", "models/flow", "--model_name", "flow", "--output", "serving", "--port", str(port)]
    flags += ["--rest_api_port", str(rest_port), "--config_poll_seconds", "1"]
    flags += ["--version_policy", "specific=1,2", "--version_labels", "stable=1,canary=2"]
    if request.param == "batching":
        flags += ["--enable_batching", "--max_batch_size", "64", "--allowed_batch_sizes", "1,8,64"]
        flags += ["--batch_timeout_micros", "500", "--num_batch_threads", "2", "--max_enqueued_batches", "100"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr("sys.argv", ["serving_config", *flags])
        assert generate() == 0
    log = root / "server.log"
    environment = {**os.environ, "TENSORFLOW_MODEL_SERVER": BINARY}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", str(root / "serving" / "serve.sh")], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    try:
        addresses = [{"rest_url": f"http://127.0.0.1:{rest_port}"}, {"grpc_target": f"127.0.0.1:{port}"}]
        await_model("flow", log, process, **addresses[0])
        yield root, addresses
    finally:
        stop(process)


def test_the_client_is_answered(place):
    rng = np.random.default_rng(0)
    x, c = rng.normal(size=(300, 2)).astype(np.float32), rng.normal(size=(300, 1)).astype(np.float32)
    draws = []
    for address in place[1]:
        with Client("flow", **address, version_label="canary", rows_per_request=60) as client:
            np.testing.assert_allclose(client.log_prob(x, c), log_prob(x, c, 2.0), rtol=1e-5)
            np.testing.assert_allclose(client.forward(client.inverse(x, c), c), x, rtol=1e-4, atol=1e-5)
            assert np.isnan(client.log_prob([[np.nan, 0]], [[0]])).all()
            draws.append(client.sample(c, num_samples=3, seed=1))
            assert {status.state for status in client.model_status()} == {"AVAILABLE"}
        with Client("flow", **address, version_label="nope") as client, pytest.raises(InvalidArgumentError):
            client.log_prob(x, c)
    np.testing.assert_array_equal(*draws)


def test_labels_move(place):
    root, addresses = place
    base = ["--models_config", str(root / "serving" / "models.config"), "--model_name", "flow"]
    rest, over_grpc = (["--rest_url", addresses[0]["rest_url"]], ["--grpc_target", addresses[1]["grpc_target"]])
    for flags, version in (
        (["assign", *base, *rest, "--label", "canary", "--version", "3"], {"canary": 3, "stable": 1}),
        (["promote", *base, *over_grpc, "--apply", "push"], {"canary": 3, "stable": 3}),
        (["rollback", *base, *rest, "--version", "1"], {"canary": 3, "stable": 1}),
    ):
        assert rollout([*flags, "--wait_seconds", "60"]) == 0
        for label, expected in version.items():
            with Client("flow", **addresses[1], version_label=label) as client:
                assert client.metadata().version == expected
