"""Inputs of `Regress` and `Classify`: lists of `tf.Example`, perhaps with a context that all of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from serving_config.local_server.errors import invalid_argument

if TYPE_CHECKING:
    from serving_config.local_server.servable import Array


def serialized_examples(given: Any) -> Array:
    """Serialized `tf.Example`s `[B]` of an `Input` message.

    Raises:
      RequestError: if there are none.
    """
    kind = given.WhichOneof("kind")
    context = b""
    examples: Any = ()
    if kind == "example_list":
        examples = given.example_list.examples
    elif kind == "example_list_with_context":
        examples = given.example_list_with_context.examples
        # Two serialized messages in a row are their union.
        context = given.example_list_with_context.context.SerializeToString()
    if not examples:
        raise invalid_argument("Input is empty.")
    array = np.empty(len(examples), object)
    array[:] = [context + example.SerializeToString() for example in examples]
    return array
