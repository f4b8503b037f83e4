"""Requests gathered into batches: sizes, padding, order of answers, errors; with a runner that only remembers."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from maf_serving.batching import BatchingParameters
from serving_config import Client
from serving_config.local_server import RequestError
from serving_config.local_server.batching import BatchingRunner
from serving_config.local_server.loading import LoadOptions
from serving_config.local_server.model_config import ModelConfig
from tests.serving_config.local_server.load import load
from tests.serving_config.local_server.support import predict_request


class Doubler:
    """Doubles `x`, after the gate is open."""

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()

    def run(self, feeds, fetches, timeout):
        self.batches.append(feeds["x"])
        assert self.gate.wait(10)
        if np.any(feeds["x"] < 0):
            raise RequestError(3, "negative")
        return [feeds["x"] * 2]


def side_by_side(runner, *arrays, timeout=None):
    results = [None] * len(arrays)

    def ask(number):
        try:
            results[number] = runner.run({"x": arrays[number]}, ["y"], timeout)[0]
        except RequestError as error:
            results[number] = error

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(arrays))]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    return results


def rows(*values):
    return np.array(values, np.float64)


def test_requests_share_a_batch_and_get_their_own_rows():
    doubler = Doubler()
    runner = BatchingRunner(doubler, BatchingParameters(max_batch_size=4, batch_timeout_micros=5_000_000))
    results = side_by_side(runner, rows(1.0), rows(2.0, 3.0), rows(4.0))
    assert [result.tolist() for result in results] == [[2], [4, 6], [8]]
    assert [batch.tolist() for batch in doubler.batches] == [[1, 2, 3, 4]]


def test_a_batch_is_padded_with_a_row_of_its_own():
    doubler = Doubler()
    runner = BatchingRunner(doubler, BatchingParameters(max_batch_size=8, allowed_batch_sizes=(4, 8)))
    assert runner.run({"x": rows(7.0, 8.0)}, ["y"], None)[0].tolist() == [14, 16]
    assert doubler.batches[0].tolist() == [7, 8, 7, 7]
    runner = BatchingRunner(
        doubler, BatchingParameters(max_batch_size=4, batch_timeout_micros=300_000, allowed_batch_sizes=(4,))
    )
    side_by_side(runner, rows(1.0), rows(2.0))
    assert doubler.batches[1].tolist() == [1, 2, 2, 2]  # a row of the last request


def test_an_error_is_every_mates():
    doubler = Doubler()
    runner = BatchingRunner(doubler, BatchingParameters(max_batch_size=2, batch_timeout_micros=5_000_000))
    results = side_by_side(runner, rows(1.0), rows(-1.0))
    assert [str(result) for result in results] == ["negative", "negative"]


@pytest.mark.parametrize(
    ("other", "code", "message"),
    [
        (
            rows([2.0, 3.0]),
            9,
            "Tensors with name 'x' from different tasks have different shapes and padding is turned off",
        ),
        (np.array([4], np.int64), 13, "different data types. Got double and int64."),
    ],
)
def test_a_request_of_another_shape_or_type_fails_its_mates(other, code, message):
    doubler = Doubler()
    runner = BatchingRunner(doubler, BatchingParameters(max_batch_size=2, batch_timeout_micros=5_000_000))
    results = side_by_side(runner, rows(1.0), other)
    assert [(result.code, message in result.message) for result in results] == [(code, True)] * 2
    assert not doubler.batches
    assert runner.run({"x": np.concatenate([other, other])}, ["y"], None)[0].tolist() == (2 * other).tolist() * 2


def test_a_request_of_no_rows_runs_alone():
    doubler = Doubler()
    runner = BatchingRunner(doubler, BatchingParameters(batch_timeout_micros=5_000_000))
    assert runner.run({"x": rows()}, ["y"], None)[0].tolist() == []


def test_what_does_not_fit_is_refused():
    runner = BatchingRunner(Doubler(), BatchingParameters(max_batch_size=2))
    for feeds, complaint in (
        ({"x": rows(1, 2, 3)}, "Task size 3 is larger than maximum input batch size 2"),
        ({"x": np.array(1.0)}, "must have at least one dimension"),
        ({"x": rows(1), "y": rows(1, 2)}, "must have equal 0th-dimension size"),
    ):
        with pytest.raises(RequestError, match=complaint):
            runner.run(feeds, ["y"], None)


def test_a_large_request_is_split_if_asked_for():
    doubler = Doubler()
    runner = BatchingRunner(
        doubler, BatchingParameters(max_batch_size=100, enable_large_batch_splitting=True, max_execution_batch_size=2)
    )
    assert runner.run({"x": rows(1, 2, 3, 4, 5)}, ["y"], None)[0].tolist() == [2, 4, 6, 8, 10]
    assert [len(batch) for batch in doubler.batches] == [2, 2, 1]
    with pytest.raises(RequestError, match="Task size 101 is larger than maximum input batch size 100"):
        runner.run({"x": np.zeros(101)}, ["y"], None)


def test_more_batches_than_may_wait_are_refused():
    doubler = Doubler()
    doubler.gate.clear()
    runner = BatchingRunner(doubler, BatchingParameters(max_batch_size=1, max_enqueued_batches=1, num_batch_threads=1))
    threading.Timer(0.3, doubler.gate.set).start()
    results = side_by_side(runner, rows(1.0), rows(2.0), rows(3.0))
    assert [result.tolist() for result in results[:2]] == [[2], [4]]
    assert "queue to which this task was submitted is full" in str(results[2])


def test_a_mate_does_not_wait_longer_than_its_time():
    doubler = Doubler()
    doubler.gate.clear()
    runner = BatchingRunner(doubler, BatchingParameters(max_batch_size=2, batch_timeout_micros=5_000_000))
    threading.Timer(0.5, doubler.gate.set).start()
    results = side_by_side(runner, rows(1.0), rows(2.0), timeout=0.2)
    assert results[0].tolist() == [2]
    assert "timeout exceeded" in str(results[1])


def test_many_requests_at_once():
    doubler = Doubler()
    runner = BatchingRunner(
        doubler, BatchingParameters(max_batch_size=8, batch_timeout_micros=1000, max_enqueued_batches=1000)
    )
    failures = []

    def ask(first):
        for number in range(first, first + 200):
            values = rows(*range(number, number + number % 8 + 1))
            if runner.run({"x": values}, ["y"], 30)[0].tolist() != (values * 2).tolist():
                failures.append(number)

    threads = [threading.Thread(target=ask, args=(1000 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(doubler.batches) < 8 * 200
    assert max(map(len, doubler.batches)) == 8


def test_a_batching_server_answers_side_by_side_with_and_without_deadlines(serve, base):
    parameters = BatchingParameters(max_batch_size=8, batch_timeout_micros=2000, allowed_batch_sizes=(4, 8))
    loading = LoadOptions(batching=lambda _path: parameters)
    server = serve(ModelConfig(name="small", base_path=str(base)), loading=loading)
    request = predict_request()
    assert server.prediction.Predict(request).outputs["log_prob"].float_val == [0.0]
    with load(server) as found:  # deadlines
        calls = [server.prediction.Predict.future(request) for _ in range(200)]  # none
        assert {call.result().outputs["log_prob"].float_val[0] for call in calls} == {0.0}
    assert found.answers == {0.0}
    empty = predict_request(
        inputs={"x": np.zeros([0, 2], np.float32), "conditional_input": np.zeros([0, 1], np.float32)}
    )
    assert list(server.prediction.Predict(empty, timeout=10).outputs["log_prob"].float_val) == []


@pytest.mark.parametrize("parameters", [BatchingParameters(), BatchingParameters(max_batch_size=7)])
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_clients_learn_the_limit_of_a_batching_server(serve, base, parameters, transport):
    server = serve(
        ModelConfig(name="small", base_path=str(base)), loading=LoadOptions(batching=lambda _path: parameters)
    )
    address = {"rest_url": server.rest}
    if transport == "grpc":
        address = {"grpc_target": f"127.0.0.1:{server.server.port}"}
    x = np.random.default_rng(0).normal(size=(1234, 2)).astype(np.float32)
    c = x[:, :1] / 2
    with Client("small", **address, rows_per_request=1200) as client:
        np.testing.assert_allclose(client.log_prob(x, c), 1 - (x - c).sum(axis=1), rtol=1e-4, atol=1e-4)
        assert client.log_prob(x[:0], c[:0]).shape == (0,)
