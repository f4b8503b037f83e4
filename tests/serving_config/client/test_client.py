import grpc
import numpy as np
import pytest

from serving_config import Client, UsageError
from serving_config.client import RetryPolicy
from serving_config.errors import (
    DeadlineExceededError,
    InputError,
    InvalidArgumentError,
    ModelNotFoundError,
    ResponseError,
    ServerError,
    UnavailableError,
)
from tests.serving_config.flow_server import log_prob

FAST = RetryPolicy(attempts=4, first_delay=0.001, max_delay=0.002)


@pytest.fixture
def client(address):
    with Client("flow", **address, rows_per_request=7, concurrency=3, retry=FAST) as client:
        yield client


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return rng.normal(size=(50, 2)).astype(np.float32), rng.normal(size=(50, 1)).astype(np.float32)


def test_log_prob_of_many_requests_is_in_the_order_of_the_rows(client, server, rows):
    x, c = rows
    result = client.log_prob(x, c)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, log_prob(x, c), rtol=1e-6)
    assert sorted(count for _, count in server.requests) == [1, *[7] * 7]
    assert 1 <= server.most_in_flight <= 3


def test_lists_and_float64_are_sent_in_the_type_of_the_model(client):
    result = client.log_prob([[0.5, -1.0]], np.array([[1.0]]))
    np.testing.assert_allclose(result, log_prob(np.array([[0.5, -1.0]]), np.array([[1.0]])), rtol=1e-6)


def test_inverse_and_forward_are_each_others_inverse(client, rows):
    x, c = rows
    z = client.inverse(x, c)
    np.testing.assert_allclose(z, x - c, rtol=1e-6)
    np.testing.assert_allclose(client.forward(z, c), x, rtol=1e-5, atol=1e-6)


def test_draws_with_a_seed_do_not_depend_on_split_or_number(client, address, rows):
    _, c = rows
    draws = client.sample(c, num_samples=3, seed=11)
    assert draws.shape == (3, 50, 2)
    with Client("flow", **address, rows_per_request=1000) as other:
        np.testing.assert_array_equal(other.sample(c, num_samples=5, seed=11)[:3], draws)
        assert not np.array_equal(other.sample(c, num_samples=3, seed=12), draws)
    x, density = client.sample_with_log_prob(c, num_samples=3, seed=11)
    np.testing.assert_array_equal(x, draws)
    np.testing.assert_allclose(density[2], log_prob(draws[2], c), rtol=1e-5)
    assert len(np.unique(draws.reshape(-1, 2), axis=0)) == 150


def test_draws_without_a_seed_are_fresh(client, server, rows):
    _, c = rows
    assert not np.array_equal(client.sample(c), client.sample(c))
    assert {name for name, _ in server.requests} == {"sample"}


def test_no_rows_are_no_request(client, server):
    assert client.log_prob(np.empty((0, 2)), np.empty((0, 1))).shape == (0,)
    assert client.sample(np.empty((0, 1)), num_samples=4).shape == (4, 0, 2)
    assert client.sample(np.zeros((3, 1)), num_samples=0).shape == (0, 3, 2)
    assert server.requests == []


def test_nan_and_infinity_pass_both_ways(client):
    result = client.log_prob([[np.nan, 1], [np.inf, 1], [0, 0]], [[0], [0], [0]])
    np.testing.assert_array_equal(np.isnan(result), [True, False, False])
    assert result[1] == -np.inf


@pytest.mark.parametrize(
    ("x", "c", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 1)), r"x has shape \[2, 3\]; the model expects \[B, 2\]"),
        (np.zeros((2, 2)), np.zeros((1, 1)), "inputs differ in their rows: x has 2, conditional_input has 1"),
        (np.zeros((2, 2)), None, "takes conditional_input, x; given: x"),
        ([["a", "b"]], [[1]], "x is of type"),
        (np.zeros(2), np.zeros((2, 1)), r"x has shape \[2\]"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_before_they_are_sent(client, server, x, c, message):
    with pytest.raises(InputError, match=message):
        client.log_prob(x, c)
    assert server.requests == []


def test_an_unknown_signature_is_named(client):
    with pytest.raises(InputError, match=r"no signature 'nope'; it has forward, inverse, log_prob"):
        client.predict("nope", {"x": [[1.0, 2.0]]})


def _codes(address, status, code):
    return [status] if "rest_url" in address else [code]


def test_what_can_be_retried_is(client, address, server):
    client.metadata()
    server.failures = 3 * _codes(address, 503, grpc.StatusCode.UNAVAILABLE)
    assert client.log_prob([[0, 0]], [[0]]).shape == (1,)
    assert server.failures == []


def test_retries_end(client, address, server):
    client.metadata()
    server.failures = 5 * _codes(address, 503, grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(UnavailableError, match="told to fail"):
        client.log_prob([[0, 0]], [[0]])
    assert len(server.failures) == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, grpc.StatusCode.INVALID_ARGUMENT, InvalidArgumentError),
        (500, grpc.StatusCode.INTERNAL, ServerError),
        (504, grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceededError),
    ],
)
def test_errors_are_typed_and_carry_the_servers_words(address, server, status, code, kind):
    with Client("flow", **address, retry=RetryPolicy(attempts=1)) as client:
        client.metadata()
        server.failures = _codes(address, status, code)
        with pytest.raises(kind, match="told to fail"):
            client.log_prob([[0, 0]], [[0]])


