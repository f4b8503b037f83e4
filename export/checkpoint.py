"""Weights of a checkpoint into a model, all of them or an error.

A checkpoint that fits badly is the classic way to serve a model that was never trained: TensorFlow and Keras leave what
they cannot restore as it was, and say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from export.errors import CheckpointError, OptionError
from export.keras_weights import is_keras_weights, restore_keras_weights
from export.object_graph import Match, ObjectGraph, variables_below

if TYPE_CHECKING:
    from export.builder import Built

MAX_NAMED = 4


def check_checkpoint(path: Path) -> None:
    """Raises `OptionError` unless there is a checkpoint at `path`."""
    if is_keras_weights(path):
        if not path.is_file():
            raise OptionError(f"checkpoint {path} is not there; expected a file of Keras weights")
    elif path.name.endswith(".keras"):
        raise OptionError(f"checkpoint {path} is a whole Keras model; expected its weights: save_weights(...)")
    elif not path.is_dir() and not path.with_name(path.name + ".index").is_file():
        raise OptionError(
            f"checkpoint {path} is not there; expected the directory or the prefix of a tf.train.Checkpoint "
            "(the name of its .index file without .index), or a .weights.h5 file of Keras"
        )


def restore(built: Built, path: Path, used: Sequence[tf.Variable]) -> None:
    """Assigns the values of the checkpoint at `path` to the variables of a model.

    Args:
      built: the model; its layers have been called, so that their variables are there.
      path: of the checkpoint.
      used: every variable that the model's density reads; each must get a value.

    Raises:
      CheckpointError: naming variables, if one of them gets none, or the checkpoint has values for the model that the
        model has no variable for, or of another shape.
    """
    if is_keras_weights(path):
        restore_keras_weights(built.saved, path, used)
        return
    prefix = _prefix(path)
    reader = tf.train.load_checkpoint(prefix)
    graph = ObjectGraph(reader, prefix)
    match = _match(graph, built, prefix)
    _check_all_restored(match, used, prefix)
    _check_all_taken(graph, match, built, used, prefix)
    for variable, key in match.values.values():
        value = reader.get_tensor(key)
        if value.shape != tuple(variable.shape):
            raise CheckpointError(
                f"variable {variable.name!r} has shape {list(variable.shape)}; checkpoint {prefix} has "
                f"{list(value.shape)} for it, {_readable(key)}: build the model with the sizes it was trained with"
            )
        variable.assign(value)


def _prefix(path: Path) -> str:
    if not path.is_dir():
        return str(path)
    latest = tf.train.latest_checkpoint(str(path))
    if latest is None:
        raise CheckpointError(f"checkpoint directory {path} names no latest checkpoint; give the prefix of one")
    return str(latest)


def _match(graph: ObjectGraph, built: Built, prefix: str) -> Match:
    matches = graph.matches(built.saved)
    kind = type(built.saved).__name__.lstrip("_")
    if not matches:
        raise CheckpointError(
            f"checkpoint {prefix} holds nothing of the builder's {kind}; expected a checkpoint of it: if another "
            "object was saved, let the builder return a tuple of the distribution and of that object, unrestored"
        )
    whole = [match for match in matches if not match.missing]
    if len(whole) > 1:
        places = ", ".join(match.path or "its root" for match in whole)
        raise CheckpointError(
            f"checkpoint {prefix} holds {len(whole)} objects that the builder's {kind} could be: {places}; let the "
            "builder return a tuple of the distribution and tf.train.Checkpoint(...) with the names it was saved under"
        )
    return whole[0] if whole else matches[0]


def _check_all_restored(match: Match, used: Sequence[tf.Variable], prefix: str) -> None:
    lost = [variable.name for variable in used if id(variable) not in match.values]
    if lost:
        raise CheckpointError(
            f"checkpoint {prefix} has no value for {len(lost)} of {len(used)} variables of the model: {_some(lost)}; "
            "expected the model that was saved, with its networks as attributes of what was saved"
        )


def _check_all_taken(graph: ObjectGraph, match: Match, built: Built, used: Sequence[tf.Variable], prefix: str) -> None:
    """What the checkpoint has beside the used variables may be an optimiser's; within the model it is a lost layer."""
    wanted = {id(variable) for variable in used}
    below = built.saved._trackable_children()
    parts = [
        node
        for name, node in graph.children(match.node).items()
        if built.saved is built.distribution
        or (name in below and any(id(each) in wanted for each in variables_below(below[name])))
    ]
    left = sorted({key for node in parts for key in graph.keys_below(node, but=match.nodes)})
    if left:
        raise CheckpointError(
            f"checkpoint {prefix} has {len(left)} values that the builder's model has no variable for: "
            f"{_some([_readable(key) for key in left])}; build the model with all the layers it was trained with"
        )


def _readable(key: str) -> str:
    return key.split("/.ATTRIBUTES/", maxsplit=1)[0]


def _some(names: list[Any]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(str(name) for name in names[:MAX_NAMED]) + more
