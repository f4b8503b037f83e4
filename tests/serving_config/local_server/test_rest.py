"""The REST API on a model of our own: types, layouts, and what is refused."""

from __future__ import annotations

import base64
import json
import math

import grpc
import numpy as np
import pytest
import tensorflow as tf

from tests.serving_config.local_server.support import ROW, ask, predict_request

PREDICT = "/v1/models/small:predict"
ECHO = {"double": 0.1, "long": 2**62, "integer": -7, "flag": True, "text": "grün", "raw": {"b64": "/wA="}}


def error(answer, status=400):
    assert (answer.status, answer.content_type) == (status, "application/json")
    return answer.json["error"]


def test_rows_and_columns(small):
    assert small.post(PREDICT, {"instances": [ROW, ROW]}).json == {"predictions": [1.0, 1.0]}
    columns = {name: [value, value] for name, value in ROW.items()}
    assert small.post(PREDICT, {"inputs": columns}).json == {"outputs": [1.0, 1.0]}
    assert small.post("/v1/models/small/versions/2:predict", {"instances": [ROW]}).json == {"predictions": [1.0]}


def test_every_type_comes_back(small):
    answer = small.post(PREDICT, {"signature_name": "echo", "instances": [ECHO, ECHO]})
    expected = {name: value for name, value in ECHO.items() if name != "raw"} | {"raw_bytes": ECHO["raw"]}
    assert answer.json == {"predictions": [expected, expected]}
    columns = small.post(PREDICT, {"signature_name": "echo", "inputs": {name: [value] for name, value in ECHO.items()}})
    assert columns.json == {"outputs": {name: [value] for name, value in expected.items()}}


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("long", 1.0, "JSON Value: 1.0 Type: Number is not of expected type: int64"),
        ("long", 2**63, "is not of expected type: int64"),
        ("integer", 2**31, "is not of expected type: int32"),
        ("integer", True, "JSON Value: true Type: True is not of expected type: int32"),
        ("flag", 1, "JSON Value: 1 Type: Number is not of expected type: bool"),
        ("text", 1, "Type: Number is not of expected type: string"),
        ("text", None, "JSON Value: null Type: Null is not of expected type: string"),
        ("double", "1", 'JSON Value: "1" Type: String is not of expected type: double'),
        ("double", {"b64": "AA=="}, "Type: Object is not of expected type: double"),
        ("raw", {"b64": "*"}, "Unable to base64 decode"),
        ("raw", {"x": "AA=="}, "not formatted correctly for base64 data"),
    ],
)
def test_a_value_of_another_type_is_refused(small, name, value, complaint):
    rows = error(small.post(PREDICT, {"signature_name": "echo", "instances": [ECHO | {name: value}]}))
    assert complaint in rows
    assert rows.startswith(f"Failed to process element: 0 key: {name} of 'instances' list. Error: INVALID_ARGUMENT: ")
    columns = {key: [each] for key, each in (ECHO | {name: value}).items()}
    assert complaint in error(small.post(PREDICT, {"signature_name": "echo", "inputs": columns}))


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('{"instances": {}}', "Excepting 'instances' to be an list/array"),
        ('{"instances": [1]}', "instances is a plain list, but expecting list of objects"),
        ('{"inputs": [1]}', "inputs is a plain value/list, but expecting an object"),
        ('{"signature_name": 1}', "'signature_name' key must be a string value"),
        ('{"instances": [{"x": [[1, 2], [3]], "conditional_input": [1]}]}', "list at unexpected size: 1 at level: 1"),
        ('{"instances": [{"x": [1, [3]], "conditional_input": [1]}]}', "list at unexpected level: 1 expected < 1"),
        ('{"instances": [{"x": [[1], 3], "conditional_input": [1]}]}', "found at incorrect level: 2"),
        ('{"inputs": {"x": [[1, 2], [3]], "conditional_input": [[1]]}}', "list at unexpected size: 1 at level: 1"),
        ('{"a": 1 "b": 2}', "Missing a comma or '}' after an object member. at offset: 8"),
        ('{"a" 1}', "Missing a colon after a name of object member. at offset: 5"),
        ("{1: 2}", "Missing a name for object member. at offset: 1"),
        ("[1 2]", "Missing a comma or ']' after an array element. at offset: 3"),
        ('{"a": "\\x"}', "Invalid escape character in string."),
        ('{"a": "b', "Missing a closing quotation mark in string."),
        ('{"ä": 1.}', "Miss fraction part in number."),
        ('{"a": 1e}', "Miss exponent in number."),
        ("{} {}", "The document root must not be followed by other values. at offset: 3"),
        ("  ", "The document is empty. at offset: 2"),
        ("[" * 100_000, "Nested deeper than"),
        ('{"a":' * 100_000, "Nested deeper than"),
        ('{"instances": ' + "9" * 10_000 + "}", "Number too big to be stored in double. at offset: 14"),
    ],
)
def test_a_malformed_request_is_told_where(small, body, complaint):
    assert complaint in error(small.post(PREDICT, body))