def test_an_error_of_one_request_stops_the_others(address, server):
    with Client("flow", **address, rows_per_request=10, concurrency=2) as client:
        client.metadata()
        server.failures = [grpc.StatusCode.INVALID_ARGUMENT if "grpc_target" in address else 400]
        with pytest.raises(InvalidArgumentError, match="told to fail"):
            client.log_prob(np.zeros((1000, 2)), np.zeros((1000, 1)))
    assert len(server.requests) < 99


@pytest.mark.parametrize("most_rows", [1000, 7, 1])
def test_a_server_that_takes_fewer_rows_is_sent_fewer(address, server, most_rows):
    server.most_rows = most_rows
    x = np.random.default_rng(0).normal(size=(2500 if most_rows == 1000 else 50, 2)).astype(np.float32)
    c = x[:, :1] / 2
    with Client("flow", **address, rows_per_request=1200, concurrency=2) as client:
        np.testing.assert_allclose(client.log_prob(x, c), log_prob(x, c), rtol=1e-6)
        refused = [rows for _, rows in server.requests if rows > most_rows]
        assert len(refused) <= 3  # each of those that were under way, once
        server.requests.clear()
        np.testing.assert_allclose(client.log_prob(x, c), log_prob(x, c), rtol=1e-6)
        assert all(0 < rows <= most_rows for _, rows in server.requests)


def test_an_unknown_model_is_not_found(address):
    with Client("nope", **address) as client, pytest.raises(ModelNotFoundError, match="nope"):
        client.log_prob([[0, 0]], [[0]])


def test_a_page_that_is_no_tensorflow_serving_is_told(server):
    with Client("flow", rest_url=server.rest_url) as client:
        client.metadata()
        server.failures = [404]
        with pytest.raises(ModelNotFoundError, match="this is no TensorFlow Serving"):
            client.log_prob([[0, 0]], [[0]])


@pytest.mark.parametrize("address", [{"rest_url": "http://127.0.0.1:9"}, {"grpc_target": "127.0.0.1:9"}])
def test_a_server_that_is_not_there_is_unavailable_soon(address):
    with Client("flow", **address, retry=FAST) as client, pytest.raises(UnavailableError, match=r"127\.0\.0\.1:9"):
        client.log_prob([[0, 0]], [[0]])


def test_status_has_the_newest_version_first(client, server):
    server.statuses = [(1, 30, ""), (7, 50, "broken file")]
    first, second = client.model_status()
    assert (first.version, first.state, first.error_message) == (7, "END", "broken file")
    assert (second.version, second.state, second.error_code) == (1, "AVAILABLE", "OK")


def test_metadata_holds_shapes_and_types(client):
    signature = client.metadata().signature("sample_with_seed")
    assert signature.inputs["seed"].dtype == "int64"
    assert signature.inputs["conditional_input"].shape == (None, 1)
    assert client.metadata().version == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected one of them"),
        ({"rest_url": "http://a:1", "grpc_target": "a:1"}, "expected one of them"),
        ({"rest_url": "localhost:8501"}, "expected such as http://localhost:8501"),
        ({"grpc_target": "http://localhost:8500"}, "without http://"),
        ({"rest_url": "http://a:1", "version": 1, "version_label": "stable"}, "at most one"),
        ({"rest_url": "http://a:1", "rows_per_request": 0}, "at least 1 row"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        Client("flow", **arguments)


@pytest.mark.parametrize("body", ["[]", "1", '{"model_spec": {"name": "flow", "version": "x"}, "metadata": []}', "NaN"])
def test_an_answer_that_makes_no_sense_is_an_error_of_ours(server, body):
    server.answers = [body]
    with Client("flow", rest_url=server.rest_url) as client, pytest.raises(ResponseError):
        client.metadata()
    server.answers = ['{"model_version_status": [{"version": null, "state": 1, "status": {}}]}']
    with Client("flow", rest_url=server.rest_url) as client, pytest.raises(ResponseError):
        client.model_status()
