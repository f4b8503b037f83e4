"""What Beam and TensorFlow say on stderr, kept off the terminal of a command that reports errors itself."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

from beam_jobs.errors import UsageError
from maf_serving.quiet_tensorflow import LEVEL_VARIABLE, NOTHING


def configure_logs(level: str | None) -> None:
    """Logs from `level` on, as Beam's `--default_sdk_harness_log_level` names it; with `None`, nothing.

    Errors come back as exceptions: in the log they would be repeated, with their tracebacks. Then threads other than
    the main one cannot write to `sys.stderr` either, to the end of the process. Raises `UsageError`.
    """
    handler = logging.StreamHandler()
    try:
        handler.setLevel(logging.CRITICAL if level is None else int(level) if level.isdigit() else level)
    except ValueError as error:
        raise UsageError(f"the log level is {level!r}; expected DEBUG, INFO, WARNING, ERROR or a number") from error
    # The handler's level counts too: Beam passes on what Prism logs, whatever the level of the logger.
    logging.basicConfig(level=handler.level, handlers=[handler])
    if level is None:
        os.environ.setdefault(LEVEL_VARIABLE, NOTHING)
        sys.stderr = MainThreadStream(sys.stderr)


class MainThreadStream(io.TextIOBase):
    """A stream on which only the main thread is heard.

    Beam's worker threads print the tracebacks of what has failed, some of them when the job is over and its error has
    been reported.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes what the main thread says."""
        return self._stream.write(text) if threading.current_thread() is threading.main_thread() else len(text)

    def flush(self) -> None:
        """Writes what is buffered."""
        self._stream.flush()

    def fileno(self) -> int:
        """Of the stream."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute
        """Of the stream."""
        return self._stream.encoding


@contextlib.contextmanager
def quiet_beam_workers() -> Iterator[None]:
    """While the block runs, drops the tracebacks that Beam's worker threads print, unless errors are to be logged.

    They write to `sys.stderr` past the log, and raise the same error in the launcher.
    """
    if logging.getLogger("apache_beam").isEnabledFor(logging.ERROR):
        yield
        return
    with contextlib.redirect_stderr(io.StringIO()):
        yield
