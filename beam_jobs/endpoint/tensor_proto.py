"""Arrays as TensorProto messages: floats both ways, text and truth values to a server."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from beam_jobs.endpoint.messages import message_class
from beam_jobs.errors import EndpointError

if TYPE_CHECKING:
    import numpy.typing as npt

_NUMBERS = {"float32": 1, "float64": 2, "object": 7, "bool": 10}
# Where TensorFlow Serving puts the values of its answers.
_VALUES = {"float32": "float_val", "float64": "double_val"}
_NAMES = {_NUMBERS[name]: name for name in _VALUES}


def to_tensor_proto(array: npt.NDArray[Any]) -> Any:
    """The message of an array of floats, booleans or bytes (of dtype object); numbers are little-endian there."""
    message = message_class("TensorProto")(dtype=_NUMBERS[array.dtype.name])
    if array.dtype.hasobject:
        message.string_val.extend(array.ravel().tolist())
    else:
        message.tensor_content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    return message


def from_tensor_proto(message: Any) -> npt.NDArray[Any]:
    """The array of a message. Raises `EndpointError` if it is none of floats, or not of its shape."""
    dtype = _NAMES.get(message.dtype)
    if dtype is None:
        raise EndpointError(f"the server answered a tensor of TensorFlow's type {message.dtype}; expected floats")
    shape = [dim.size for dim in message.tensor_shape.dim]
    if message.tensor_content:
        itemsize = np.dtype(dtype).itemsize
        whole = message.tensor_content[: len(message.tensor_content) // itemsize * itemsize]
        values = np.frombuffer(whole, np.dtype(dtype).newbyteorder("<")).astype(dtype)
    else:
        values = np.array(getattr(message, _VALUES[dtype]), dtype)
        # TensorFlow leaves out equal values at the end.
        if 0 < values.size < math.prod(shape):
            values = np.concatenate([values, np.full(math.prod(shape) - values.size, values[-1])])
    if values.size != math.prod(shape):
        raise EndpointError(f"the server answered {values.size} values for a tensor of shape {shape}")
    return values.reshape(shape)
