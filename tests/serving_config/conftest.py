from pathlib import Path

import pytest

from serving_config import BatchingParameters, ServedModel, ServingSpec, TlsFiles, VersionPolicy, build_files
from serving_config.generate import read_spec
from tests.serving_config.flow_server import FlowServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "serving" / "spec.yaml"


@pytest.fixture
def server():
    running = FlowServer()
    yield running
    running.close()


@pytest.fixture(params=["rest", "grpc"])
def address(request, server):
    if request.param == "rest":
        return {"rest_url": server.rest_url}
    return {"grpc_target": server.grpc_target}


@pytest.fixture
def local(tmp_path):
    return ServedModel(
        name="demo",
        base_path=str(tmp_path / "models" / "demo"),
        version_policy=VersionPolicy.parse("specific=1,2"),
        version_labels={"stable": 1, "canary": 2},
    )


@pytest.fixture
def spec(local, tmp_path):
    for name in ("key", "cert", "ca"):
        (tmp_path / name).write_text(f"-----BEGIN {name.upper()}-----\nabc\n")
    return ServingSpec(
        models=(local, ServedModel(name="far_away", base_path="gs://bucket/far")),
        cores=3,
        batching=BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 8), batch_timeout_micros=0),
        ssl=TlsFiles(
            server_key=tmp_path / "key",
            server_cert=tmp_path / "cert",
            custom_ca=tmp_path / "ca",
            client_verification="required",
        ),
    )


@pytest.fixture(params=["full", "example", "plain"])
def files(request, spec, local):
    specs = {"full": spec, "plain": ServingSpec(models=(local,))}
    return build_files(specs[request.param] if request.param in specs else read_spec(EXAMPLE))
