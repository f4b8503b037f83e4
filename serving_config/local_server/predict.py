"""`Predict`: named tensors in, named tensors out, within the limits that messages from anybody need."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

from maf_serving.codes import Code
from serving_config.local_server.errors import RequestError, invalid_argument

if TYPE_CHECKING:
    from maf_serving.model_inputs import Array
    from serving_config.local_server.servable import Servable

DEFAULT_SIGNATURE = "serving_default"
# A message of a few bytes may describe a tensor of any size: the last value given is repeated.
MOST_REPEATED_BYTES = 64 * 2**20
_FIELDS = {
    types_pb2.DT_FLOAT: "float_val",
    types_pb2.DT_DOUBLE: "double_val",
    types_pb2.DT_INT32: "int_val",
    types_pb2.DT_INT16: "int_val",
    types_pb2.DT_INT8: "int_val",
    types_pb2.DT_UINT8: "int_val",
    types_pb2.DT_UINT16: "int_val",
    types_pb2.DT_UINT32: "uint32_val",
    types_pb2.DT_UINT64: "uint64_val",
    types_pb2.DT_INT64: "int64_val",
    types_pb2.DT_BOOL: "bool_val",
    types_pb2.DT_STRING: "string_val",
    types_pb2.DT_HALF: "half_val",
    types_pb2.DT_BFLOAT16: "half_val",
}
_MOST_DIMENSIONS = 64  # of NumPy; TensorFlow itself has 254
_LARGEST = 2**62  # bytes, were no dimension zero
_BITS = (types_pb2.DT_HALF, types_pb2.DT_BFLOAT16)  # sent as the integers of their bits


def predict(servable: Servable, request: Any, timeout: float | None = None) -> Any:
    """Answers a `PredictRequest` with a `PredictResponse`.

    Raises:
      RequestError: as a real server would answer.
    """
    name, signature = predict_signature(servable, request.model_spec.signature_name)
    check_inputs(signature, request.inputs)
    inputs = {alias: from_proto(alias, request.inputs[alias]) for alias in sorted(request.inputs)}
    response = predict_pb2.PredictResponse()
    for alias, value in run_signature(servable, signature, inputs, request.output_filter, timeout).items():
        response.outputs[alias].CopyFrom(to_proto(value))
    fill_model_spec(response.model_spec, servable, name)
    return response


def predict_signature(servable: Servable, requested: str) -> tuple[str, Any]:
    """The signature's name and `SignatureDef`; no name is the default one. Raises `RequestError`."""
    name = requested or DEFAULT_SIGNATURE
    if name not in servable.signatures:
        raise RequestError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    return name, servable.signatures[name]


def check_inputs(signature: Any, given: Collection[str]) -> None:
    """Raises `RequestError` unless `given` names the signature's inputs; those with defaults may be left out."""
    expected, sent = sorted(signature.inputs), sorted(given)
    defaults = sorted(signature.defaults)
    missing = [name for name in expected if name not in sent and name not in defaults]
    extra = [name for name in sent if name not in expected]
    if len(sent) > len(expected) or len(sent) < len(expected) - len(defaults):
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(expected)} len({_set(sent)}) != "
            f"len({_set(expected)}). Sent extra: {_set(extra)}. Missing but required: {_set(missing)}."
        )
    if missing:
        raise invalid_argument(
            f"Signature input alias: {missing[0]}(feed name: {signature.inputs[missing[0]].name}) not found in request "
            f"and no default value provided. Inputs expected to be in the request {_set(sent)}, or default input alias "
            f"set: {','.join(defaults)}"
        )
    if extra:
        raise invalid_argument(f"Sent extra inputs: {_set(extra)}. Inputs of the signature: {_set(expected)}.")


def run_signature(
    servable: Servable,
    signature: Any,
    inputs: Mapping[str, Array],
    output_filter: Iterable[str] = (),
    timeout: float | None = None,
) -> dict[str, Array]:
    """The signature's outputs by name, or those of `output_filter` alone. Raises `RequestError`."""
    wanted = _outputs(signature, output_filter)
    feeds = {signature.inputs[alias].name: value for alias, value in inputs.items()}
    for alias in sorted(signature.defaults):
        if alias not in inputs:
            feeds[signature.inputs[alias].name] = from_proto(alias, signature.defaults[alias])
    values = servable.run("Predict", feeds, [signature.outputs[alias].name for alias in wanted], timeout)
    return dict(zip(wanted, values, strict=True))


