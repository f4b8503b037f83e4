"""A record of `tf.Example` as a dictionary, without TensorFlow."""

from __future__ import annotations

from typing import Any

from maf_serving.messages import message_class


def parse_example(data: bytes) -> dict[str, Any]:
    """The features by name: the value of a feature that holds one, `None` of one that holds none, else the list.

    Raises `google.protobuf.message.DecodeError` if the bytes are no `tf.Example`.
    """
    record = {}
    for name, feature in message_class("Example").FromString(data).features.feature.items():
        kind = feature.WhichOneof("kind")
        values = getattr(feature, kind).value if kind else ()
        record[name] = None if not values else values[0] if len(values) == 1 else list(values)
    return record
