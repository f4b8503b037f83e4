"""A small model whose answers are known in closed form, and servers on real sockets in this process."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving_config.local_server import LocalServer, ServerOptions

if TYPE_CHECKING:
    from serving_config.local_server.loading import LoadOptions
    from serving_config.local_server.model_config import LoadPolicy

ROW = {"x": [1.0, 2.0], "conditional_input": [1.0]}  # log_prob = offset - 1


class Model(tf.Module):
    """`log_prob` is offset - sum(x - c); `slow` takes a while; `echo` gives every type back; regress, classify."""

    def __init__(self, offset):
        super().__init__()
        self.offset = tf.Variable(offset, dtype=tf.float32)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, name="x"),
            tf.TensorSpec([None, 1], tf.float32, name="conditional_input"),
        ]
    )
    def log_prob(self, x, conditional_input):
        return {"log_prob": self.offset - tf.reduce_sum(x - conditional_input, axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="rounds")])
    def slow(self, rounds):
        def step(i, m):
            product = tf.linalg.matmul(m, m)
            return i + 1, product / tf.reduce_max(product)

        _, m = tf.while_loop(lambda i, _: i < tf.reduce_max(rounds), step, [0, tf.ones([64, 64])])
        return {"done": tf.zeros_like(rounds) + tf.cast(tf.reduce_max(m) > 0, tf.int32)}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float64, name="double"),
            tf.TensorSpec([None], tf.int64, name="long"),
            tf.TensorSpec([None], tf.int32, name="integer"),
            tf.TensorSpec([None], tf.bool, name="flag"),
            tf.TensorSpec([None], tf.string, name="text"),
            tf.TensorSpec([None], tf.string, name="raw"),
        ]
    )
    def echo(self, double, long, integer, flag, text, raw):
        values = {"double": double, "long": long, "integer": integer, "flag": flag, "text": text, "raw_bytes": raw}
        return {name: tf.identity(value) for name, value in values.items()}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs):
        parsed = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([2], tf.float32)})
        return {"outputs": self.offset + tf.reduce_sum(parsed["x"], axis=1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs):
        parsed = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([2], tf.float32)})
        return {"classes": tf.repeat([["low", "high"]], tf.shape(inputs)[0], axis=0), "scores": parsed["x"]}


def write_model(version_dir: Path, offset: float) -> None:
    module = Model(offset)
    signatures = {name: getattr(module, name) for name in ("log_prob", "slow", "echo", "regress", "classify")}
    tf.saved_model.save(module, str(version_dir), signatures=signatures | {"serving_default": module.log_prob})


@dataclasses.dataclass
class Answer:
    status: int
    content_type: str | None
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, *, method: str = "GET", body: bytes | str | None = None, context: Any = None) -> Answer:
    parts = urllib.parse.urlsplit(url)
    secure = {"context": context} if context is not None else {}
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=60, **secure)
    with contextlib.closing(connection):
        connection.request(method, parts.path, body.encode() if isinstance(body, str) else body)
        response = connection.getresponse()
        return Answer(response.status, response.headers["Content-Type"], response.read())


class Running:
    """A started server and ways to talk to it."""

    def __init__(self, server: LocalServer, lines: list[str]) -> None:
        self.server = server
        self.lines = lines
        self.rest = f"http://127.0.0.1:{server.rest_api_port}"
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.port}")
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def get(self, path: str) -> Answer:
        return ask(self.rest + path)

    def post(self, path: str, body: Any) -> Answer:
        return ask(self.rest + path, method="POST", body=body if isinstance(body, bytes | str) else json.dumps(body))

    def states(self, model: str = "small") -> dict[int, str]:
        statuses = self.get(f"/v1/models/{model}").json["model_version_status"]
        return {int(each["version"]): each["state"] for each in statuses}


def predict_request(model: str = "small", signature: str = "", inputs: Any = None, **spec: Any) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if "version" in spec:
        request.model_spec.version.value = spec["version"]
    if "label" in spec:
        request.model_spec.version_label = spec["label"]
    given = {name: np.float32([value]) for name, value in ROW.items()} if inputs is None else inputs
    for name, value in given.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


@contextlib.contextmanager
def running(
    *models: Any,
    load_policy: LoadPolicy | None = None,
    loading: LoadOptions | None = None,
    tls: Any = None,
    **options: Any,
) -> Iterator[Running]:
    lines: list[str] = []
    defaults = {"port": 0, "rest_api_port": 0, "file_system_poll_wait_seconds": 0.1}
    server = LocalServer(
        ServerOptions(**(defaults | options)), load_policy=load_policy, loading=loading, tls=tls, log=lines.append
    )
    server.start(models)
    run = Running(server, lines)
    try:
        yield run
    finally:
        run.channel.close()
        server.stop()
