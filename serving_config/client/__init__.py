"""A client of served flows that is light: numpy, and urllib3 or gRPC; no TensorFlow.

    from serving_config.client import Client
    with Client("demo", rest_url="http://localhost:8501") as client:
        client.log_prob([[0.5, -1.0]], [[1.0]])

Read first: `client.py`, the class; then `rest_transport.py` and `grpc_transport.py`, its two ways to a server.
`table_call.py` is what the command `python -m serving_config.client` does with files, `table_columns.py` how it knows
their columns.

Importing this package loads neither; names are resolved when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maf_serving.lazy import lazy_names

if TYPE_CHECKING:
    from maf_serving.tls import Tls
    from serving_config.client.client import Client
    from serving_config.client.retry import RetryPolicy
    from serving_config.client.transport import ModelMetadata, SignatureInfo, TensorInfo, VersionStatus

__all__ = [
    "Client",
    "ModelMetadata",
    "RetryPolicy",
    "SignatureInfo",
    "TensorInfo",
    "Tls",
    "VersionStatus",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "maf_serving.tls": ["Tls"],
        "serving_config.client.client": ["Client"],
        "serving_config.client.retry": ["RetryPolicy"],
        "serving_config.client.transport": ["ModelMetadata", "SignatureInfo", "TensorInfo", "VersionStatus"],
    },
)
