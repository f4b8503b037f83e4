"""What the client needs of a way to a server; `rest_transport.py` and `grpc_transport.py` are the two there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from maf_serving.model_spec import ModelSpec
    from serving_config.client.metadata import ModelMetadata, SignatureInfo
    from serving_config.client.model_status import VersionStatus

Arrays = dict[str, npt.NDArray[Any]]
Array = np.ndarray[Any, np.dtype[Any]]


class Transport(Protocol):
    """Sends one request and raises `ServingError`; thread-safe. `timeout` is in seconds."""

    def predict(
        self,
        model: ModelSpec,
        signature_name: str,
        signature: SignatureInfo,
        inputs: Mapping[str, Array],
        *,
        timeout: float,
    ) -> Arrays:
        """The outputs of a signature, by name."""
        ...

    def model_status(self, model: ModelSpec, *, timeout: float) -> list[VersionStatus]:
        """The states of the model's versions."""
        ...

    def metadata(self, model: ModelSpec, *, timeout: float) -> ModelMetadata:
        """The signatures of the version that answers."""
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...