def fill_model_spec(spec: Any, servable: Servable, signature_name: str) -> None:
    """Says in a response who has answered."""
    spec.name = servable.model
    spec.version.value = servable.version
    spec.signature_name = signature_name


def _outputs(signature: Any, output_filter: Iterable[str]) -> list[str]:
    wanted = list(output_filter)
    if not wanted:
        return sorted(signature.outputs)
    for position, alias in enumerate(wanted):
        if alias not in signature.outputs:
            raise invalid_argument(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set "
                f"{_set(sorted(signature.outputs))}."
            )
        if alias in wanted[:position]:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return wanted


def _set(names: Iterable[str]) -> str:
    return "{" + ",".join(names) + "}"


def from_proto(name: str, proto: Any) -> Array:
    """The array in a `TensorProto`.

    Raises:
      RequestError: if the message contradicts itself, or is of a type that cannot be sent; it names the input `name`.
    """
    field = _FIELDS.get(proto.dtype)
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    if field is None or proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise _unreadable(name)
    if len(shape) > _MOST_DIMENSIONS or math.prod(filter(None, shape)) * 16 > _LARGEST:
        raise _unreadable(name)
    text = proto.dtype == types_pb2.DT_STRING
    dtype = np.dtype(object) if text else np.dtype(tf.as_dtype(proto.dtype).as_numpy_dtype)
    count = math.prod(shape)
    if count == 0:  # whatever else is in the message
        return np.empty(shape, dtype)
    if proto.tensor_content and text:
        array = _texts(name, proto.tensor_content, count)
    elif proto.tensor_content:
        if len(proto.tensor_content) != count * dtype.itemsize:
            raise _unreadable(name)
        array = np.frombuffer(proto.tensor_content, dtype)
    else:
        array = _repeated(name, _values(getattr(proto, field), proto.dtype, dtype), count)
    return array.reshape(shape)


def _texts(name: str, content: bytes, count: int) -> Array:
    """Text as TensorFlow packs it: the lengths as varints, then the bytes one after the other."""
    if count > len(content):
        raise _unreadable(name)
    at = 0
    lengths = []
    for _ in range(count):
        length = shift = 0
        while True:
            if at == len(content) or shift > 28:
                raise _unreadable(name)
            byte = content[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if at + sum(lengths) != len(content):
        raise _unreadable(name)
    ends = np.cumsum([at, *lengths]).tolist()
    array = np.empty(count, object)
    array[:] = [content[start:end] for start, end in itertools.pairwise(ends)]
    return array


def _values(given: Any, kind: int, dtype: np.dtype[Any]) -> Array:
    if kind in _BITS:
        return np.array(given, np.int64).astype(np.uint16).view(dtype)
    if dtype.kind == "O":
        values = np.empty(len(given), object)
        values[:] = list(given)
        return values
    return (
        np.array(given, np.int64).astype(dtype) if dtype.kind in "iu" and dtype.itemsize < 4 else np.array(given, dtype)
    )


def _repeated(name: str, values: Array, count: int) -> Array:
    """As many values as the shape asks for: TensorFlow repeats the last one, takes none for zeros, and drops more."""
    values = values[:count]
    missing = count - len(values)
    if not missing:
        return values
    if missing * values.dtype.itemsize > MOST_REPEATED_BYTES:
        raise invalid_argument(
            f"tensor parsing error: {name}: the shape has {count} elements and the message {len(values)}; "
            f"at most {MOST_REPEATED_BYTES} bytes may be left out"
        )
    last = values[-1] if len(values) else (b"" if values.dtype.kind == "O" else np.zeros((), values.dtype)[()])
    filled = np.empty(count, values.dtype)
    filled[: len(values)] = values
    filled[len(values) :] = last
    return filled


def _unreadable(name: str) -> Exception:
    return invalid_argument(f"tensor parsing error: {name}")


def to_proto(array: Array) -> Any:
    """A `TensorProto` with its values in the fields of their type, as TensorFlow Serving sends them."""
    kind = types_pb2.DT_STRING if array.dtype.kind in "OSU" else tf.as_dtype(array.dtype).as_datatype_enum
    proto = tensor_pb2.TensorProto(dtype=kind)
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    field = _FIELDS.get(kind)
    if field is None:
        proto.tensor_content = array.tobytes()
    elif kind in _BITS:
        proto.half_val.extend(array.view(np.uint16).ravel().tolist())
    elif kind == types_pb2.DT_STRING:
        proto.string_val.extend(tf.compat.as_bytes(text) for text in array.ravel().tolist())
    else:
        getattr(proto, field).extend(array.ravel().tolist())
    return proto
