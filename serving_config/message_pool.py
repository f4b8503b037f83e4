"""Protobuf messages from a table of their fields, in a descriptor pool of their own.

For messages that `tensorflow-serving-api` has no class for, or none that can be had without importing TensorFlow. The
default pool is left alone: it may hold the originals, now or some day. Enums are read as their numbers, and a table
may leave fields out, which is how protobuf reads messages newer than itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    wrappers_pb2,
)

_PACKAGE = "tensorflow.serving"
_SCALARS = {"string": 9, "bytes": 12, "bool": 8, "int32": 5, "int64": 3, "float": 2, "double": 1}
_WELL_KNOWN = (any_pb2, wrappers_pb2)

# Message: {field: (number, type)}; `[]` repeats a type, `{}` is a map from strings to it.
MessageTable = Mapping[str, Mapping[str, tuple[int, str]]]


def message_classes(file_name: str, table: MessageTable) -> Callable[[str], Any]:
    """A function from the names in the table to message classes, all of one pool."""

    @functools.cache
    def pool() -> Any:
        return _build(file_name, table)

    @functools.cache
    def message_class(name: str) -> Any:
        return message_factory.GetMessageClass(pool().FindMessageTypeByName(f"{_PACKAGE}.{name}"))

    return message_class


def _build(file_name: str, table: MessageTable) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name=file_name,
        package=_PACKAGE,
        syntax="proto3",
        dependency=[module.DESCRIPTOR.name for module in _WELL_KNOWN],
    )
    for name, fields in table.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            _add_field(message, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    for module in _WELL_KNOWN:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_field(message: Any, name: str, number: int, kind: str) -> None:
    proto = descriptor_pb2.FieldDescriptorProto
    label = proto.LABEL_REPEATED if kind[:2] in {"[]", "{}"} else proto.LABEL_OPTIONAL
    element = kind.lstrip("[]{}")
    if kind.startswith("{}"):
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "string")
        _add_field(entry, "value", 2, element)
        element = f"{_PACKAGE}.{message.name}.{entry.name}"
    if element in _SCALARS:
        message.field.add(name=name, number=number, label=label, type=_SCALARS[element])
    else:
        full_name = element if "." in element else f"{_PACKAGE}.{element}"
        message.field.add(name=name, number=number, label=label, type=proto.TYPE_MESSAGE, type_name=f".{full_name}")
