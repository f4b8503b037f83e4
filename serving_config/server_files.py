"""The smaller files that TensorFlow Serving reads, as messages: batching, monitoring, TLS.

`tensorflow-serving-api` ships no classes for them. Names, numbers and types of the fields are those of
session_bundle_config.proto, monitoring_config.proto and ssl_config.proto.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import text_format

from maf_serving.messages import message_class

if TYPE_CHECKING:
    from serving_config.batching_parameters import BatchingParameters
    from serving_config.spec import TlsFiles


def batching_text(batching: BatchingParameters) -> str:
    """`batching_parameters.txt`."""
    message = message_class("BatchingParameters")(allowed_batch_sizes=batching.allowed_batch_sizes)
    for name in ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"):
        value = getattr(batching, name)
        if value is not None:
            getattr(message, name).value = value
    return _text(message)


def monitoring_text(path: str) -> str:
    """`monitoring.config`: Prometheus metrics at that path of the REST port."""
    return _text(message_class("MonitoringConfig")(prometheus_config={"enable": True, "path": path}))


def ssl_text(files: TlsFiles) -> str:
    """`ssl.config`, which holds the keys themselves and not their paths."""
    message = message_class("SSLConfig")(
        server_key=files.server_key.read_text(encoding="utf-8"),
        server_cert=files.server_cert.read_text(encoding="utf-8"),
        client_verify=files.client_verification == "required",
    )
    if files.custom_ca is not None:
        message.custom_ca = files.custom_ca.read_text(encoding="utf-8")
    return _text(message)


def _text(message: Any) -> str:
    text: str = text_format.MessageToString(message)
    return text
