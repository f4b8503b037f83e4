"""Every exchange recorded with a real server, replayed: codes, values, and messages but for names of graph nodes."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import json_format, message_factory
from tensorflow_serving.apis import model_service_pb2, prediction_service_pb2

from maf_serving.batching import BatchingParameters
from maf_serving.model_spec import VersionPolicy
from serving_config.local_server.loading import LoadOptions
from serving_config.local_server.model_config import LoadPolicy, ModelConfig
from tests.serving_config.local_server.support import Running, ask, running

GOLDEN = Path(__file__).parents[2] / "golden"
RECORDINGS = [json.loads(line) for line in (GOLDEN / "recordings.jsonl").read_text(encoding="utf-8").splitlines()]
BATCHING = BatchingParameters(
    max_batch_size=8,
    batch_timeout_micros=5000,
    num_batch_threads=2,
    max_enqueued_batches=100,
    allowed_batch_sizes=(2, 4, 8),
)
SERVICES = {
    each.full_name: each
    for module in (model_service_pb2, prediction_service_pb2)
    for each in module.DESCRIPTOR.services_by_name.values()
}


@pytest.fixture(scope="module")
def golden_servers() -> Iterator[Callable[[str], Running]]:
    """The two recorded servers, started when they are first used."""
    golden = ModelConfig(
        name="golden_flow",
        base_path=str(GOLDEN / "models" / "golden_flow"),
        policy=VersionPolicy(kind="specific", versions=(1, 2)),
        labels={"stable": 1, "canary": 2},
    )
    batching = {"plain": None, "batching": BATCHING}
    started: dict[str, Running] = {}
    with contextlib.ExitStack() as stack:

        def server(kind: str) -> Running:
            if kind not in started:
                loading = LoadOptions(batching=lambda _path: batching[kind])
                started[kind] = stack.enter_context(
                    running(golden, load_policy=LoadPolicy(early_labels=True), loading=loading)
                )
            return started[kind]

        yield server


def by_transport(transport: str) -> Any:
    chosen = [recording for recording in RECORDINGS if recording["transport"] == transport]
    return pytest.mark.parametrize("recording", chosen, ids=lambda each: f"{each['server']}-{each['case']}")


def pairs_in_order(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), f"a key twice: {pairs}"
    return dict(pairs)


def strictly(text: str | bytes) -> Any:
    return json.loads(text, object_pairs_hook=pairs_in_order)


def without_nodes(message: str) -> str:
    """TensorFlow appends where in the graph it happened; the function's name differs from load to load."""
    return re.sub(r"\s*\[\[.*", "", message, flags=re.DOTALL)


def assert_same(ours: Any, theirs: Any) -> None:
    """Equal JSON, numbers within float32's rounding, errors without names of nodes."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, dict):
        assert sorted(ours) == sorted(theirs)
        for key in theirs:
            assert_same(ours[key], theirs[key])
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for mine, yours in zip(ours, theirs, strict=True):
            assert_same(mine, yours)
    elif isinstance(theirs, float) and math.isfinite(theirs):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=0)
    elif isinstance(theirs, str):
        assert without_nodes(ours) == without_nodes(theirs)
    elif isinstance(theirs, float) and math.isnan(theirs):
        assert math.isnan(ours)
    else:
        assert ours == theirs


def test_the_recordings_are_all_there():
    assert len(RECORDINGS) == 188


@by_transport("rest")
def test_rest(golden_servers, recording):
    answer = ask(
        golden_servers(recording["server"]).rest + recording["path"],
        method=recording["method"],
        body=recording.get("body"),
    )
    assert answer.status == recording["status"]
    assert answer.content_type == recording["content_type"]
    if answer.content_type == "text/html":
        assert answer.body.decode() == recording["response"]
    else:
        assert_same(strictly(answer.body), strictly(recording["response"]))


@by_transport("grpc")
def test_grpc(golden_servers, recording):
    method = SERVICES[recording["service"]].methods_by_name[recording["rpc"]]
    response_class = message_factory.GetMessageClass(method.output_type)
    call = golden_servers(recording["server"]).channel.unary_unary(
        f"/{recording['service']}/{recording['rpc']}",
        request_serializer=bytes,
        response_deserializer=response_class.FromString,
    )
    try:
        response, code, message = call(base64.b64decode(recording["request"]), timeout=60), "OK", ""
    except grpc.RpcError as error:
        response, code, message = None, error.code().name, error.details()
    assert code == recording["code"]
    assert without_nodes(message) == without_nodes(recording["message"])
    if response is not None:
        theirs = response_class.FromString(base64.b64decode(recording["response"]))
        assert_same(as_json(response), as_json(theirs))


def as_json(message: Any) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def test_float_values_are_compared_in_float32():
    assert_same([-3.3804216], [-3.38042164])
    with pytest.raises(AssertionError):
        assert_same([-3.3804], [-3.38042164])
    with pytest.raises(AssertionError):
        assert_same(float("nan"), np.inf)
