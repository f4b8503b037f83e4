"""`tf.Example` without TensorFlow: the message, declared here, and a record as a dictionary."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_PACKAGE = "maf_serving"
_FIELD = descriptor_pb2.FieldDescriptorProto
_KINDS = {"Bytes": _FIELD.TYPE_BYTES, "Float": _FIELD.TYPE_FLOAT, "Int64": _FIELD.TYPE_INT64}


def _declare() -> Any:
    """The class of the message, field by field as in tensorflow/core/example/{example,feature}.proto.

    In a pool of its own, so that TensorFlow may declare its message too.
    """
    file = descriptor_pb2.FileDescriptorProto(name="maf_serving/example.proto", package=_PACKAGE, syntax="proto3")
    for name, kind in _KINDS.items():
        file.message_type.add(name=f"{name}List").field.add(
            name="value", number=1, type=kind, label=_FIELD.LABEL_REPEATED
        )
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(_KINDS, 1):
        _add_message(feature, f"{name.lower()}_list", number, f"{name}List", oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=_FIELD.TYPE_STRING, label=_FIELD.LABEL_OPTIONAL)
    _add_message(entry, "value", 2, "Feature")
    _add_message(features, "feature", 1, "Features.FeatureEntry", label=_FIELD.LABEL_REPEATED)
    _add_message(file.message_type.add(name="Example"), "features", 1, "Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Example"))


def _add_message(parent: Any, name: str, number: int, type_name: str, **more: Any) -> None:
    more.setdefault("label", _FIELD.LABEL_OPTIONAL)
    parent.field.add(name=name, number=number, type=_FIELD.TYPE_MESSAGE, type_name=f".{_PACKAGE}.{type_name}", **more)


_Example = _declare()


def parse_example(data: bytes) -> dict[str, Any]:
    """The features by name: the value of a feature that holds one, `None` of one that holds none, else the list.

    Raises `google.protobuf.message.DecodeError` if the bytes are no `tf.Example`.
    """
    record = {}
    for name, feature in _Example.FromString(data).features.feature.items():
        kind = feature.WhichOneof("kind")
        values = getattr(feature, kind).value if kind else ()
        record[name] = None if not values else values[0] if len(values) == 1 else list(values)
    return record
