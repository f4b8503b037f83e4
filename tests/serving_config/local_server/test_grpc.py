"""The gRPC services on a model of our own."""

from __future__ import annotations

import threading

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
)

from tests.serving_config.local_server.support import predict_request

REGRESS, CLASSIFY = "tensorflow/serving/regress", "tensorflow/serving/classify"


def refused(call, request, **options):
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=60, **options)
    return caught.value.code().name, caught.value.details()


def example(*values):
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Example(features=tf.train.Features(feature={"x": feature}))


def test_every_type_comes_back(small):
    inputs = {
        "double": np.array([0.1, np.nan]),
        "long": np.array([2**62, -1]),
        "integer": np.array([1, 2], np.int32),
        "flag": np.array([True, False]),
        "text": np.array(["a", "ü"]),
        "raw": np.array([b"\xff\0", b""], object),
    }
    outputs = small.prediction.Predict(predict_request(signature="echo", inputs=inputs)).outputs
    assert outputs["text"].string_val[1] == "ü".encode()
    assert list(outputs["raw_bytes"].string_val) == [b"\xff\0", b""]
    for name in ("double", "long", "integer", "flag"):
        np.testing.assert_array_equal(tf.make_ndarray(outputs[name]), inputs[name])
        assert tf.make_ndarray(outputs[name]).dtype == inputs[name].dtype


def test_a_filter_chooses_outputs(small):
    request = predict_request()
    request.output_filter[:] = ["log_prob", "log_prob"]
    assert refused(small.prediction.Predict, request) == ("INVALID_ARGUMENT", "duplicate output tensor alias: log_prob")


def test_classify_and_multi_inference(small):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "small", "classify"
    request.input.example_list.examples.append(example(0.25, 4.0))
    classes = small.prediction.Classify(request).result.classifications[0].classes
    assert [(each.label, each.score) for each in classes] == [("low", 0.25), ("high", 4.0)]

    multi = inference_pb2.MultiInferenceRequest()
    multi.input.CopyFrom(request.input)
    multi.tasks.add(method_name=REGRESS).model_spec.CopyFrom(request.model_spec)
    multi.tasks[0].model_spec.signature_name = "regress"
    results = small.prediction.MultiInference(multi).results
    assert results[0].regression_result.regressions[0].value == 6.25
    assert results[0].model_spec.version.value == 2
    multi.tasks.add(method_name=CLASSIFY).model_spec.CopyFrom(request.model_spec)
    assert refused(small.prediction.MultiInference, multi) == (
        "INVALID_ARGUMENT",
        "Input tensor must be the same for all Signatures.",
    )


def test_no_examples_are_refused(small):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name, request.model_spec.signature_name = "small", "classify"
    assert refused(small.prediction.Classify, request) == ("INVALID_ARGUMENT", "Input is empty.")


