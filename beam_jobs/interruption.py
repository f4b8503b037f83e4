"""Leaving at once when the user, or the system, asks a command to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_CLEAN_UP_SECONDS = 30.0  # what is left then, the next job deletes


@contextlib.contextmanager
def exit_when_interrupted(clean_up: Callable[[int], str]) -> Iterator[None]:
    """While the block runs, Ctrl-C or SIGTERM cleans up, says so in one line and ends the process.

    `clean_up` gets the signal's number, and returns what to say instead of "nothing was written".

    For commands, on the main thread. Waiting for Beam to unwind would mean waiting for the batches under way, and for
    worker threads that do not hear of the signal. The exit status is 128 plus the signal's number, as in a shell.
    """
    # Both `sys.stderr` and its file descriptor may be redirected when the signal comes.
    stderr = os.dup(2)

    def leave(number: int, _frame: FrameType | None) -> None:
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        # In a thread of its own: this one may hold a lock of a client that the cleaning needs.
        told: list[str] = []
        cleaning = threading.Thread(target=lambda: told.append(clean_up(number)), daemon=True)
        cleaning.start()
        cleaning.join(_CLEAN_UP_SECONDS)
        what = (told and told[0]) or "nothing was written"
        os.write(stderr, f"\nerror: interrupted by {signal.Signals(number).name}; {what}\n".encode())
        os._exit(128 + number)

    earlier = {each: signal.signal(each, leave) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in earlier.items():
            signal.signal(each, handler)
        os.close(stderr)
