"""What the manager knows of one model: its configuration, the versions found, and those that answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from serving_config.local_server.versions import State, Step, VersionStatus, next_step

if TYPE_CHECKING:
    from serving_config.local_server.model_config import ModelConfig
    from serving_config.local_server.servable import Servable


@dataclasses.dataclass(slots=True)
class Serving:
    """A version that answers, and how many requests are using it."""

    servable: Servable
    requests: int = 0


@dataclasses.dataclass(slots=True)
class ServedModel:
    """One model, guarded by the manager's lock.

    Attributes:
      config: `None` once the model has left the configuration; its versions are then on their way out.
      found: the version directories last seen.
      wanted: the versions that should be served.
      statuses: every version since the server started, as `GetModelStatus` shows them.
      serving: the versions that take requests.
      failed: versions that did not load, at least once; they may be tried again.
      released: ended versions that were unwanted meanwhile; they are loaded again when they are wanted again.
      labels: what clients may call a version.
      complaint: what was last said about its base directory, so that it is said once.
    """

    config: ModelConfig | None
    found: dict[int, Path] = dataclasses.field(default_factory=dict)
    wanted: frozenset[int] = frozenset()
    statuses: dict[int, VersionStatus] = dataclasses.field(default_factory=dict)
    serving: dict[int, Serving] = dataclasses.field(default_factory=dict)
    failed: set[int] = dataclasses.field(default_factory=set)
    released: set[int] = dataclasses.field(default_factory=set)
    labels: dict[str, int] = dataclasses.field(default_factory=dict)
    complaint: str = ""

    def see(self, found: dict[int, Path]) -> None:
        """Takes note of the version directories that are there now."""
        self.found = found
        self.wanted = self.config.policy.wanted(found) if self.config is not None else frozenset()
        ended = {version for version, status in self.statuses.items() if status.state is State.END}
        self.released |= ended - self.wanted

    def next_step(self) -> Step | None:
        """What to do next for this model."""
        known = {v: status.state for v, status in self.statuses.items() if v not in self.released}
        return next_step(self.wanted, known)

    def settled(self) -> bool:
        """Whether there are wanted versions, and each of them answers or has failed."""
        return bool(self.wanted) and all(version in self.serving or version in self.failed for version in self.wanted)

    def failures(self) -> str:
        """Why no version answers."""
        told = [f"version {version}: {status.message}" for version, status in sorted(self.statuses.items())]
        base_path = self.config.base_path if self.config is not None else ""
        return "; ".join(told) or f"no version of it under base path {base_path}"
