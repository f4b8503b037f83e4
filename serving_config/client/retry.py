"""Trying again, later and later."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Callable
from typing import TypeVar

from serving_config.errors import RetriableError, UsageError

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with full jitter: each wait is uniform between 0 and a ceiling that doubles.

    Every request of this client may be sent twice: nothing on the server changes, and a draw is fresh either way.

    Attributes:
      attempts: how often a request is sent at most; 1 for no retry.
      first_delay: ceiling of the first wait, seconds.
      max_delay: ceiling of every wait, seconds.
    """

    attempts: int = 5
    first_delay: float = 0.1
    max_delay: float = 5.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise UsageError(f"retry attempts is {self.attempts}; expected at least 1")
        if not 0 <= self.first_delay <= self.max_delay:
            raise UsageError(
                f"retry delays are {self.first_delay} and at most {self.max_delay} seconds; expected 0 <= first <= most"
            )

    def call(
        self,
        request: Callable[[], Result],
        *,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> Result:
        """The result of `request`, sent again while it raises `RetriableError`; the last such error otherwise."""
        for attempt in range(self.attempts - 1):
            try:
                return request()
            except RetriableError:
                sleep(uniform(0.0, min(self.max_delay, self.first_delay * 2**attempt)))
        return request()
