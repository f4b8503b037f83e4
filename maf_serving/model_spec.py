"""Which model of a server is meant, by name, and by version or label; and which versions of a model a server loads.

    >>> VersionPolicy.parse("latest=2").loaded([1, 2, 5])
    {2, 5}

Needs no NumPy, since commands name models.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, Literal

from maf_serving.errors import UsageError
from maf_serving.messages import message_class

Kind = Literal["latest", "all", "specific"]


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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VersionPolicy:
    """TensorFlow Serving's `ServableVersionPolicy`.

    Attributes:
      kind: `latest` loads the newest `num_versions`, `all` every version, `specific` those in `versions`.
      num_versions: for `latest`.
      versions: for `specific`.
    """

    kind: Kind = "latest"
    num_versions: int = 1
    versions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.num_versions < 1:
            raise UsageError(f"version policy latest has {self.num_versions} versions; expected at least 1")
        if (self.kind == "specific") != bool(self.versions):
            raise UsageError(f"version policy {self.kind} has the versions {list(self.versions)}; expected some for "
                             "specific, and none else")  # fmt: skip
        if len(set(self.versions)) < len(self.versions) or any(version < 0 for version in self.versions):
            raise UsageError(f"versions are {list(self.versions)}; expected integers of at least 0, each once")

    def loaded(self, on_disk: Collection[int]) -> set[int]:
        """The versions that a server loads of those there are."""
        if self.kind == "specific":
            return set(self.versions) & set(on_disk)
        return set(on_disk) if self.kind == "all" else set(sorted(on_disk)[-self.num_versions :])

    @classmethod
    def parse(cls, text: str) -> VersionPolicy:
        """Reads `latest`, `latest=2`, `all` or `specific=1,2`."""
        kind, _, value = text.partition("=")
        try:
            if kind == "latest":
                return cls(num_versions=int(value or 1))
            if kind == "specific":
                return cls(kind="specific", versions=tuple(int(part) for part in value.split(",")))
        except ValueError as error:
            raise UsageError(f"version policy is {text!r}; {value!r} is no list of integers") from error
        if text == "all":
            return cls(kind="all")
        raise UsageError(f"version policy is {text!r}; expected latest, latest=N, all or specific=N,N")
