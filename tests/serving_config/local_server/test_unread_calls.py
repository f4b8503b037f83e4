"""gRPC clients that ask for much and take nothing: nobody waits for them, and they are cut off."""

from __future__ import annotations

import contextlib
import time
from types import SimpleNamespace

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving_config.local_server.grpc_door import CallLimits, GrpcDoor
from tests.serving_config.local_server.support import predict_request
from tests.serving_config.local_server.unreading_client import UnreadingClient
from tests.waiting import until

ROWS = 200_000
CLIENTS = 30


def answer(request, _timeout):
    response = predict_pb2.PredictResponse()
    rows = ROWS if request.model_spec.name == "large" else 1
    response.outputs["log_prob"].CopyFrom(tf.make_tensor_proto([0.5] * rows))
    return response


@pytest.fixture
def open_door():
    with contextlib.ExitStack() as stack:

        def start(**limits):
            apis = SimpleNamespace(predict=answer, measured=lambda *_: contextlib.nullcontext())
            door = GrpcDoor(apis, threads=2, health_checks=False, tls=None, limits=CallLimits(**limits))
            stack.callback(door.stop, 0)
            port = door.start("127.0.0.1", 0)
            channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{port}"))
            return door, port, prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict

        yield start


def test_clients_that_keep_their_windows_shut_delay_nobody_and_are_cut_off(open_door):
    door, port, predict = open_door(answer=4.0)
    predict(predict_request(), timeout=30)
    with contextlib.ExitStack() as stack:
        request = predict_request("large")
        unread = [stack.enter_context(UnreadingClient(port, request, answers_pings=True)) for _ in range(CLIENTS)]
        until(lambda: len(door._unread._answered) == CLIENTS or any(each.ended.is_set() for each in unread))
        for _ in range(5):
            predict(predict_request(), timeout=30)  # two threads, thirty answers that are stuck
        assert not any(each.ended.is_set() for each in unread)  # it waited for none of them
        until(lambda: all(each.ended.is_set() for each in unread))
        assert not door._unread._answered
    assert len(predict(predict_request("large"), timeout=30).outputs["log_prob"].tensor_content) == 4 * ROWS


def test_clients_that_do_not_even_answer_pings_lose_their_connection(open_door):
    _, port, predict = open_door(ping=1.0)
    with contextlib.ExitStack() as stack:
        unread = [stack.enter_context(UnreadingClient(port, predict_request("large"))) for _ in range(CLIENTS)]
        predict(predict_request(), timeout=30)
        time.sleep(1.5)  # looking would take what is in the buffers
        until(lambda: all(each.is_cut_off() for each in unread))


def test_calls_that_are_answered_and_taken_are_forgotten(open_door):
    door, _, predict = open_door()
    for _ in range(5):
        predict(predict_request(), timeout=30)
    until(lambda: not door._unread._answered)