def test_what_rapidjson_takes_beyond_json(small):
    rows = '{"x": [-Inf, NaN], "conditional_input": [-0]}, {"x": [1e39, -NaN], "conditional_input": [0]}'
    body = f'\ufeff{{"instances": [{rows}]}}'
    values = small.post(PREDICT, body).json["predictions"]
    assert all(map(math.isnan, values))
    twice = '{"signature_name": "log_prob", "signature_name": "nope", "instances": [' + json.dumps(ROW) + "]}"
    assert small.post(PREDICT, twice).status == 200


def test_bytes_that_are_no_utf8_pass_through(small):
    body = json.dumps({"signature_name": "echo", "inputs": {k: [v] for k, v in ECHO.items()}}, ensure_ascii=False)
    answer = small.post(PREDICT, body.encode("latin-1"))
    assert answer.status == 200
    assert b'"gr\xfcn"' in answer.body


def test_a_lone_surrogate_is_an_error_not_a_crash(small):
    assert "surrogate" in error(small.post(PREDICT, '{"instances": [{"\\ud800": 1}]}'))


def test_a_name_that_is_no_utf8_is_an_error(small):
    assert "does not have named input" in error(small.post(PREDICT, b'{"instances": [{"\xb5": 1}]}'))
    body = b'{"signature_name": "\xb5", "examples": [{}]}'
    assert "no UTF-8" in error(small.post("/v1/models/small:regress", body))
    assert error(small.get("/v1/models/%B5"), 404)


def test_regress_and_classify(small):
    body = {"signature_name": "regress", "examples": [{"x": [1.0, 2.0]}, {"x": [3.5, 0.5]}]}
    assert small.post("/v1/models/small:regress", body).json == {"results": [5.0, 6.0]}
    answer = small.post("/v1/models/small:classify", body | {"signature_name": "classify"})
    assert answer.json == {"results": [[["low", 1.0], ["high", 2.0]], [["low", 3.5], ["high", 0.5]]]}
    shared = {"signature_name": "regress", "context": {"x": [1.0, 2.0]}, "examples": [{}]}
    assert small.post("/v1/models/small:regress", shared).json == {"results": [5.0]}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": {}}, "Expecting 'examples' value to be an list/array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{"x": [None]}]}, "Feature: x has element with unexpected JSON type: Null"),
        ({"examples": [{"x": [1.0, 2]}]}, "Unexpected element type in feature: x expecting type: float"),
        ({"examples": [{"x": 2**63}]}, "Feature: x has uint64 element"),
        ({"examples": [{"x": [1, 2]}]}, "Data types don't match"),
        ({"signature_name": "nope"}, "No signature was found with the name: nope"),
    ],
)
def test_examples_that_make_no_sense_are_refused(small, change, complaint):
    body = {"signature_name": "regress", "examples": [{"x": [1.0, 2.0]}]} | change
    assert complaint in error(small.post("/v1/models/small:regress", body))


@pytest.mark.parametrize(
    ("method", "path", "status", "complaint"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/foo", 400, "Malformed request: GET /v1/foo"),
        ("PUT", "/v1/models/small:predict", 400, "Malformed request: PUT /v1/models/small:predict"),
        ("GET", "/v1/models/small/versions/99999999999999999999", 400, "Failed to convert version"),
        ("GET", "/v1/models/sm%61ll", 200, ""),
        ("GET", "/V1/Models/small?x=1", 200, ""),
        ("GET", "/v1/models/Small", 404, "Could not find any versions of model Small"),
    ],
)
def test_paths(small, method, path, status, complaint):
    answer = ask(small.rest + path, method=method)
    assert answer.status == status
    assert complaint in answer.json.get("error", "")


def test_a_large_answer_keeps_every_digit(small):
    values = [0.1, 1e-30, 123456789.125, 1.7976931348623157e308, 2.0, 1 / 3]
    inputs = {name: [value] * len(values) for name, value in ECHO.items()} | {"double": values}
    assert small.post(PREDICT, {"signature_name": "echo", "inputs": inputs}).json["outputs"]["double"] == values


def test_base64_in_plain_instances_of_a_single_input(small):
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[1, 2]))
    example = tf.train.Example(features=tf.train.Features(feature={"x": feature})).SerializeToString()
    encoded = {"b64": base64.b64encode(example).decode()}
    answer = small.post(PREDICT, {"signature_name": "regress", "instances": [encoded, encoded]})
    assert answer.json == {"predictions": [5.0, 5.0]}
    answer = small.post(PREDICT, {"signature_name": "regress", "inputs": [encoded]})
    assert answer.json == {"outputs": [5.0]}


def test_what_quotes_bytes_that_are_no_text_is_answered(small):
    """TensorFlow's words for a damaged Example hold the first of its bytes."""
    answer = small.post("/v1/models/small:predict", {"signature_name": "regress", "inputs": [{"b64": "NaN="}]})
    assert answer.status == 400
    assert answer.json["error"].startswith("Could not parse example input, value: '5\N{REPLACEMENT CHARACTER}'")
    damaged = predict_request(signature="regress", inputs={"inputs": np.array([b"5\xa3"], object)})
    with pytest.raises(grpc.RpcError) as caught:
        small.prediction.Predict(damaged)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "value: '5\N{REPLACEMENT CHARACTER}'" in caught.value.details()
