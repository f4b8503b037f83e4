"""The client against what a real tensorflow_model_server answered: each request of ours is one that was recorded."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import pytest

from maf_serving.messages import message_class
from maf_serving.tensor_proto import from_tensor_proto
from serving_config import Client
from serving_config.client import RetryPolicy
from serving_config.errors import InvalidArgumentError, ModelNotFoundError

SEEDED = {"conditional_input": [[1.0], [-0.5]], "seed": [3, 11]}
DRAWN = {"x": [[0.75, -3.0], [-0.5, -2.0]], "log_prob": [-3.28667164, -3.50542164]}


@pytest.fixture
def rest(recordings):
    answers = {
        (r["method"], r["path"], _canonical(r["body"])): r
        for r in recordings
        if r["transport"] == "rest" and r["server"] == "plain" and r["case"] not in {"not_json", "truncated_json"}
    }

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            recorded = answers[self.command, self.path, _canonical(body)]
            self.send_response(recorded["status"])
            self.send_header("Content-Type", recorded["content_type"])
            self.end_headers()
            self.wfile.write(recorded["response"].encode())

        do_POST = do_GET  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield {"rest_url": f"http://127.0.0.1:{http.server_address[1]}"}
        http.shutdown()
        thread.join()


@pytest.fixture
def over_grpc(recordings):
    recorded = [r for r in recordings if r["transport"] == "grpc" and r["server"] == "plain"]

    class Router(grpc.GenericRpcHandler):
        def service(self, details):
            rpc = details.method.rpartition("/")[2]

            def behave(data, context):
                (found,) = (r for r in recorded if r["rpc"] == rpc and _equal(rpc, r["request"], data))
                if found["code"] != "OK":
                    context.abort(grpc.StatusCode[found["code"]], found["message"])
                return base64.b64decode(found["response"])

            return grpc.unary_unary_rpc_method_handler(behave)  # bytes in, bytes out

    with ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool)
        server.add_generic_rpc_handlers([Router()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield {"grpc_target": f"127.0.0.1:{port}"}
        server.stop(None).wait()


def _canonical(body):
    return json.dumps(json.loads(body), sort_keys=True) if body and body.startswith("{") else body or None


def _equal(rpc, recorded, data):
    def read(serialized):
        message = message_class(f"{rpc}Request").FromString(serialized)
        inputs = {}
        if rpc == "Predict":
            inputs = {k: from_tensor_proto(v) for k, v in message.inputs.items() if v.dtype in {1, 2, 3, 9}}
            message.ClearField("inputs")
        return message, {k: (v.dtype.name, v.tolist()) for k, v in inputs.items()}

    return read(base64.b64decode(recorded)) == read(data)


@pytest.fixture(params=["rest", "over_grpc"])
def recorded_server(request):
    return request.getfixturevalue(request.param)


def _client(address, name="golden_flow", **options):
    return Client(name, **address, retry=RetryPolicy(attempts=1), **options)


def test_the_metadata_of_a_real_server_is_understood(recorded_server):
    with _client(recorded_server) as client:
        metadata = client.metadata()
    assert (metadata.name, metadata.version) == ("golden_flow", 2)
    signature = metadata.signature("sample_with_seed")
    assert {name: (info.dtype, info.shape) for name, info in signature.inputs.items()} == {
        "conditional_input": ("float32", (None, 1)),
        "seed": ("int64", (None,)),
    }
    assert set(signature.outputs) == {"x", "log_prob"}
    assert metadata.signature("regress").inputs["inputs"].dtype == "string"


def test_a_signature_with_two_outputs_is_answered(recorded_server):
    with _client(recorded_server) as client:
        outputs = client.predict("sample_with_seed", SEEDED)
    for name, values in DRAWN.items():
        np.testing.assert_allclose(outputs[name], np.float32(values), rtol=1e-6)
        assert outputs[name].dtype == np.float32


def test_states_are_read(recorded_server):
    with _client(recorded_server) as client:
        assert [(s.version, s.state, s.error_code) for s in client.model_status()] == [
            (2, "AVAILABLE", "OK"),
            (1, "AVAILABLE", "OK"),
        ]


def test_what_is_not_there_is_not_found(recorded_server):
    with _client(recorded_server, "nope") as client:
        with pytest.raises(ModelNotFoundError, match="Could not find any versions of model nope"):
            client.model_status()
        with pytest.raises(ModelNotFoundError, match=r"Servable not found for request: Latest\(nope\)"):
            client.metadata()
    with (
        _client(recorded_server, version=9) as client,
        pytest.raises(ModelNotFoundError, match="Could not find version 9"),
    ):
        client.model_status()


def test_a_prediction_by_grpc_is_one_that_was_recorded(over_grpc):
    x, c = [[0.5, -1.0], [1.5, 2.0]], [[1.0], [-0.5]]
    with _client(over_grpc) as client:
        np.testing.assert_allclose(client.log_prob(x, c), np.float32([-3.38042164, -5.25542164]), rtol=1e-6)
        np.testing.assert_allclose(client.inverse(x, c), [[-0.5, 0.25], [2.0, 0.25]], rtol=1e-6)
        metadata = client.metadata()
    with _client(over_grpc, version_label="nope") as client:
        client._metadata = metadata  # the recorded server was not asked for the metadata of a label
        with pytest.raises(InvalidArgumentError, match="Unrecognized servable version label: nope"):
            client.log_prob(x, c)
