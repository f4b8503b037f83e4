"""Arrays as `TensorProto` messages, both ways, for a peer that means well.

Whoever reads a message from anybody, as the local server does, needs limits of its own:
`serving_config.local_server.predict`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from maf_serving.errors import InputError, ResponseError
from maf_serving.messages import message_class

if TYPE_CHECKING:
    import numpy.typing as npt

# The types that a flow's signatures use; by TensorFlow's number and its name in JSON.
DTYPE_NUMBERS = {1: "float32", 2: "float64", 3: "int32", 7: "string", 9: "int64", 10: "bool"}
DTYPE_NAMES = {
    "DT_FLOAT": "float32",
    "DT_DOUBLE": "float64",
    "DT_INT32": "int32",
    "DT_STRING": "string",
    "DT_INT64": "int64",
    "DT_BOOL": "bool",
}
_NUMBERS = {name: number for number, name in DTYPE_NUMBERS.items()}
# Where the values are when they are not in `tensor_content`, which is TF Serving's default for its answers.
_VALUE_FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int32": "int_val",
    "int64": "int64_val",
    "bool": "bool_val",
}


def to_tensor_proto(array: npt.NDArray[Any]) -> Any:
    """The message of an array, as TensorFlow reads it.

        to_tensor_proto(np.zeros((2, 3), np.float32)).tensor_content   # 24 bytes, little-endian

    Args:
      array: floats, integers of 32 or 64 bits, truth values; or bytes, of dtype object.

    Raises:
      InputError: the array is of another type.
    """
    dtype = "string" if array.dtype.hasobject else array.dtype.name
    if dtype != "string" and dtype not in _VALUE_FIELDS:
        raise InputError(f"an array is of type {dtype}; expected one of {', '.join(_VALUE_FIELDS)}, or bytes")
    message = message_class("TensorProto")(dtype=_NUMBERS[dtype])
    if dtype == "string":
        message.string_val.extend(array.ravel().tolist())
    else:
        message.tensor_content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    return message


def from_tensor_proto(message: Any) -> npt.NDArray[Any]:
    """The array of numbers or truth values that a message holds.

    TensorFlow may leave out values at the end that equal the last one. It reads a message without any value as zeros,
    which is right for what a client sends; no server answers so, and zeros would pass for a result.

    Raises:
      ResponseError: the message is of text or of an unknown type, holds no value for its shape, or more than fit.
    """
    dtype = DTYPE_NUMBERS.get(message.dtype)
    if dtype not in _VALUE_FIELDS:
        raise ResponseError(f"the server answered a tensor of TensorFlow's type {message.dtype}; expected numbers")
    shape = tuple(dim.size for dim in message.tensor_shape.dim)
    count = math.prod(shape)
    if message.tensor_content:
        stored = np.dtype(dtype).newbyteorder("<")
        whole = len(message.tensor_content) // stored.itemsize * stored.itemsize
        values = np.frombuffer(message.tensor_content[:whole], stored).astype(dtype)
    else:
        values = np.array(getattr(message, _VALUE_FIELDS[dtype]), dtype)
        if 0 < values.size < count:
            values = np.concatenate([values, np.full(count - values.size, values[-1], values.dtype)])
    if values.size != count or any(size < 0 for size in shape):
        raise ResponseError(f"the server answered {values.size} values for a tensor of shape {list(shape)}")
    return values.reshape(shape)
