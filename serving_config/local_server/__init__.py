"""A TensorFlow Serving for development: its APIs, answers and errors, in one Python process.

Read first: `server.py`, which puts the parts together; then, downwards, `grpc_services.py` and `rest_api.py` (the two
doors), `predict.py`, `regress.py`, `classify.py` (what a request means), `model_manager.py` and `versions.py` (which
versions are served), `servable.py` (one loaded version).

It answers what a real tensorflow_model_server answers, in the same words where clients may look at them. It is for a
laptop, for tests and for demonstrations: the real server is faster, and the one for production.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["LocalServer", "RequestError", "ServerOptions"]

_HOME = {
    "LocalServer": "server",
    "RequestError": "errors",
    "ServerOptions": "server_options",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
