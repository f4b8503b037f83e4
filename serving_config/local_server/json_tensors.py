"""JSON values as tensors, with the real server's rules of what fits which type, and as the text it writes of them."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import itertools
import json
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow.core.framework import types_pb2

from maf_serving.codes import Code
from serving_config.local_server.errors import RequestError, invalid_argument

if TYPE_CHECKING:
    from maf_serving.model_inputs import Array

BASE64_KEY = "b64"
_ROWS = 2**13  # that are looked at together
LONGEST = 4096  # characters of a value that an error message shows
_AT_ONCE = 2**12  # numbers that are written together
_INDENT = "    "


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


def shown(value: Any) -> str:
    """A value of a request, for the error that complains of it; a long one is cut off."""
    if type(value) is float:
        return decimals(np.array([value]))[0]
    parts: list[str] = []
    length = 0
    for part in _written(value, 0):
        parts.append(part)
        length += len(part)
        if length > LONGEST:
            return "".join(parts)[:LONGEST] + "..."
    return "".join(parts)


def type_name(value: Any) -> str:
    """What the real parser calls the type of a value."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return str(value)
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Number")


def decimals(values: Array) -> list[str]:
    """Floating-point numbers as text: six digits where they are enough, else as many as the type may need.

    A whole number gets `.0`; what is not finite is `NaN`, `Infinity` or `-Infinity`.
    """
    flat = values.ravel()
    # Some at a time: formatting and NumPy keep every other thread waiting.
    return [text for start in range(0, flat.size, _AT_ONCE) for text in _decimals(flat[start : start + _AT_ONCE])]


def _decimals(values: Array) -> list[str]:
    wide: list[float] = values.astype(np.float64).tolist()
    short = ("%.6g " * len(wide) % tuple(wide)).split()
    with np.errstate(over="ignore"):
        same = np.array(short, np.float64).astype(values.dtype) == values
    digits = 17 if values.dtype == np.float64 else 9
    return [
        _pointed(text) if good else _special(value) or _pointed(f"{value:.{digits}g}")
        for text, value, good in zip(short, wide, (same & np.isfinite(values)).tolist(), strict=True)
    ]


def compact(tokens: Sequence[str], shape: Sequence[int]) -> list[str]:
    """One text for each entry of the 0th dimension: the rest of `shape` as lists on one line."""
    texts = list(tokens)
    for depth in reversed(range(1, len(shape))):
        size = shape[depth]
        groups = range(math.prod(shape[:depth]))
        texts = ["[" + ", ".join(texts[i * size : (i + 1) * size]) + "]" for i in groups]
    return texts


def _pointed(text: str) -> str:
    return text if "." in text or "e" in text else text + ".0"


def _special(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return ("Infinity" if value > 0 else "-Infinity") if math.isinf(value) else ""


def _written(value: Any, level: int) -> Iterator[str]:
    """Objects over several lines, lists on one; both count as a level of indentation."""
    if isinstance(value, dict) and value:
        yield "{"
        for number, (key, member) in enumerate(value.items()):
            yield f"{',' if number else ''}\n{_INDENT * (level + 1)}{_quoted(key)}: "
            yield from _written(member, level + 1)
        yield f"\n{_INDENT * level}}}"
    elif isinstance(value, list):
        yield "["
        for number, element in enumerate(value):
            if number:
                yield ", "
            yield from _written(element, level + 1)
        yield "]"
    elif type(value) is float:
        yield repr(value).replace("e+", "e")
    else:
        yield _quoted(value)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
