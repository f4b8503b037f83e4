"""Calls whose answers wait to be taken: gRPC itself would hold them for as long as the client answers pings."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from typing import Any

_CHECKS = 10  # in the time that an answer may wait


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """What calls may cost beyond their answer.

    Attributes:
      ping_after: seconds without a word from a client with calls under way after which it is asked for a sign of life.
      ping: seconds in which it must give one; without, its calls and its connection end.
      answer: seconds in which a client must have taken all of an answer.
    """

    ping_after: float = 30.0
    ping: float = 30.0
    answer: float = 300.0


class UnreadCalls:
    """Ends calls whose answer has not been taken in `seconds`; a thread looks for them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._answered: dict[Any, float] = {}  # oldest first
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, name="unread-calls", daemon=True)

    def start(self) -> None:
        """Begins to look."""
        self._thread.start()

    def stop(self) -> None:
        """Looks no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def watch(self, context: Any) -> None:
        """The call of this `ServicerContext` is about to be answered."""
        with self._lock:
            self._answered[context] = time.monotonic()
        if not context.add_callback(lambda: self._forget(context)):  # it has ended by now
            self._forget(context)

    def _forget(self, context: Any) -> None:
        with self._lock:
            self._answered.pop(context, None)

    def _look(self) -> None:
        while not self._stopped.wait(self._seconds / _CHECKS):
            self._end_before(time.monotonic() - self._seconds)

    def _end_before(self, answered: float) -> None:
        with self._lock:
            unread = []
            for context, when in self._answered.items():
                if when > answered:
                    break
                unread.append(context)
            for context in unread:
                del self._answered[context]
        for context in unread:
            with contextlib.suppress(Exception):  # one that ends at this moment
                context.cancel()
