"""From the `ModelSpec` of a request to the version that answers it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from serving_config.local_server.errors import invalid_argument

if TYPE_CHECKING:
    from serving_config.local_server.model_manager import ModelManager
    from serving_config.local_server.servable import Servable


def servable_for(manager: ModelManager, spec: Any) -> AbstractContextManager[Servable]:
    """The version that `spec` names, for as long as the context is open. Raises `RequestError`."""
    if not spec.name:
        raise invalid_argument("ModelSpec has no name specified.")
    return manager.servable(
        spec.name,
        version=spec.version.value if spec.HasField("version") else None,
        label=spec.version_label if spec.HasField("version_label") else None,
    )
