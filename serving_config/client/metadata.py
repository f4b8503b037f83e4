"""What a server tells about a model's signatures: names, types and shapes of their inputs and outputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from serving_config.errors import InputError, ResponseError


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
