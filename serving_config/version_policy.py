"""Which versions of a model a server loads."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Literal

from serving_config.errors import UsageError

Kind = Literal["latest", "all", "specific"]


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