@pytest.mark.parametrize(
    ("dtype", "shape", "fields"),
    [
        (types_pb2.DT_FLOAT, (-1, 2), {}),
        (types_pb2.DT_FLOAT, (1, 2), {"tensor_content": b"abc"}),
        (types_pb2.DT_STRING, (2,), {"tensor_content": b"\x01\x02ab"}),
        (types_pb2.DT_STRING, (2,), {"tensor_content": b"\x80\x80"}),
        (types_pb2.DT_STRING, (2**40,), {"tensor_content": b"\x00"}),
        (types_pb2.DT_FLOAT, (2**40, 2**40), {"float_val": [1.0]}),
        (types_pb2.DT_FLOAT, (2**30,), {}),
        (types_pb2.DT_STRING, (2**34,), {"string_val": [b"x"]}),
        (types_pb2.DT_VARIANT, (1,), {}),
        (types_pb2.DT_RESOURCE, (1,), {}),
        (0, (1,), {}),
        (7777, (1,), {}),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(small, dtype, shape, fields):
    request = predict_request()
    request.inputs["x"].Clear()
    request.inputs["x"].dtype = dtype
    for size in shape:
        request.inputs["x"].tensor_shape.dim.add(size=size)
    for name, value in fields.items():
        if isinstance(value, list):
            getattr(request.inputs["x"], name).extend(value)
        else:
            setattr(request.inputs["x"], name, value)
    code, message = refused(small.prediction.Predict, request)
    assert code == "INVALID_ARGUMENT"
    assert message.startswith("tensor parsing error: x")


def test_the_last_value_of_a_short_tensor_is_repeated(small):
    request = predict_request()
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(np.float32([[5, 5]])))
    request.inputs["x"].ClearField("tensor_content")
    request.inputs["x"].float_val[:] = [5.0]
    assert small.prediction.Predict(request).outputs["log_prob"].float_val == [2 - 8.0]


def test_a_deadline_ends_the_run(small):
    code, _ = refused(
        lambda request, timeout: small.prediction.Predict(request, timeout=0.2),
        predict_request(signature="slow", inputs={"rounds": np.int32([10**8])}),
    )
    assert code == "DEADLINE_EXCEEDED"
    assert small.prediction.Predict(predict_request(), timeout=30).outputs["log_prob"].float_val == [1.0]


def test_requests_are_answered_side_by_side(small):
    long = threading.Thread(
        target=lambda: small.prediction.Predict(
            predict_request(signature="slow", inputs={"rounds": np.int32([30_000])})
        )
    )
    long.start()
    answered = 0
    while long.is_alive():
        small.prediction.Predict(predict_request())
        answered += 1
    long.join()
    assert answered > 5


def test_metadata_needs_a_field_and_a_model(small):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    assert refused(small.prediction.GetModelMetadata, request) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    request.model_spec.name = "small"
    assert refused(small.prediction.GetModelMetadata, request)[1].startswith("GetModelMetadataRequest must specify")
    assert refused(small.models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest())[0] == "INVALID_ARGUMENT"


def test_a_reload_that_is_no_list_of_models_is_refused(small):
    code, message = refused(small.models.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest())
    assert code == "INVALID_ARGUMENT"
    assert "Only ModelConfigList is currently supported" in message
    request = model_management_pb2.ReloadConfigRequest()
    request.config.model_config_list.config.add(name="a", base_path="relative", model_platform="tensorflow")
    assert "absolute path" in refused(small.models.HandleReloadConfigRequest, request)[1]
    assert small.states() == {2: "AVAILABLE"}


@pytest.mark.parametrize("service", ["", "PredictionService", "tensorflow.serving.PredictionService"])
def test_health(small, service):
    stub = health_pb2_grpc.HealthStub(small.channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_an_unknown_service(small):
    stub = health_pb2_grpc.HealthStub(small.channel)
    assert refused(stub.Check, health_pb2.HealthCheckRequest(service="x"))[0] == "NOT_FOUND"


def test_bytes_that_are_no_message_are_an_error(small):
    call = small.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert refused(call, b"\xff\xff\xff\xff\xff")[0] in ("INTERNAL", "INVALID_ARGUMENT")
    unknown = small.channel.unary_unary("/tensorflow.serving.PredictionService/Nothing")
    assert refused(unknown, b"")[0] == "UNIMPLEMENTED"


def tensor(dtype, sizes, **values):
    proto = tensor_pb2.TensorProto(dtype=dtype, **values)
    for size in sizes:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    "proto",
    [
        tensor(types_pb2.DT_FLOAT, [2**62, 0]),
        tensor(types_pb2.DT_FLOAT, [0, 2**62, 2**62]),
        tensor(types_pb2.DT_FLOAT, [1] * 70, float_val=[1.0]),
        tensor(types_pb2.DT_HALF, [1, 2], half_val=[-1, -1]),
    ],
    ids=["no elements of a huge shape", "product beyond 64 bits", "too many dimensions", "negative bits"],
)
def test_a_tensor_that_numpy_cannot_hold_is_the_clients_error(small, proto):
    request = predict_request()
    request.inputs["x"].CopyFrom(proto)
    code, _ = refused(small.prediction.Predict, request)
    assert code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("name", ["é" * 20_000, "a" * 20_000, "\x01" * 20_000])
def test_a_long_message_still_fits_into_a_header(small, name):
    code, message = refused(small.prediction.Predict, predict_request(model=name))
    assert code == "NOT_FOUND"
    assert name[:1000] in message
