"""Nested lists of a JSON request as tensors, with the real server's rules of what fits which type."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow.core.framework import types_pb2

from maf_serving.codes import Code
from serving_config.local_server.errors import RequestError, invalid_argument
from serving_config.local_server.json_text import shown, type_name

if TYPE_CHECKING:
    from serving_config.local_server.servable import Array

BASE64_KEY = "b64"
_ROWS = 2**13  # that are looked at together


@dataclasses.dataclass(frozen=True, slots=True)
class _Kind:
    """A tensor type: its name, what it is in NumPy, which values of JSON it takes, and their range."""

    name: str
    dtype: Any
    takes: frozenset[type]
    least: int = 0
    most: int = 0


_INT = frozenset({int})
_NUMBER = frozenset({int, float})
_KINDS = {
    types_pb2.DT_FLOAT: _Kind("float", np.float32, _NUMBER),
    types_pb2.DT_DOUBLE: _Kind("double", np.float64, _NUMBER),
    types_pb2.DT_INT8: _Kind("int8", np.int8, _INT, -(2**31), 2**31 - 1),
    types_pb2.DT_UINT8: _Kind("uint8", np.uint8, _INT, -(2**31), 2**31 - 1),
    types_pb2.DT_INT16: _Kind("int16", np.int16, _INT, -(2**31), 2**31 - 1),
    types_pb2.DT_INT32: _Kind("int32", np.int32, _INT, -(2**31), 2**31 - 1),
    types_pb2.DT_INT64: _Kind("int64", np.int64, _INT, -(2**63), 2**63 - 1),
    types_pb2.DT_UINT32: _Kind("uint32", np.uint32, _INT, 0, 2**32 - 1),
    types_pb2.DT_UINT64: _Kind("uint64", np.uint64, _INT, 0, 2**64 - 1),
    types_pb2.DT_BOOL: _Kind("bool", np.bool_, frozenset({bool})),
    types_pb2.DT_STRING: _Kind("string", object, frozenset({str})),
}


def is_base64(value: Any) -> bool:
    """Whether a value is `{"b64": "..."}`, which stands for bytes."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get(BASE64_KEY), str)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape that the first entries of nested lists suggest."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def tensor(value: Any, dtype: int) -> Array:
    """The tensor in nested lists, or in a single value.

    Raises:
      RequestError: if the lists are ragged or a value is not of the type.
    """
    shape = shape_of(value)
    regular = regular_tensor(value, shape, dtype)
    if regular is not None:
        return regular
    leaves: list[Any] = []
    _collect(value, 0, shape, dtype, leaves)
    return _array(leaves, dtype).reshape(shape)


def regular_tensor(value: Any, shape: tuple[int, ...], dtype: int) -> Array | None:
    """The tensor if nothing is wrong and no value is in base64, else `None`; much faster than looking at each."""
    if not shape or shape[0] <= _ROWS or not isinstance(value, list):
        return _regular_tensor(value, shape, dtype)
    # Some rows at a time: NumPy and lists keep every other thread waiting.
    if len(value) != shape[0]:
        return None
    parts = []
    for start in range(0, len(value), _ROWS):
        rows = value[start : start + _ROWS]
        part = _regular_tensor(rows, (len(rows), *shape[1:]), dtype)
        if part is None:
            return None
        parts.append(part)
    return np.concatenate(parts)


def _regular_tensor(value: Any, shape: tuple[int, ...], dtype: int) -> Array | None:
    kind = _KINDS.get(dtype)
    level = [value]
    for size in shape:
        if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
            return None
        level = list(itertools.chain.from_iterable(level))
    if kind is None or not kind.takes >= set(map(type, level)):
        return None
    if kind.most and level and not (kind.least <= min(level) and max(level) <= kind.most):
        return None
    return _array(level, dtype).reshape(shape)


def _array(leaves: list[Any], dtype: int) -> Array:
    kind = _KINDS[dtype]
    if kind.dtype is object:
        texts = np.empty(len(leaves), object)
        texts[:] = [as_bytes(leaf) for leaf in leaves]
        return texts
    if kind.takes is _NUMBER:
        with np.errstate(over="ignore"):  # 1e39 is infinite in float32
            return np.array(leaves, np.float64).astype(kind.dtype)
    wide = np.uint64 if dtype == types_pb2.DT_UINT64 else np.bool_ if kind.dtype is np.bool_ else np.int64
    return np.array(leaves, wide).astype(kind.dtype)


def as_bytes(leaf: str | bytes) -> bytes:
    """A text as the request had it, whatever its encoding."""
    return leaf if isinstance(leaf, bytes) else leaf.encode("utf-8", "surrogateescape")


def decode_base64(value: Any) -> bytes:
    """The bytes in `{"b64": "..."}`. Raises `RequestError`."""
    if not is_base64(value):
        raise invalid_argument(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = "".join(value[BASE64_KEY].split()).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def _collect(value: Any, level: int, shape: tuple[int, ...], dtype: int, leaves: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON DOM. Expected at level: "
                f"{len(shape)}"
            )
        leaves.append(_leaf(value, dtype))
        return
    if level >= len(shape):
        raise invalid_argument(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: {shape[level]}"
        )
    for element in value:
        _collect(element, level + 1, shape, dtype, leaves)


def _leaf(value: Any, dtype: int) -> Any:
    kind = _KINDS.get(dtype)
    if kind is not None and kind.dtype is object and isinstance(value, dict):
        return decode_base64(value)
    name = types_pb2.DataType.Name(dtype).removeprefix("DT_").lower() if kind is None else kind.name
    if kind is None and not isinstance(value, dict):
        raise RequestError(Code.UNIMPLEMENTED, f"Conversion of JSON Value: {shown(value)} to type: {name}")
    if kind is None or type(value) not in kind.takes or (kind.most and not kind.least <= value <= kind.most):
        raise invalid_argument(f"JSON Value: {shown(value)} Type: {type_name(value)} is not of expected type: {name}")
    return value
