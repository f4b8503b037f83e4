"""TensorFlow's and TensorFlow Serving's protobuf messages, declared by a table of their fields.

`tensorflow` and `tensorflow_serving.apis` have these messages too, but importing either takes seconds and hundreds of
megabytes, which a client, a Beam worker or `--help` shall not pay; of some, such as `BatchingParameters`, they ship no
class at all. Names, numbers and types of the fields are those of the .proto files, so the bytes are the same. A field
that nobody here needs is left out, which is how protobuf reads messages newer than itself; enums are their numbers.

    request = message_class("PredictRequest")()
    request.model_spec.name = "sales"

The messages live in a descriptor pool of their own: the default one holds TensorFlow's, once it is imported.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maf_serving.errors import UsageError

_PACKAGE = "tensorflow.serving"
_SCALARS = {"string": 9, "bytes": 12, "bool": 8, "int32": 5, "int64": 3, "float": 2, "double": 1}
_INT64 = "google.protobuf.Int64Value"

# Message: {field: (number, type)}, or (number, type, oneof); `[]` repeats a type, `{}` is a map from text to it.
_Fields = Mapping[str, tuple[int, str] | tuple[int, str, str]]

_TENSORS: dict[str, _Fields] = {
    "Dim": {"size": (1, "int64"), "name": (2, "string")},
    "TensorShapeProto": {"dim": (2, "[]Dim"), "unknown_rank": (3, "bool")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShapeProto"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "[]float"),
        "double_val": (6, "[]double"),
        "int_val": (7, "[]int32"),
        "string_val": (8, "[]bytes"),
        "int64_val": (10, "[]int64"),
        "bool_val": (11, "[]bool"),
    },
    "TensorInfo": {"name": (1, "string"), "dtype": (2, "int32"), "tensor_shape": (3, "TensorShapeProto")},
    "SignatureDef": {"inputs": (1, "{}TensorInfo"), "outputs": (2, "{}TensorInfo"), "method_name": (3, "string")},
    "SignatureDefMap": {"signature_def": (1, "{}SignatureDef")},
    "MetaGraphDef": {"signature_def": (5, "{}SignatureDef")},
    "SavedModel": {"meta_graphs": (2, "[]MetaGraphDef")},
}
_EXAMPLES: dict[str, _Fields] = {
    "BytesList": {"value": (1, "[]bytes")},
    "FloatList": {"value": (1, "[]float")},
    "Int64List": {"value": (1, "[]int64")},
    "Feature": {
        "bytes_list": (1, "BytesList", "kind"),
        "float_list": (2, "FloatList", "kind"),
        "int64_list": (3, "Int64List", "kind"),
    },
    "Features": {"feature": (1, "{}Feature")},
    "Example": {"features": (1, "Features")},
}
_SERVICES: dict[str, _Fields] = {
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, _INT64),
        "signature_name": (3, "string"),
        "version_label": (4, "string"),
    },
    "PredictRequest": {
        "model_spec": (1, "ModelSpec"),
        "inputs": (2, "{}TensorProto"),
        "output_filter": (3, "[]string"),
    },
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictionLog": {"predict_log": (6, "PredictLog", "log_type")},
    "PredictResponse": {"outputs": (1, "{}TensorProto"), "model_spec": (2, "ModelSpec")},
    "StatusProto": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "ModelVersionStatus": {"version": (1, "int64"), "state": (2, "int32"), "status": (3, "StatusProto")},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "GetModelStatusResponse": {"model_version_status": (1, "[]ModelVersionStatus")},
    "GetModelMetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "[]string")},
    "GetModelMetadataResponse": {"model_spec": (1, "ModelSpec"), "metadata": (2, "{}google.protobuf.Any")},
    # The configuration is a message; its serialized form is all that a client passes on.
    "ReloadConfigRequest": {"config": (1, "bytes")},
    "ReloadConfigResponse": {"status": (1, "StatusProto")},
}
# What TensorFlow Serving reads from text files.
_SERVER_FILES: dict[str, _Fields] = {
    "BatchingParameters": {
        "max_batch_size": (1, _INT64),
        "batch_timeout_micros": (2, _INT64),
        "max_enqueued_batches": (3, _INT64),
        "num_batch_threads": (4, _INT64),
        "thread_pool_name": (5, "google.protobuf.StringValue"),
        "allowed_batch_sizes": (6, "[]int64"),
        "pad_variable_length_inputs": (7, "bool"),
        "enable_large_batch_splitting": (8, "google.protobuf.BoolValue"),
        "max_execution_batch_size": (9, _INT64),
    },
    "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
    "MonitoringConfig": {"prometheus_config": (1, "PrometheusConfig")},
    "SSLConfig": {
        "server_key": (1, "string"),
        "server_cert": (2, "string"),
        "custom_ca": (3, "string"),
        "client_verify": (4, "bool"),
    },
}
_MESSAGES = _TENSORS | _EXAMPLES | _SERVICES | _SERVER_FILES


@functools.cache
def message_class(name: str) -> Any:
    """The class of a message, by its name without a package, such as `PredictRequest`."""
    from google.protobuf import message_factory  # noqa: PLC0415  # many import this module for later

    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))


@functools.cache
def _pool() -> Any:
    from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, wrappers_pb2  # noqa: PLC0415

    well_known = (any_pb2, wrappers_pb2)
    file = descriptor_pb2.FileDescriptorProto(
        name="maf_serving/messages.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[module.DESCRIPTOR.name for module in well_known],
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, declared in fields.items():
            _add_field(message, field, *declared)
    pool = descriptor_pool.DescriptorPool()
    for module in well_known:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_field(message: Any, name: str, number: int, kind: str, oneof: str = "") -> None:
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if kind[:2] in {"[]", "{}"} else field.LABEL_OPTIONAL
    element = kind.lstrip("[]{}")
    if kind.startswith("{}"):
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "string")
        _add_field(entry, "value", 2, element)
        element = f"{_PACKAGE}.{message.name}.{entry.name}"
    if element in _SCALARS:
        field.type = _SCALARS[element]
    else:
        field.type = field.TYPE_MESSAGE
        field.type_name = f".{element}" if "." in element else f".{_PACKAGE}.{element}"
    if oneof:
        if oneof not in [each.name for each in message.oneof_decl]:
            message.oneof_decl.add(name=oneof)
        field.oneof_index = [each.name for each in message.oneof_decl].index(oneof)


def message_text(message: Any) -> str:
    """A message in protobuf's text format, which is how TensorFlow Serving is configured."""
    from google.protobuf import text_format  # noqa: PLC0415

    text: str = text_format.MessageToString(message)
    return text


def read_text_message(path: str | Path, message: Any) -> Any:
    """Fills `message` from a file in protobuf's text format, and returns it.

    Raises:
      UsageError: the file cannot be read or does not parse.
    """
    from google.protobuf import text_format  # noqa: PLC0415

    name = message.DESCRIPTOR.name
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}; expected a {name} in protobuf's text format") from error
    try:
        return text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise UsageError(f"{path} is no {name} in protobuf's text format: {error}") from error
