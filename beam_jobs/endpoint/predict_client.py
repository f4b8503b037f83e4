"""`Predict` of TensorFlow Serving over gRPC."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc

from beam_jobs.endpoint.messages import message_class
from beam_jobs.endpoint.tensor_proto import from_tensor_proto, to_tensor_proto
from beam_jobs.errors import EndpointBusyError, EndpointError
from beam_jobs.remote_files import read_file, reported_as

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from beam_jobs.options.endpoint_options import EndpointOptions

_METHOD = "/tensorflow.serving.PredictionService/Predict"
# gRPC receives 4 MB by default; the server's own limit is 2 GiB, and -1 leaves the matter to it.
_CHANNEL_OPTIONS = (("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1))
_BUSY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"})


class PredictClient:
    """A channel to a model server; threads may share it."""

    def __init__(self, endpoint: EndpointOptions) -> None:
        """Opens it. Raises `UsageError` if a file of TLS cannot be read."""
        self._endpoint = endpoint
        self._channel = _open_channel(endpoint)
        self._predict = self._channel.unary_unary(
            _METHOD,
            request_serializer=message_class("PredictRequest").SerializeToString,
            response_deserializer=message_class("PredictResponse").FromString,
        )

    def predict(
        self, signature_name: str, inputs: Mapping[str, npt.NDArray[np.generic]]
    ) -> dict[str, npt.NDArray[Any]]:
        """The outputs of a signature by name, for at least one row; one request.

        Raises:
          EndpointBusyError: the server cannot be reached or has too much to do.
          EndpointError: it refuses the request.
        """
        request = message_class("PredictRequest")()
        spec = request.model_spec
        spec.name, spec.signature_name = self._endpoint.model_name, signature_name
        if self._endpoint.version is not None:
            spec.version.value = self._endpoint.version
        if self._endpoint.version_label is not None:
            spec.version_label = self._endpoint.version_label
        for name, array in inputs.items():
            request.inputs.add(key=name, value=to_tensor_proto(array))
        try:
            response = self._predict(request, timeout=self._endpoint.timeout)
        except grpc.RpcError as error:
            code = error.code().name
            kind = EndpointBusyError if code in _BUSY else EndpointError
            details = " ".join(str(error.details()).split())
            raise kind(f"--endpoint {self._endpoint.target}: {code}: {details}") from error
        return {entry.key: from_tensor_proto(entry.value) for entry in response.outputs}

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()


def _open_channel(endpoint: EndpointOptions) -> grpc.Channel:
    if endpoint.tls is None:
        return grpc.insecure_channel(endpoint.target, options=_CHANNEL_OPTIONS)
    contents = {}
    for flag, path in endpoint.tls.files().items():
        with reported_as(f"{flag} {path} cannot be read"):
            contents[flag] = read_file(path)
    credentials = grpc.ssl_channel_credentials(
        contents.get("--endpoint_root_certificates"),
        contents.get("--endpoint_client_key"),
        contents.get("--endpoint_client_certificate"),
    )
    return grpc.secure_channel(endpoint.target, credentials, options=_CHANNEL_OPTIONS)
