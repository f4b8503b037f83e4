"""JSON bodies: a request as what is run, and an answer laid out as the real server lays it out.

A request holds tensors by input name for `:predict`, as rows (`instances`) or as columns (`inputs`), and `tf.Example`s
for the other calls.
"""

from __future__ import annotations

import base64
import enum
import json
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow.core.example import example_pb2

from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.json_parser import parse_document
from serving_config.local_server.json_tensors import (
    as_bytes,
    compact,
    decimals,
    decode_base64,
    is_base64,
    regular_tensor,
    shape_of,
    shown,
    tensor,
    type_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from maf_serving.model_inputs import Array

_KIND_NAMES = {"bytes_list": "bytes", "float_list": "float", "int64_list": "int64"}
_BYTES_SUFFIX = "_bytes"
_INDENT = "    "


class BodyLayout(enum.Enum):
    """How a request lays out its tensors; the answer is laid out alike."""

    ROWS = "instances"
    COLUMNS = "inputs"


def parse_request(body: bytes) -> tuple[dict[str, Any], str]:
    """The request object and its signature name, empty for the default. Raises `RequestError`."""
    document = parse_document(body)
    if not isinstance(document, dict):
        raise invalid_argument(f"JSON Value: {shown(document)} Is not object")
    signature = document.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid_argument(
            f"JSON Value: {shown(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    return document, signature


def predict_inputs(document: Mapping[str, Any], infos: Mapping[str, Any]) -> tuple[BodyLayout, dict[str, Array]]:
    """The tensors of a request, for the inputs of a signature.

    Args:
      document: the request object.
      infos: `TensorInfo` by input name.

    Raises:
      RequestError: if they do not fit.
    """
    rows, columns = (layout.value in document for layout in BodyLayout)
    if rows and columns:
        raise _malformed(
            document, "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if rows:
        instances = document[BodyLayout.ROWS.value]
        if not isinstance(instances, list):
            raise _malformed(document, "Excepting 'instances' to be an list/array")
        if not instances:
            raise _malformed(document, "No values in 'instances' array")
        return BodyLayout.ROWS, _from_rows(instances, infos)
    if columns:
        return BodyLayout.COLUMNS, _from_columns(document[BodyLayout.COLUMNS.value], infos)
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _from_columns(inputs: Any, infos: Mapping[str, Any]) -> dict[str, Array]:
    if isinstance(inputs, dict) and not is_base64(inputs):
        columns = {}
        for name in sorted(infos):
            if name not in inputs:
                raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
            columns[name] = tensor(inputs[name], infos[name].dtype)
        return columns
    if len(infos) > 1:
        raise invalid_argument(
            "inputs is a plain value/list, but expecting an object as multiple input tensors required as per "
            "tensorinfo_map"
        )
    return {name: tensor(inputs, info.dtype) for name, info in infos.items()}


def _from_rows(instances: list[Any], infos: Mapping[str, Any]) -> dict[str, Array]:
    if len(infos) > 1 and not isinstance(instances[0], dict):
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per "
            "tensorinfo_map"
        )
    named = _is_named(instances[0])
    if named and all(type(row) is dict and row.keys() == infos.keys() for row in instances):
        values = {name: [row[name] for row in instances] for name in infos}
    else:
        values = {} if named else dict.fromkeys(infos, instances)
    columns = {
        name: regular_tensor(value, (len(instances), *shape_of(value[0])), infos[name].dtype)
        for name, value in values.items()
    }
    regular = {name: column for name, column in columns.items() if column is not None}
    return regular if len(regular) == len(infos) else _row_by_row(instances, infos)


def _row_by_row(instances: list[Any], infos: Mapping[str, Any]) -> dict[str, Array]:
    """Slowly, but says which row is wrong, and takes base64."""
    named = _is_named(instances[0])
    found: dict[str, list[Array]] = {}
    for number, row in enumerate(instances):
        if named != _is_named(row):
            kinds = ("object", "list") if named else ("value/list", "object")
            raise invalid_argument(f"Expecting {kinds[0]} but got {kinds[1]} at item {number} of input list")
        members = row if named else {next(iter(infos)): row}
        for name, value in members.items():
            try:
                _add(found, name, value, infos)
            except RequestError as error:
                key = f" key: {name}" if named else ""
                raise invalid_argument(
                    f"Failed to process element: {number}{key} of 'instances' list. Error: {error.code.name}: "
                    f"{error.message}"
                ) from error
        if members.keys() != infos.keys():
            raise invalid_argument(
                f"Failed to process element: {number} of 'instances' list. JSON object: {shown(row)} keys must be "
                f"equal to: {','.join(sorted(infos))}"
            )
    return {name: np.stack(tensors) for name, tensors in found.items()}


def _add(found: dict[str, list[Array]], name: str, value: Any, infos: Mapping[str, Any]) -> None:
    if name not in infos:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    array = tensor(value, infos[name].dtype)
    earlier = found.setdefault(name, [])
    if earlier and earlier[0].size != array.size:
        raise invalid_argument(f"Expecting tensor size: {earlier[0].size} but got: {array.size}")
    if earlier and earlier[0].shape != array.shape:
        shapes = ["[" + ",".join(map(str, each.shape)) + "]" for each in (earlier[0], array)]
        raise invalid_argument(f"Expecting shape {shapes[0]} but got: {shapes[1]}")
    earlier.append(array)


def _is_named(row: Any) -> bool:
    return isinstance(row, dict) and not is_base64(row)


def _malformed(document: Mapping[str, Any], complaint: str) -> RequestError:
    return invalid_argument(f"JSON Value: {shown(document)} {complaint}")


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
        raise _malformed_examples(document, "When method is classify, key 'examples' is expected and was not found")
    examples = document["examples"]
    if not isinstance(examples, list):
        raise _malformed_examples(document, "Expecting 'examples' value to be an list/array")
    if not examples:
        raise _malformed_examples(document, "'examples' value is an empty array")
    into.examples.extend(_example(example) for example in examples)


def _example(value: Any) -> Any:
    if not isinstance(value, dict):
        raise invalid_argument(f"Example must be JSON object but got JSON {type_name(value)}")
    example = example_pb2.Example()
    for name, content in value.items():
        feature = example.features.feature[as_bytes(name).decode("utf-8", "replace")]
        for element in content if isinstance(content, list) else [content]:
            _add_feature(feature, name, element)
    return example


def _add_feature(feature: Any, name: str, value: Any) -> None:
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


def _malformed_examples(document: dict[str, Any], complaint: str) -> RequestError:
    return invalid_argument(f"JSON Value: {shown(document)} {complaint}")


def error_json(message: str) -> str:
    """The body of an error."""
    return f'{{\n    "error": {_quoted(message)}\n}}'


def predict_json(layout: BodyLayout, outputs: Mapping[str, Array]) -> str:
    """Outputs by name, laid out as the request was; the name of a single output is left out. Raises `RequestError`."""
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    return _rows_json(outputs) if layout is BodyLayout.ROWS else _columns_json(outputs)


def regression_json(result: Any) -> str:
    """One number for each example."""
    values = decimals(np.array([regression.value for regression in result.regressions], np.float32))
    return f'{{\n    "results": [{", ".join(values)}]\n}}'


def classification_json(result: Any) -> str:
    """A list of `[label, score]` for each example."""
    rows = []
    for classifications in result.classifications:
        scores = decimals(np.array([one.score for one in classifications.classes], np.float32))
        pairs = zip(classifications.classes, scores, strict=True)
        rows.append("[" + ", ".join(f"[{_quoted(one.label)}, {score}]" for one, score in pairs) + "]")
    return f'{{\n    "results": [{", ".join(rows)}\n    ]\n}}'


def _rows_json(outputs: Mapping[str, Array]) -> str:
    size = -1
    for name, value in outputs.items():
        if value.ndim == 0:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if size not in (-1, value.shape[0]):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {value.shape[0]} expecting: {size}"
            )
        size = value.shape[0]
    texts = {name: compact(_tokens(name, value), value.shape) for name, value in outputs.items()}
    if len(texts) == 1:
        return f'{{\n    "predictions": [{", ".join(next(iter(texts.values())))}\n    ]\n}}'
    members = [
        ",".join(f"\n{_INDENT * 3}{_quoted(name)}: {text}" for name, text in zip(texts, row, strict=True))
        for row in zip(*texts.values(), strict=True)
    ]
    rows = ",".join(f"\n{_INDENT * 2}{{{row}\n{_INDENT * 2}}}" for row in members)
    return f'{{\n    "predictions": [{rows}\n    ]\n}}'


def _columns_json(outputs: Mapping[str, Array]) -> str:
    if len(outputs) == 1:
        name, value = next(iter(outputs.items()))
        return f'{{\n    "outputs": {_spread(_tokens(name, value), value.shape, 1)}\n}}'
    members = [
        f"\n{_INDENT * 2}{_quoted(name)}: {_spread(_tokens(name, value), value.shape, 2)}"
        for name, value in outputs.items()
    ]
    return f'{{\n    "outputs": {{{",".join(members)}\n    }}\n}}'


def _spread(tokens: Sequence[str], shape: Sequence[int], level: int) -> str:
    """Nested lists with every element on its own line."""
    texts = list(tokens)
    for depth in reversed(range(len(shape))):
        size, inner, outer = shape[depth], _INDENT * (level + depth + 1), _INDENT * (level + depth)
        groups = [texts[i * size : (i + 1) * size] for i in range(int(np.prod(shape[:depth])))]
        texts = [
            "[" + ",".join(f"\n{inner}{text}" for text in group) + f"\n{outer}]" if group else "[]" for group in groups
        ]
    return texts[0]


def _tokens(name: str, value: Array) -> list[str]:
    kind = value.dtype.kind
    if kind == "O":
        return [_text(name, text) for text in value.ravel().tolist()]
    if kind == "b":
        return ["true" if flag else "false" for flag in value.ravel().tolist()]
    if kind in "iu":
        return [str(number) for number in value.ravel().tolist()]
    if kind == "f" or value.dtype.name == "bfloat16":
        return decimals(value)
    raise invalid_argument(f"Failed to write JSON value for tensor type: {value.dtype.name}")


def _text(name: str, text: bytes) -> str:
    if name.endswith(_BYTES_SUFFIX):
        return f'{{"b64": "{base64.b64encode(text).decode("ascii")}"}}'
    return _quoted(text.decode("utf-8", "surrogateescape"))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
