"""TensorFlow Serving for exported flows: its configuration, a client, rollouts, tuning.

    spec -> configuration, server_files, deployment/  -> files on disk  -> a TensorFlow Serving, or local_server/
    rows -> client/table_call -> client/client -> rest_transport or grpc_transport -> the server -> rows

In the local server a row goes through `grpc_door` or `rest_door`, `apis`, `predict`, `batching` and `servable`.

Read first: `spec.py`, what is to be served; then `configuration.py`, the files made from it, `client/client.py`, which
calls a server, and `rollout.py` and `tune.py`. `python -m serving_config` writes the files, `python -m
serving_config.client`, `.rollout`, `.tune` and `.serve` are the other commands.

The client and the generator work without TensorFlow, and nothing here knows the model code. Importing this package
loads nothing; names are resolved when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maf_serving.lazy import lazy_names

if TYPE_CHECKING:
    from maf_serving.batching import BatchingParameters
    from maf_serving.model_spec import VersionPolicy
    from serving_config.client.client import Client
    from serving_config.configuration import build_files
    from serving_config.errors import JobError, ServingError, UsageError
    from serving_config.spec import ClusterSpec, ServedModel, ServingSpec, TlsFiles

__all__ = [
    "BatchingParameters",
    "Client",
    "ClusterSpec",
    "JobError",
    "ServedModel",
    "ServingError",
    "ServingSpec",
    "TlsFiles",
    "UsageError",
    "VersionPolicy",
    "build_files",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "maf_serving.batching": ["BatchingParameters"],
        "maf_serving.model_spec": ["VersionPolicy"],
        "serving_config.client.client": ["Client"],
        "serving_config.configuration": ["build_files"],
        "serving_config.errors": ["JobError", "ServingError", "UsageError"],
        "serving_config.spec": ["ClusterSpec", "ServedModel", "ServingSpec", "TlsFiles"],
    },
)
