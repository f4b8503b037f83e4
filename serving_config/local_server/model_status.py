"""`GetModelStatus`: where every version of a model is in its life."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow_serving.apis import get_model_status_pb2

from serving_config.local_server.errors import invalid_argument

if TYPE_CHECKING:
    from serving_config.local_server.model_manager import ModelManager


def model_status(manager: ModelManager, request: Any) -> Any:
    """Answers a `GetModelStatusRequest`; a label is ignored, as the real server ignores it. Raises `RequestError`."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec
    version = spec.version.value if spec.HasField("version") else None
    response = get_model_status_pb2.GetModelStatusResponse()
    for number, status in manager.statuses(spec.name, version):
        one = response.model_version_status.add(version=number, state=int(status.state))
        one.status.error_code = int(status.code)
        one.status.error_message = status.message
    return response
