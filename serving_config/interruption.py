"""Leaving at once when the user, or the system, asks a command to stop."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def leave_when_interrupted(clean_up: Callable[[], None]) -> Iterator[None]:
    """While the block runs, Ctrl-C or SIGTERM cleans up, says so in one line and ends the process.

    For commands, on the main thread. Unwinding would wait for the requests under way, which may be slow or stuck. The
    exit status is 128 plus the signal's number, as in a shell.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        clean_up()
        os.write(2, f"\nerror: interrupted by {signal.Signals(number).name}; nothing was written\n".encode())
        os._exit(128 + number)

    earlier = {each: signal.signal(each, leave) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in earlier.items():
            signal.signal(each, handler)
