"""Models without conditions, and in float64: what the client does with a signature that differs from the usual one."""

import numpy as np
import pytest

from serving_config import Client
from serving_config.client import ModelMetadata, SignatureInfo, TensorInfo
from serving_config.errors import InputError

X = TensorInfo("float64", (None, 2))
ROWS = TensorInfo("float64", (None,))
SIGNATURES = {
    "log_prob": SignatureInfo({"x": X}, {"log_prob": ROWS}),
    "sample_with_seed": SignatureInfo({"seed": TensorInfo("int64", (None,))}, {"x": X, "log_prob": ROWS}),
}


class InProcess:
    """A transport without a server; `asked` is what came, request by request."""

    def __init__(self):
        self.asked = []

    def metadata(self, model, *, timeout):
        return ModelMetadata(name=model.name, version=1, signatures=SIGNATURES)

    def predict(self, model, signature_name, signature, inputs, *, timeout):
        self.asked.append(inputs)
        if signature_name == "log_prob":
            return {"log_prob": -inputs["x"].sum(axis=1)}
        x = np.stack([inputs["seed"] % 1009, inputs["seed"] % 997], axis=1) / 7.0
        return {"x": x, "log_prob": -x.sum(axis=1)}

    def close(self):
        pass


@pytest.fixture
def transport(monkeypatch):
    transport = InProcess()
    monkeypatch.setattr("serving_config.client.client.open_transport", lambda **_: transport)
    return transport


def test_draws_have_no_axis_of_conditions_and_keep_float64(transport):
    with Client("flow", rest_url="http://nobody", rows_per_request=3) as client:
        draws = client.sample(num_samples=7, seed=2)
        assert draws.shape == (7, 2)
        assert draws.dtype == np.float64
        np.testing.assert_array_equal(client.sample(num_samples=4, seed=2), draws[:4])
        assert not np.array_equal(client.sample(num_samples=7), client.sample(num_samples=7))
    assert {len(inputs["seed"]) for inputs in transport.asked} <= {1, 3}
    assert all(inputs["seed"].dtype == np.int64 for inputs in transport.asked)


def test_float64_is_neither_rounded_on_the_way_out_nor_back(transport):
    x = np.array([[0.1, 1e-17], [1 / 3, 1e300]])
    with Client("flow", rest_url="http://nobody") as client:
        np.testing.assert_array_equal(client.log_prob(x), -x.sum(axis=1))


def test_a_condition_for_a_model_without_is_refused(transport):
    with (
        Client("flow", rest_url="http://nobody") as client,
        pytest.raises(InputError, match="takes x; given: conditional_input, x"),
    ):
        client.log_prob([[1.0, 2.0]], [[3.0]])


def test_new_metadata_is_asked_for_before_an_input_is_refused(transport):
    with Client("flow", rest_url="http://nobody") as client:
        client.log_prob([[1.0, 2.0]])
        wider = {"log_prob": SignatureInfo({"x": TensorInfo("float64", (None, 3))}, {"log_prob": ROWS})}
        transport.metadata = lambda model, *, timeout: ModelMetadata(name="flow", version=2, signatures=wider)
        assert client.log_prob([[1.0, 2.0, 3.0]]).tolist() == [-6.0]
