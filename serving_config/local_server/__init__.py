"""A TensorFlow Serving for development: its APIs, answers and errors, in one Python process.

Read first: `server.py`, which puts the parts together; then, downwards, `grpc_services.py` and `rest_api.py` (the two
doors), `predict.py`, `regress.py`, `classify.py` (what a request means), `model_manager.py` and `versions.py` (which
versions are served), `servable.py` (one loaded version).

It answers what a real tensorflow_model_server answers, in the same words where clients may look at them. It is for a
laptop, for tests and for demonstrations: the real server is faster, and the one for production.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maf_serving.lazy import lazy_names

if TYPE_CHECKING:
    from serving_config.local_server.errors import RequestError
    from serving_config.local_server.server import LocalServer
    from serving_config.local_server.server_options import ServerOptions

__all__ = [
    "LocalServer",
    "RequestError",
    "ServerOptions",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "serving_config.local_server.errors": ["RequestError"],
        "serving_config.local_server.server": ["LocalServer"],
        "serving_config.local_server.server_options": ["ServerOptions"],
    },
)
