"""Which model of a server is meant: by name, and by version or label. Needs no NumPy, since commands name models."""

from __future__ import annotations

import dataclasses
from typing import Any

from maf_serving.errors import UsageError
from maf_serving.messages import message_class


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A model on a server, in TensorFlow Serving's words.

    Attributes:
      name: the model's name.
      version: a version number; `None` for the server's choice, which is the newest one it has.
      version_label: a label that the server's configuration gives to a version, such as `stable`.
    """

    name: str
    version: int | None = None
    version_label: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("the model's name is empty; expected the name that the server has it under")
        if self.version is not None and self.version_label is not None:
            raise UsageError(
                f"version {self.version} and version_label {self.version_label!r} are both given; expected at most one"
            )
        if self.version is not None and not 0 <= self.version < 2**63:
            raise UsageError(f"version is {self.version}; expected an integer of at least 0")
        if self.version_label == "":
            raise UsageError("version_label is empty; expected a label such as stable, or none")

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.name} version {self.version}"
        return self.name if self.version_label is None else f"{self.name} label {self.version_label}"

    def to_message(self, signature_name: str = "") -> Any:
        """The `ModelSpec` message of a request for that signature."""
        message = message_class("ModelSpec")(name=self.name, signature_name=signature_name)
        if self.version is not None:
            message.version.value = self.version
        if self.version_label is not None:
            message.version_label = self.version_label
        return message
