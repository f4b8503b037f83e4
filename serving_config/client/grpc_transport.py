"""Requests over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maf_serving.codes import code_name
from maf_serving.messages import message_class
from maf_serving.predict_channel import MODEL_SERVICE, PREDICTION_SERVICE, PredictChannel
from maf_serving.tensor_proto import DTYPE_NUMBERS
from serving_config.client.transport import (
    OK,
    STATES,
    Arrays,
    ModelMetadata,
    SignatureInfo,
    TensorInfo,
    VersionStatus,
)
from serving_config.errors import ResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from maf_serving.model_inputs import Array
    from maf_serving.model_spec import ModelSpec
    from maf_serving.tls import Tls


class GrpcTransport:
    """A channel to `host:port`, or to any other target that gRPC understands, such as `dns:///service:8500`."""

    def __init__(self, target: str, *, tls: Tls | None = None) -> None:
        self._target = target
        self._channel = PredictChannel(target, tls=None if tls is None else tls.read())

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
        outputs = self._channel.predict(model, signature_name, inputs, timeout=timeout)
        if set(outputs) != set(signature.outputs):
            raise ResponseError(
                f"{self._target} answered the outputs {', '.join(sorted(outputs)) or 'none'}; "
                f"expected {', '.join(sorted(signature.outputs))}"
            )
        return outputs

    def model_status(self, model: ModelSpec, *, timeout: float) -> list[VersionStatus]:
        """See `Transport`."""
        request = message_class("GetModelStatusRequest")(model_spec=model.to_message())
        response = self._channel.call(
            MODEL_SERVICE, "GetModelStatus", request, "GetModelStatusResponse", timeout=timeout
        )
        return [
            VersionStatus(
                version=each.version,
                state=STATES.get(each.state, "UNKNOWN"),
                error_code=code_name(each.status.error_code),
                error_message=each.status.error_message,
            )
            for each in response.model_version_status
        ]

    def metadata(self, model: ModelSpec, *, timeout: float) -> ModelMetadata:
        """See `Transport`."""
        request = message_class("GetModelMetadataRequest")(
            model_spec=model.to_message(), metadata_field=["signature_def"]
        )
        response = self._channel.call(
            PREDICTION_SERVICE, "GetModelMetadata", request, "GetModelMetadataResponse", timeout=timeout
        )
        signatures = message_class("SignatureDefMap").FromString(response.metadata["signature_def"].value)
        return ModelMetadata(
            name=response.model_spec.name,
            version=response.model_spec.version.value,
            signatures={name: _signature(value) for name, value in signatures.signature_def.items()},
        )

    def reload_config(self, serialized_config: bytes, *, timeout: float) -> None:
        """Gives the server a new `ModelServerConfig`; returns when it has been taken."""
        request = message_class("ReloadConfigRequest")(config=serialized_config)
        response = self._channel.call(
            MODEL_SERVICE, "HandleReloadConfigRequest", request, "ReloadConfigResponse", timeout=timeout
        )
        code = code_name(response.status.error_code)
        if code != OK:
            raise self._channel.error(code, response.status.error_message)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


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
