"""`GetModelMetadata`: the signatures of a version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorflow_serving.apis import get_model_metadata_pb2

from serving_config.local_server.errors import invalid_argument

if TYPE_CHECKING:
    from serving_config.local_server.servable import Servable

SIGNATURE_DEF = "signature_def"


def check_metadata_request(request: Any) -> None:
    """Raises `RequestError` for what can be told without the model."""
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    if not request.metadata_field:
        raise invalid_argument("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != SIGNATURE_DEF:
            raise invalid_argument(f"Metadata field {field} is not supported")


def model_metadata(servable: Servable) -> Any:
    """The `GetModelMetadataResponse` for a version."""
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.model_spec.name = servable.model
    response.model_spec.version.value = servable.version
    response.metadata[SIGNATURE_DEF].Pack(signature_map(servable))
    return response


def signature_map(servable: Servable) -> Any:
    """All signatures of a version as a `SignatureDefMap`."""
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, signature in servable.signatures.items():
        signatures.signature_def[name].CopyFrom(signature)
    return signatures
