"""The function that builds a model whose weights are in a checkpoint: `package.module:function`."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any

from export.errors import ModelError, OptionError

EXPECTED = "expected package.module:function"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a builder returned.

    Attributes:
      distribution: `tfd.TransformedDistribution` with the weights it was born with.
      saved: the object whose checkpoint it is: the distribution itself, or a Keras model, a `tf.train.Checkpoint` or
        any other object that TensorFlow saves.
    """

    distribution: Any
    saved: Any


def parse_builder(builder: str) -> tuple[str, str]:
    """Module and function of `package.module:function`. Raises `OptionError` if it is no such text."""
    module, colon, function = builder.partition(":")
    if not colon or not function.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise OptionError(f"builder is {builder!r}; {EXPECTED}, as in my_flows.prices:build")
    return module, function


def build(builder: str) -> Built:
    """Imports and calls a builder, which takes no arguments.

    Raises:
      OptionError: if there is no such function.
      ModelError: if it fails, or returns something else than a distribution, or a distribution and what was saved.
    """
    module_name, function_name = parse_builder(builder)
    if not {"", str(Path.cwd())} & set(sys.path):  # `python -m` has it, an installed program has not
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # the module is the user's: it may raise anything
        raise OptionError(f"builder {builder!r} cannot be imported: {_line(error)}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        what = "has no" if function is None else "has no function, but a " + type(function).__name__ + ","
        raise OptionError(f"builder {builder!r}: {module.__file__ or module_name} {what} {function_name!r}; {EXPECTED}")
    try:
        returned = function()
    except Exception as error:
        raise ModelError(f"builder {builder!r} failed: {_line(error)}; it is called without arguments") from error
    distribution, saved = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, returned)
    from maf.routing import is_kind  # noqa: PLC0415  # loads TensorFlow, as the builder did

    if not is_kind(distribution, "TransformedDistribution"):
        raise ModelError(
            f"builder {builder!r} returned {_kind(returned)}; expected a tfd.TransformedDistribution, or a tuple of "
            "that and of the object that was saved"
        )
    if not hasattr(saved, "_trackable_children"):
        raise ModelError(
            f"builder {builder!r} returned a distribution and a {type(saved).__name__}; expected, beside the "
            "distribution, an object that TensorFlow saves, such as tf.train.Checkpoint(...) or a Keras model"
        )
    return Built(distribution=distribution, saved=saved)


def _kind(returned: Any) -> str:
    if isinstance(returned, tuple):
        return f"a tuple of {', '.join(type(part).__name__ for part in returned) or 'nothing'}"
    return "nothing" if returned is None else f"a {type(returned).__name__}"


def _line(error: Exception) -> str:
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
