"""TensorFlow Serving for exported flows: its configuration, a client, rollouts, tuning.

Read first: `spec.py`, what is to be served; then `configuration.py`, the files made from it, `client/client.py`, which
calls a server, and `rollout.py` and `tune.py`. `python -m serving_config` writes the files, `python -m
serving_config.client`, `.rollout`, `.tune` and `.serve` are the other commands.

The client and the generator work without TensorFlow, and nothing here knows the model code. Importing this package
loads nothing; names are resolved when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving_config.batching_parameters import BatchingParameters
    from serving_config.client.client import Client
    from serving_config.configuration import build_files
    from serving_config.errors import JobError, ServingConfigError, ServingError, UsageError
    from serving_config.spec import ClusterSpec, ServedModel, ServingSpec, TlsFiles
    from serving_config.version_policy import VersionPolicy

__all__ = [
    "BatchingParameters",
    "Client",
    "ClusterSpec",
    "JobError",
    "ServedModel",
    "ServingConfigError",
    "ServingError",
    "ServingSpec",
    "TlsFiles",
    "UsageError",
    "VersionPolicy",
    "build_files",
]

_HOME = {
    "BatchingParameters": "batching_parameters",
    "Client": "client.client",
    "ClusterSpec": "spec",
    "JobError": "errors",
    "ServedModel": "spec",
    "ServingConfigError": "errors",
    "ServingError": "errors",
    "ServingSpec": "spec",
    "TlsFiles": "spec",
    "UsageError": "errors",
    "VersionPolicy": "version_policy",
    "build_files": "configuration",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
