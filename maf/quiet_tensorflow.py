"""TensorFlow without its start-up chatter."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile


def import_quietly() -> None:
    """Imports TensorFlow and drops what its libraries write to standard error meanwhile, unless the import fails.

    `TF_CPP_MIN_LOG_LEVEL` cannot silence those lines: they come before the C++ logging is set up and go to the file
    descriptor itself (tensorflow/tensorflow #100442). A level that the user has set is kept; at 0 the lines come too.
    """
    if os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "0" or "tensorflow" in sys.modules:
        return
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as chatter:
        os.dup2(chatter.fileno(), 2)
        try:
            importlib.import_module("tensorflow")
        except BaseException:
            chatter.seek(0)
            os.write(stderr, chatter.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
