"""TensorFlow Serving's messages of `Predict`, in a descriptor pool of their own.

`tensorflow_serving.apis` has them too, but imports TensorFlow, which a worker that asks a server does not need. Names,
numbers and types of the fields are those of the .proto files; enums are read as their numbers.
"""

from __future__ import annotations

import functools
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_PACKAGE = "tensorflow.serving"
_SCALARS = {"string": 9, "bytes": 12, "int32": 5, "int64": 3, "float": 2, "double": 1}
# Message: {field: (number, type)}; `[]` repeats a type.
_MESSAGES = {
    "Dim": {"size": (1, "int64")},
    "TensorShapeProto": {"dim": (2, "[]Dim")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShapeProto"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "[]float"),
        "double_val": (6, "[]double"),
        "string_val": (8, "[]bytes"),
    },
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "google.protobuf.Int64Value"),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    # On the wire a map is a repeated message of key and value.
    "Tensor": {"key": (1, "string"), "value": (2, "TensorProto")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "[]Tensor")},
    "PredictResponse": {"outputs": (1, "[]Tensor"), "model_spec": (2, "ModelSpec")},
}


@functools.cache
def message_class(name: str) -> Any:
    """The class of a message, by its name without the package."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))


@functools.cache
def _pool() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="beam_jobs_predict.proto", package=_PACKAGE, syntax="proto3", dependency=[wrappers_pb2.DESCRIPTOR.name]
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    proto = descriptor_pb2.FieldDescriptorProto
    label = proto.LABEL_REPEATED if kind.startswith("[]") else proto.LABEL_OPTIONAL
    element = kind.removeprefix("[]")
    if element in _SCALARS:
        message.field.add(name=name, number=number, label=label, type=_SCALARS[element])
    else:
        full_name = element if "." in element else f"{_PACKAGE}.{element}"
        message.field.add(name=name, number=number, label=label, type=proto.TYPE_MESSAGE, type_name=f".{full_name}")
