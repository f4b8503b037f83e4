"""A TensorFlow Serving for development: its APIs, answers and errors, in one Python process.

Read first: `server.py`, which puts the parts together; then, downwards, `grpc_door.py` and `rest_api.py` (the two
doors), `apis.py`, `predict.py` (what a request means), `model_manager.py` and `model_config.py`
(which versions are served), `servable.py` (one loaded version).

It answers what a real tensorflow_model_server answers, in the same words where clients may look at them. It is for a
laptop, for tests and for demonstrations: the real server is faster, and the one for production.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from maf_serving.lazy import lazy_names

if TYPE_CHECKING:
    from serving_config.local_server.errors import RequestError
    from serving_config.local_server.server import LocalServer, ServerOptions

__all__ = [
    "LocalServer",
    "RequestError",
    "ServerOptions",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "serving_config.local_server.errors": ["RequestError"],
        "serving_config.local_server.server": ["LocalServer", "ServerOptions"],
    },
)
