"""The smaller files that TensorFlow Serving reads, in protobuf's text format: monitoring, TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maf_serving.messages import message_class, message_text

if TYPE_CHECKING:
    from serving_config.spec import TlsFiles


def monitoring_text(path: str) -> str:
    """`monitoring.config`: Prometheus metrics at that path of the REST port."""
    return message_text(message_class("MonitoringConfig")(prometheus_config={"enable": True, "path": path}))


def ssl_text(files: TlsFiles) -> str:
    """`ssl.config`, which holds the keys themselves and not their paths."""
    message = message_class("SSLConfig")(
        server_key=files.server_key.read_text(encoding="utf-8"),
        server_cert=files.server_cert.read_text(encoding="utf-8"),
        client_verify=files.client_verification == "required",
    )
    if files.custom_ca is not None:
        message.custom_ca = files.custom_ca.read_text(encoding="utf-8")
    return message_text(message)
