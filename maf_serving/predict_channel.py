"""TensorFlow Serving over gRPC: one channel to a server, for all who ask it.

Without TensorFlow, and gRPC is imported when a channel is opened. What the server refuses is raised as a `ServingError`
of `maf_serving.errors`, by its status code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from maf_serving.errors import (
    DeadlineExceededError,
    InvalidArgumentError,
    ModelNotFoundError,
    PermissionDeniedError,
    ResourceExhaustedError,
    ServerError,
    ServingError,
    UnavailableError,
)
from maf_serving.messages import message_class
from maf_serving.tensor_proto import from_tensor_proto, to_tensor_proto

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from maf_serving.model_spec import ModelSpec
    from maf_serving.tls import TlsContents

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
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


class PredictChannel:
    """A channel to `host:port`, or to any other target that gRPC understands, such as `dns:///service:8500`.

        channel = PredictChannel("localhost:8500")
        channel.predict(ModelSpec(name="sales"), "log_prob", {"x": x, "conditional_input": c}, timeout=60)["log_prob"]

    Nothing is sent before the first call. Threads may share it.
    """

    def __init__(self, target: str, *, tls: TlsContents | None = None) -> None:
        import grpc  # noqa: PLC0415  # takes 0.1 s

        self._target = target
        if tls is None:
            self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        else:
            credentials = grpc.ssl_channel_credentials(
                tls.root_certificates, private_key=tls.client_key, certificate_chain=tls.client_certificate
            )
            self._channel = grpc.secure_channel(target, credentials, options=_OPTIONS)

    def predict(
        self, model: ModelSpec, signature_name: str, inputs: Mapping[str, npt.NDArray[Any]], *, timeout: float
    ) -> dict[str, npt.NDArray[Any]]:
        """The outputs of a signature by name; one request, within `timeout` seconds.

        A batching server may never answer a request without rows, or end: send none.

        Raises:
          ServingError: the server refuses, cannot be reached, or answers something else.
        """
        request = message_class("PredictRequest")(model_spec=model.to_message(signature_name))
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(to_tensor_proto(array))
        response = self.call(PREDICTION_SERVICE, "Predict", request, "PredictResponse", timeout=timeout)
        return {name: from_tensor_proto(tensor) for name, tensor in response.outputs.items()}

    def call(self, service: str, rpc: str, request: Any, response: str, *, timeout: float) -> Any:
        """The message of the class `response` that an RPC answers. Raises `ServingError`."""
        import grpc  # noqa: PLC0415

        method = self._channel.unary_unary(
            f"/{service}/{rpc}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_class(response).FromString,
        )
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise self.error(error.code().name, str(error.details())) from error

    def error(self, code: str, details: str) -> ServingError:
        """What is raised for a status of the server's."""
        return _ERRORS.get(code, ServerError)(f"{self._target}: {code}: {' '.join(details.split())}")

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()
