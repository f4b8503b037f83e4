"""Requests to the local server: every valid one is understood, and no other is worse than an error answer."""

from __future__ import annotations

import base64
import json
import math

import grpc
import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from maf_serving.tensor_proto import to_tensor_proto
from serving_config.local_server import RequestError
from serving_config.local_server.json_parser import parse_document
from serving_config.local_server.predict import from_proto, to_proto
from tests.properties.conftest import examples
from tests.serving_config.local_server.support import ROW

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats()
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXTS, inner, max_size=5),
    max_leaves=30,
)
PRINTED = st.fixed_dictionaries({"ensure_ascii": st.booleans(), "indent": st.none() | st.integers(0, 2)})


def same(a, b):
    """Equality of JSON values where NaN is NaN, and 1 is not 1.0 or true."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return a == b or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


@examples(150)
@given(VALUES, PRINTED)
def test_a_document_is_read_as_it_was_printed(value, printed):
    assert same(parse_document(json.dumps(value, **printed).encode()), value)


@examples(10)
@given(st.lists(NUMBERS, min_size=1, max_size=9), st.integers(8_000, 12_000))
def test_a_large_document_is_read_as_a_small_one_is(numbers, times):
    """It is read in bites."""
    document = {"inputs": {"x": [numbers, [numbers] * 2] * (times // len(numbers)), "y": "]}," * 1000}}
    assert same(parse_document(json.dumps(document).encode()), document)


MARKS = st.sampled_from(
    [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"null", b"1e999", b"NaN", b"-", b"\xff", b"\0"]
)


@st.composite
def damaged(draw, texts):
    """A text of which a part is cut out, doubled, or replaced."""
    text = draw(texts)
    start, stop = sorted(draw(st.tuples(*[st.integers(0, len(text))] * 2)))
    return text[:start] + draw(st.binary(max_size=4) | MARKS | st.just(text[start:stop] * 2)) + text[stop:]


@examples(200)
@given(damaged(VALUES.map(lambda value: json.dumps(value).encode())))
def test_a_damaged_document_is_an_error_or_another_document(body):
    try:
        parse_document(body)
    except RequestError as error:
        assert error.code.http_status == 400  # noqa: PT017  # if it is refused at all


ARRAYS = {
    "double": st.floats(width=64),
    "long": st.integers(-(2**63), 2**63 - 1),
    "integer": st.integers(-(2**31), 2**31 - 1),
    "flag": st.booleans(),
    "text": TEXTS,
    "raw": st.binary(max_size=12),
}
ECHO = {"double": "double", "long": "long", "integer": "integer", "flag": "flag", "text": "text", "raw": "raw_bytes"}


@examples(40)
@given(
    st.integers(1, 4).flatmap(
        lambda n: st.fixed_dictionaries({k: st.lists(v, min_size=n, max_size=n) for k, v in ARRAYS.items()})
    )
)
def test_rows_and_columns_come_back_as_they_went_in(small, columns):
    sent = columns | {"raw": [{"b64": base64.b64encode(value).decode()} for value in columns["raw"]]}
    expected = {ECHO[name]: values for name, values in sent.items()}
    rows = [dict(zip(sent, values, strict=True)) for values in zip(*sent.values(), strict=True)]
    for request, key in (({"inputs": sent}, "outputs"), ({"instances": rows}, "predictions")):
        answer = small.post("/v1/models/small:predict", request | {"signature_name": "echo"})
        assert answer.status == 200, answer.body
        found = answer.json[key]
        if key == "predictions":
            found = {name: [row[name] for row in found] for name in expected}
        assert all(same(found[name], values) for name, values in expected.items()), (found, expected)


BODIES = st.sampled_from(
    [
        {"instances": [ROW, ROW]},
        {"inputs": {name: [value, value] for name, value in ROW.items()}},
        {
            "signature_name": "echo",
            "instances": [{"double": 1.0, "long": 2, "integer": 3, "flag": True, "text": "a", "raw": {"b64": "AA=="}}],
        },
    ]
)
BROKEN = damaged(BODIES.map(lambda body: json.dumps(body).encode())) | VALUES.map(
    lambda value: json.dumps(value).encode()
)
VERBS = st.sampled_from(["predict", "predict", "regress", "classify"])


@st.composite
def with_another_value(draw):
    """A request with one value replaced by whatever JSON has."""
    body = json.loads(json.dumps(draw(BODIES)))
    place = body
    while isinstance(place, dict | list) and place:
        key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or draw(st.booleans()):
            place[key] = draw(VALUES)
            break
        place = place[key]
    return json.dumps(body).encode()


@examples(150)
@given(BROKEN | with_another_value(), VERBS)
def test_whatever_is_sent_is_answered_and_is_no_error_of_the_server(small, body, verb):
    answer = small.post(f"/v1/models/small:{verb}", body)
    assert answer.status in {200, 400, 404, 412}, (body, answer)
    json.loads(answer.body.decode("utf-8", "surrogateescape"))  # what was no UTF-8 is sent back as it came


DTYPES = st.sampled_from(
    ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
)
SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@st.composite
def arrays(draw):
    shape, dtype = draw(SHAPES), np.dtype(draw(DTYPES))
    count = math.prod(shape)
    data = draw(st.binary(min_size=count * dtype.itemsize, max_size=count * dtype.itemsize))
    array = np.frombuffer(data, np.uint8) % 2 > 0 if dtype.kind == "b" else np.frombuffer(data, dtype)
    return array.reshape(shape)


@examples(100)
@given(arrays())
def test_a_tensor_is_read_as_it_was_written(array):
    messages = [to_proto(array), tf.make_tensor_proto(array)]
    if array.dtype.name in {"float32", "float64", "int32", "int64", "bool"}:
        messages.append(tensor_pb2.TensorProto.FromString(to_tensor_proto(array).SerializeToString()))
    for message in messages:
        read = from_proto("x", message)
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


@examples(100)
@given(damaged(arrays().map(lambda array: to_proto(array).SerializeToString())))
def test_a_damaged_tensor_is_an_error_or_another_tensor(data):
    try:
        message = tensor_pb2.TensorProto.FromString(data)
    except Exception:  # noqa: BLE001  # gRPC answers for it: no message of this kind
        return
    try:
        read = from_proto("x", message)
    except RequestError as error:
        assert error.code.http_status == 400  # noqa: PT017
    else:
        assert read.shape == tuple(dim.size for dim in message.tensor_shape.dim)


def request_bytes():
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "small"
    for name, value in ROW.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(np.float32([value])))
    return request.SerializeToString()


REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.INTERNAL,  # gRPC itself, for bytes that are no message
}


@examples(100)
@given(damaged(st.just(request_bytes())))
def test_whatever_bytes_come_over_grpc_are_answered(small, data):
    call = small.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    try:
        predict_pb2.PredictResponse.FromString(call(data, timeout=30))
    except grpc.RpcError as error:
        assert error.code() in REFUSALS, (data, error)  # noqa: PT017
        if error.code() is grpc.StatusCode.INTERNAL:
            assert "deserializ" in error.details()  # noqa: PT017
