"""Arrays as TensorProto messages, both ways."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_config.client.messages import message_class
from serving_config.client.metadata import DTYPE_NUMBERS
from serving_config.errors import InputError, ResponseError

if TYPE_CHECKING:
    from serving_config.client.transport import Array

_NUMBERS = {name: number for number, name in DTYPE_NUMBERS.items()}
# Where the values are when they are not in `tensor_content`, which is TF Serving's default for its answers.
_VALUE_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int32": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
}


def to_tensor_proto(array: Array) -> Any:
    """The message for an array of numbers, little-endian as TensorFlow reads them, or of bytes (of dtype object)."""
    dtype = "string" if array.dtype.hasobject else array.dtype.name
    if dtype != "string" and dtype not in _VALUE_FIELDS:
        raise InputError(f"an array is of type {dtype}; expected one of {', '.join(_VALUE_FIELDS)}")
    message = message_class("TensorProto")(dtype=_NUMBERS[dtype])
    if dtype == "string":
        message.string_val.extend(array.ravel().tolist())
    else:
        message.tensor_content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    return message


def from_tensor_proto(message: Any) -> Array:
    """The array of a message. Raises `ResponseError` if it makes none."""
    dtype = DTYPE_NUMBERS.get(message.dtype)
    if dtype not in _VALUE_FIELDS:
        raise ResponseError(f"the server answered a tensor of TensorFlow's type {message.dtype}; expected numbers")
    shape = tuple(dim.size for dim in message.tensor_shape.dim)
    count = math.prod(shape)
    if message.tensor_content:
        stored = np.dtype(dtype).newbyteorder("<")
        whole = len(message.tensor_content) // stored.itemsize * stored.itemsize
        values = np.frombuffer(message.tensor_content[:whole], dtype=stored).astype(dtype)
    else:
        values = _fill(np.array(getattr(message, _VALUE_FIELDS[dtype]), dtype=dtype), count)
    if values.size != count:
        raise ResponseError(f"the server answered {values.size} values for a tensor of shape {list(shape)}")
    return values.reshape(shape)


def _fill(values: Array, count: int) -> Array:
    """`values`, the last one repeated up to `count`: TensorFlow leaves out equal values at the end, and all if 0."""
    if values.size >= count:
        return values
    last = values[-1] if values.size else np.zeros((), values.dtype)
    return np.concatenate([values, np.full(count - values.size, last, values.dtype)])
