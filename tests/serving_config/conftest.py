import json
from pathlib import Path

import pytest

from tests.serving_config.flow_server import FlowServer

GOLDEN = Path(__file__).parents[2].parent / "shared" / "golden"


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


@pytest.fixture(scope="session")
def recordings():
    path = GOLDEN / "recordings.jsonl"
    if not path.is_file():
        pytest.skip("the recorded exchanges with a real server are not there")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
