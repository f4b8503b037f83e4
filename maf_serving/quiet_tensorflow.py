"""TensorFlow without its start-up chatter, and without Keras until somebody uses it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

LEVEL_VARIABLE = "TF_CPP_MIN_LOG_LEVEL"
_ERRORS_ALONE = "2"
NOTHING = "3"
_OF_KERAS = "keras.src.optimizers"  # the one module of Keras that TensorFlow itself imports, which imports all others


def import_quietly() -> None:
    """Imports TensorFlow and starts it without what it says meanwhile, unless that fails."""
    if "tensorflow" in sys.modules:
        return
    with quietly(), keras_later():
        tensorflow = importlib.import_module("tensorflow")
        # The first look at the devices says what of them is missing; it sets nothing that could be set later.
        tensorflow.config.list_physical_devices()


def import_with_probability() -> None:
    """As `import_quietly`, and TensorFlow Probability too, which would import Keras 3 only to ask for its version.

    It asks `tf.keras` and takes `tf_keras` if that is 3. So while it is imported, what it asks knows the version that
    is installed and nothing else: that saves a training or an export three of eight seconds.
    """
    import_quietly()
    if not {"tensorflow_probability", "keras"}.isdisjoint(sys.modules):
        return
    tensorflow: Any = importlib.import_module("tensorflow.compat.v2")
    keras, version = tensorflow.keras, _version_of_keras()
    if version.startswith("3.") and os.environ.get("TF_USE_LEGACY_KERAS") not in {"1", "true", "True"}:
        tensorflow.keras = SimpleNamespace(version=lambda: version)
    try:
        importlib.import_module("tensorflow_probability")
    finally:
        tensorflow.keras = keras


def _version_of_keras() -> str:
    try:
        return importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError:
        return ""


@contextlib.contextmanager
def keras_later() -> Iterator[None]:
    """While the block runs, an import of TensorFlow does not import Keras too; `tf.keras` does when it is first used.

    That would be two of five seconds: Keras imports matplotlib and scikit-learn where they are installed. TensorFlow
    takes an import that fails as Keras not being there, and a `None` in `sys.modules` makes one fail at once.
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # `None` is for this
    postponed = _OF_KERAS not in modules
    if postponed:
        modules[_OF_KERAS] = None
    try:
        yield
    finally:
        if postponed:
            del modules[_OF_KERAS]


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
