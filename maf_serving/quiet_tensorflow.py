"""TensorFlow without its start-up chatter."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

LEVEL_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
_ERRORS_ALONE = "2"
NOTHING = "3"


def import_quietly() -> None:
    """Imports TensorFlow and starts it without what it says meanwhile, unless that fails."""
    if "tensorflow" in sys.modules:
        return
    with quietly():
        tensorflow = importlib.import_module("tensorflow")
        # The first look at the devices says what of them is missing; it sets nothing that could be set later.
        tensorflow.config.list_physical_devices()


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """While the block runs, holds back what goes to the file descriptor of standard error; shows it if the block fails.

    `TF_CPP_MIN_LOG_LEVEL` alone cannot silence TensorFlow: its first lines come before the C++ logging is set up and go
    to the file descriptor itself (tensorflow/tensorflow #100442). A level that the user has set is kept; below that of
    errors, 2, everything is shown.
    """
    if os.environ.setdefault(LEVEL_VARIABLE, NOTHING) < _ERRORS_ALONE:
        yield
        return
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    if sys.stderr is not None:
        sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
