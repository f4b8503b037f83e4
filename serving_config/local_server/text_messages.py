"""Configuration messages that tensorflow-serving-api ships no class for, and files of them in protobuf's text format.

Names, numbers and types are those of the `.proto` files of TensorFlow Serving under `tensorflow_serving/config` and
`servables/tensorflow/session_bundle_config.proto`, as far as this server reads them.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

from serving_config.local_server.errors import UsageError

_FIELD = descriptor_pb2.FieldDescriptorProto
_INT64 = "." + wrappers_pb2.Int64Value.DESCRIPTOR.full_name
_BOOL = "." + wrappers_pb2.BoolValue.DESCRIPTOR.full_name
_STRING = "." + wrappers_pb2.StringValue.DESCRIPTOR.full_name
_PROMETHEUS = ".tensorflow.serving.PrometheusConfig"

# message: field: (number, type; the full name of a message type, or "repeated")
_MESSAGES: dict[str, dict[str, tuple[int, int | str]]] = {
    "SSLConfig": {
        "server_key": (1, _FIELD.TYPE_STRING),
        "server_cert": (2, _FIELD.TYPE_STRING),
        "custom_ca": (3, _FIELD.TYPE_STRING),
        "client_verify": (4, _FIELD.TYPE_BOOL),
    },
    "PrometheusConfig": {"enable": (1, _FIELD.TYPE_BOOL), "path": (2, _FIELD.TYPE_STRING)},
    "MonitoringConfig": {"prometheus_config": (1, _PROMETHEUS)},
    "BatchingParameters": {
        "max_batch_size": (1, _INT64),
        "batch_timeout_micros": (2, _INT64),
        "max_enqueued_batches": (3, _INT64),
        "num_batch_threads": (4, _INT64),
        "thread_pool_name": (5, _STRING),
        "allowed_batch_sizes": (6, "repeated"),
        "pad_variable_length_inputs": (7, _FIELD.TYPE_BOOL),
        "enable_large_batch_splitting": (8, _BOOL),
        "max_execution_batch_size": (9, _INT64),
    },
}


def read_text_message(path: str, message: Any) -> Any:
    """Fills `message` from the file at `path`, and returns it.

    Raises:
      UsageError: if the file cannot be read or does not parse.
    """
    name = message.DESCRIPTOR.name
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}; expected a {name} in protobuf's text format") from error
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise UsageError(f"{path} is no {name} in protobuf's text format: {error}") from error


def new_message(name: str) -> Any:
    """An empty message of one of the types above."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"tensorflow.serving.{name}"))()


@functools.cache
def _pool() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="local_server_configuration.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            added = message.field.add(name=field, number=number, label=_FIELD.LABEL_OPTIONAL)
            if kind == "repeated":
                added.label, added.type = _FIELD.LABEL_REPEATED, _FIELD.TYPE_INT64
            elif isinstance(kind, str):
                added.type, added.type_name = _FIELD.TYPE_MESSAGE, kind
            else:
                added.type = kind
    pool = descriptor_pool.DescriptorPool()  # not the default one, where TF Serving's own may be some day
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool
