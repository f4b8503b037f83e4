"""How often, how many at a time, and under which labels versions are loaded."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadPolicy:
    """How versions are loaded.

    Attributes:
      retries: how often a version that fails is tried again.
      retry_seconds: how long to wait before.
      at_once: how many versions load at the same time.
      early_labels: whether a new label may name a version that is not there yet.
    """

    retries: int = 5
    retry_seconds: float = 60.0
    at_once: int = 1
    early_labels: bool = False
