"""What a command has to say at its end, to whoever still listens."""

from __future__ import annotations

import os
import sys


def show(text: str) -> int:
    """Writes lines to standard output; returns the exit status, 1 if they could not be written.

    By then what was asked for has been done, so a reader that has gone (`| head`) is told nothing.
    """
    if sys.stdout is None:  # closed by whoever started the command
        return 0
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"error: standard output cannot be written: {error.strerror}\n")
        return 1
    return 0
