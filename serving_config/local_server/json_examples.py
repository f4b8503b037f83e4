"""The JSON of a `:regress` or `:classify` request, as `tf.Example`s."""

from __future__ import annotations

from typing import Any

from tensorflow.core.example import example_pb2

from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.json_predict import parse_request
from serving_config.local_server.json_tensors import as_bytes, decode_base64, is_base64
from serving_config.local_server.json_text import shown, type_name

_KIND_NAMES = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}


def fill_examples(request: Any, body: bytes) -> None:
    """Puts signature name, examples and context into a `RegressionRequest` or `ClassificationRequest`.

    Raises:
      RequestError: if the JSON is not what it should be.
    """
    document, request.model_spec.signature_name = parse_request(body)
    into = request.input.example_list
    if "context" in document:
        with_context = request.input.example_list_with_context
        with_context.context.CopyFrom(_example(document["context"]))
        into = with_context
    if "examples" not in document:
        raise _malformed(document, "When method is classify, key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise _malformed(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise _malformed(document, "'examples' value is an empty array")
    into.examples.extend(_example(example) for example in examples)


def _example(value: Any) -> Any:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        feature = example.features.feature[as_bytes(name).decode("utf-8", "replace")]
        for element in content if isinstance(content, list) else [content]:
            _add(feature, name, element)
    return example


def _add(feature: Any, name: str, value: Any) -> None:
    if value is None or isinstance(value, list) or (isinstance(value, dict) and not is_base64(value)):
        raise invalid_argument(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")
    kind, element = _typed(name, value)
    present = feature.WhichOneof("kind")
    if present not in (None, kind):
        raise invalid_argument(f"Unexpected element type in feature: {name} expecting type: {_KIND_NAMES[present]}")
    getattr(feature, kind).value.append(element)


def _typed(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, dict):
        return "bytes_list", decode_base64(value)
    if isinstance(value, str):
        return "bytes_list", as_bytes(value)
    if isinstance(value, bool):
        return "int64_list", int(value)
    if isinstance(value, float) or not -(2**63) <= value < 2**64:
        return "float_list", float(value)
    if value >= 2**63:
        raise invalid_argument(f"Feature: {name} has uint64 element. Only int64 is supported.")
    return "int64_list", value


def _malformed(document: dict[str, Any], complaint: str) -> RequestError:
    return invalid_argument(f"JSON Value: {shown(document)} {complaint}")
