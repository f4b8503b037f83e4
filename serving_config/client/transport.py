"""What the client needs of a way to a server; `rest_transport.py` and `grpc_transport.py` are the two there are.

They tell what a server knows: the inputs and outputs of a model's signatures, and the states of its versions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy.typing as npt

from serving_config.errors import InputError, ResponseError

if TYPE_CHECKING:
    from maf_serving.model_inputs import Array
    from maf_serving.model_spec import ModelSpec

Arrays = dict[str, npt.NDArray[Any]]
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
AVAILABLE = "AVAILABLE"
OK = "OK"


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


@dataclasses.dataclass(frozen=True, slots=True)
class TensorInfo:
    """Type and shape of an input or output; `None` is a size left open, such as the number of rows B."""

    dtype: str
    shape: tuple[int | None, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class SignatureInfo:
    """Inputs and outputs of a signature, by name."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    method_name: str = ""

    def only_output(self) -> str:
        """The name of the one output. Raises `ResponseError` if there are more: REST leaves no name out then."""
        if len(self.outputs) != 1:
            raise ResponseError(f"the server named no output; expected {', '.join(sorted(self.outputs))}")
        return next(iter(self.outputs))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """The version that answers, and its signatures by name."""

    name: str
    version: int
    signatures: Mapping[str, SignatureInfo]

    def signature(self, signature_name: str) -> SignatureInfo:
        """The signature of that name; raises `InputError` naming those there are."""
        if signature_name not in self.signatures:
            raise InputError(
                f"version {self.version} of model {self.name} has no signature {signature_name!r}; "
                f"it has {', '.join(sorted(self.signatures))}"
            )
        return self.signatures[signature_name]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VersionStatus:
    """State of one version.

    Attributes:
      version: its number.
      state: one of `STATES`; requests are answered in `AVAILABLE` alone. `END` with an error is a load that failed.
      error_code: name of the error, `OK` for none.
      error_message: the server's words, or empty.
    """

    version: int
    state: str
    error_code: str = OK
    error_message: str = ""
