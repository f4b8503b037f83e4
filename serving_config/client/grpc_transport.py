"""Requests over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from serving_config.client.messages import message_class
from serving_config.client.metadata import DTYPE_NUMBERS, ModelMetadata, SignatureInfo, TensorInfo
from serving_config.client.model_status import OK, STATES, VersionStatus
from serving_config.client.tensor_proto import from_tensor_proto, to_tensor_proto
from serving_config.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ModelNotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ResponseError,
    ServerError,
    ServingError,
    UnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving_config.client.model_spec import ModelSpec
    from serving_config.client.tls import Tls
    from serving_config.client.transport import Array, Arrays

_PREDICTION = "tensorflow.serving.PredictionService"
_MODEL = "tensorflow.serving.ModelService"
_OPTIONS = (
    # gRPC receives 4 MB by default; the server's own limit is 2 GiB, and -1 leaves the matter to it.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A name with several addresses, such as a headless service of Kubernetes, means all of them.
    ("grpc.lb_policy_name", "round_robin"),
)
_ERRORS: dict[str, type[ServingError]] = {
    "NOT_FOUND": ModelNotFoundError,
    "INVALID_ARGUMENT": InvalidArgumentError,
    "FAILED_PRECONDITION": InvalidArgumentError,
    "OUT_OF_RANGE": InvalidArgumentError,
    "UNAUTHENTICATED": PermissionDeniedError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "UNAVAILABLE": UnavailableError,
    "ABORTED": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "RESOURCE_EXHAUSTED": ResourceExhaustedError,
}
_CODE_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}


class GrpcTransport:
    """A channel to `host:port`, or to any other target that gRPC understands, such as `dns:///service:8500`."""

    def __init__(self, target: str, *, tls: Tls | None = None) -> None:
        self._target = target
        if tls is None:
            self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(*tls.read())
            self._channel = grpc.secure_channel(target, credentials, options=_OPTIONS)

    def predict(
        self,
        model: ModelSpec,
        signature_name: str,
        signature: SignatureInfo,
        inputs: Mapping[str, Array],
        *,
        timeout: float,
    ) -> Arrays:
        """See `Transport`."""
        request = message_class("PredictRequest")(model_spec=_model_spec(model, signature_name))
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(to_tensor_proto(array))
        response = self._call(_PREDICTION, "Predict", request, "PredictResponse", timeout)
        if set(response.outputs) != set(signature.outputs):
            raise ResponseError(
                f"{self._target} answered the outputs {', '.join(sorted(response.outputs)) or 'none'}; "
                f"expected {', '.join(sorted(signature.outputs))}"
            )
        return {name: from_tensor_proto(tensor) for name, tensor in response.outputs.items()}

    def model_status(self, model: ModelSpec, *, timeout: float) -> list[VersionStatus]:
        """See `Transport`."""
        request = message_class("GetModelStatusRequest")(model_spec=_model_spec(model))
        response = self._call(_MODEL, "GetModelStatus", request, "GetModelStatusResponse", timeout)
        return [
            VersionStatus(
                version=each.version,
                state=STATES.get(each.state, "UNKNOWN"),
                error_code=_CODE_NAMES.get(each.status.error_code, "UNKNOWN"),
                error_message=each.status.error_message,
            )
            for each in response.model_version_status
        ]

    def metadata(self, model: ModelSpec, *, timeout: float) -> ModelMetadata:
        """See `Transport`."""
        request = message_class("GetModelMetadataRequest")(
            model_spec=_model_spec(model), metadata_field=["signature_def"]
        )
        response = self._call(_PREDICTION, "GetModelMetadata", request, "GetModelMetadataResponse", timeout)
        signatures = message_class("SignatureDefMap").FromString(response.metadata["signature_def"].value)
        return ModelMetadata(
            name=response.model_spec.name,
            version=response.model_spec.version.value,
            signatures={name: _signature(value) for name, value in signatures.signature_def.items()},
        )

    def reload_config(self, serialized_config: bytes, *, timeout: float) -> None:
        """Gives the server a new `ModelServerConfig`; returns when it has been taken."""
        request = message_class("ReloadConfigRequest")(config=serialized_config)
        response = self._call(_MODEL, "HandleReloadConfigRequest", request, "ReloadConfigResponse", timeout)
        code = _CODE_NAMES.get(response.status.error_code, "UNKNOWN")
        if code != OK:
            raise _ERRORS.get(code, ServerError)(f"{self._target}: {code}: {response.status.error_message}")

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def _call(self, service: str, rpc: str, request: Any, response: str, timeout: float) -> Any:
        method = self._channel.unary_unary(
            f"/{service}/{rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_class(response).FromString,
        )
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            code = error.code().name
            raise _ERRORS.get(code, ServerError)(f"{self._target}: {code}: {error.details()}") from error


def _model_spec(model: ModelSpec, signature_name: str = "") -> Any:
    spec = message_class("ModelSpec")(name=model.name, signature_name=signature_name)
    if model.version is not None:
        spec.version.value = model.version
    if model.version_label is not None:
        spec.version_label = model.version_label
    return spec


def _signature(message: Any) -> SignatureInfo:
    return SignatureInfo(_tensors(message.inputs), _tensors(message.outputs), message.method_name)


def _tensors(infos: Any) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(
            dtype=DTYPE_NUMBERS.get(info.dtype, str(info.dtype)),
            shape=tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in infos.items()
    }
