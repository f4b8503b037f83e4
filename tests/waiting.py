"""Waiting for what another thread or process does: by what has happened, and never by how quick a machine is."""

from __future__ import annotations

import time

PATIENCE = 60.0  # seconds: what takes one second alone takes many beside other tests, and a test has 120
SOON = 20.0  # seconds: for what ends at once, against what would go on for minutes


def until(happened, *, of=None):
    """What `happened()` answers once that is true; fails if it never is, which ends process `of`, or if that ends."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := happened()):
        if of is not None and of.poll() is not None:
            raise AssertionError(f"the process ended before, with status {of.returncode}: {_last_words(of)}")
        if time.monotonic() > deadline:
            if of is not None:
                of.kill()  # it would slow what comes after
            raise AssertionError("it did not happen")
        time.sleep(0.01)
    return answer


def _last_words(process):
    return [stream.read() for stream in (process.stdout, process.stderr) if stream is not None]
