"""Which versions of a model to serve, and the order in which they come and go: pure functions and values.

The order is TF Serving's availability-preserving policy: a version that is no longer wanted goes only once a wanted one
answers, or if none is wanted at all; among the versions to load, the highest is first.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Collection, Mapping
from typing import Literal

from maf_serving.codes import Code


class State(enum.IntEnum):
    """Numbers as in `tensorflow.serving.ModelVersionStatus.State`."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(frozen=True, slots=True)
class VersionStatus:
    """Where a version is in its life, and what went wrong if something did."""

    state: State
    code: Code = Code.OK
    message: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class VersionPolicy:
    """Which of the versions found are wanted.

    Attributes:
      kind: the newest `latest` ones, all, or those in `specific`.
      latest: how many, for the kind `latest`.
      specific: their numbers, for the kind `specific`.
    """

    kind: Literal["latest", "all", "specific"] = "latest"
    latest: int = 1
    specific: tuple[int, ...] = ()

    def wanted(self, found: Collection[int]) -> frozenset[int]:
        """The wanted versions among those found."""
        if self.kind == "all":
            return frozenset(found)
        if self.kind == "specific":
            return frozenset(self.specific) & frozenset(found)
        return frozenset(sorted(found, reverse=True)[: max(self.latest, 1)])


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """The next thing to do for a model."""

    kind: Literal["load", "unload"]
    version: int


def next_step(wanted: Collection[int], states: Mapping[int, State]) -> Step | None:
    """What to do next, or `None` if all is as it should be or under way.

    Args:
      wanted: the versions that should be served.
      states: where each known version is. A version at END is not loaded again while it stays wanted.
    """
    available = [version for version, state in states.items() if state is State.AVAILABLE]
    unwanted = [version for version in available if version not in wanted]
    if unwanted and (not wanted or any(version in wanted for version in available)):
        return Step("unload", min(unwanted))
    to_load = [version for version in wanted if version not in states]
    return Step("load", max(to_load)) if to_load else None
