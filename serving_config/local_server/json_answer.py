"""Answers as JSON, laid out as the real server lays them out."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_config.local_server.errors import invalid_argument
from serving_config.local_server.json_requests import Layout
from serving_config.local_server.json_tensors import compact, decimals

if TYPE_CHECKING:
    from serving_config.local_server.servable import Array

_BYTES_SUFFIX = "_bytes"
_INDENT = "    "


def error_json(message: str) -> str:
    """The body of an error."""
    return f'{{\n    "error": {_quoted(message)}\n}}'


def predict_json(layout: Layout, outputs: Mapping[str, Array]) -> str:
    """Outputs by name, laid out as the request was; the name of a single output is left out. Raises `RequestError`."""
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    return _rows_json(outputs) if layout is Layout.ROWS else _columns_json(outputs)


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
