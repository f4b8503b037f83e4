"""Weights of a checkpoint into a model, all of them or an error.

A checkpoint that fits badly is the classic way to serve a model that was never trained: TensorFlow and Keras leave what
they cannot restore as it was, and say nothing.

A checkpoint of `tf.train.Checkpoint` holds the graph of the objects that were saved: nodes, the names under which each
holds others, and for a variable the key of its value. Restoring goes along equal names. TensorFlow does it when objects
come into being and says nothing of those that never do; here both sides are there, and are compared.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

from export.builder import Built, build
from export.check_model import check_masks, check_model, check_weights
from export.errors import CheckpointError, ModelError, OptionError
from maf.routing import make_bijector_kwargs
from maf_serving.errors import one_line

MAX_NAMED = 4
SUFFIX = ".weights.h5"
_GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"


def load_checkpoint(builder: str, path: Path, event_columns: Sequence[str], conditional_columns: Sequence[str]) -> Any:
    """The distribution of a builder, with the weights of the checkpoint at `path`; see `CheckpointSource.load`."""
    check_checkpoint(path)
    built = build(builder)
    check_model(built.distribution, event_columns, conditional_columns)  # layers have no variables before their call
    used = used_variables(built.distribution, len(event_columns), len(conditional_columns))
    restore_weights(built, path, used)
    check_weights(used)
    check_masks(used)
    return built.distribution


def used_variables(distribution: Any, event_size: int, condition_size: int) -> list[tf.Variable]:
    """Every variable that the log-density reads, once, wherever the model keeps it: in a closure too."""

    def log_prob(x: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
        condition = {"conditional_input": c} if condition_size else {}
        kwargs = make_bijector_kwargs(distribution.bijector, condition)
        return distribution.log_prob(x, bijector_kwargs=kwargs)

    specs = [tf.TensorSpec([2, size], distribution.dtype) for size in (event_size, condition_size)]
    graph = tf.function(log_prob, autograph=False).get_concrete_function(*specs).graph
    return list({id(variable): variable for variable in graph.variables}.values())


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


def restore_weights(built: Built, path: Path, used: Sequence[tf.Variable]) -> None:
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


def is_keras_weights(path: Path) -> bool:
    """By its name, as Keras tells."""
    return path.name.endswith(".h5")


def restore_keras_weights(model: Any, path: Path, used: Sequence[tf.Variable]) -> None:
    """Loads `path` into `model` and sees that every variable of `used` got a value.

    Raises:
      ModelError: if `model` is no Keras model.
      CheckpointError: naming variables that got no value, or values that no variable took.
    """
    if not hasattr(model, "load_weights"):
        kind = type(model).__name__.lstrip("_")
        raise ModelError(
            f"checkpoint {path} is of a Keras model; the builder returned a {kind} alone: let it "
            "return a tuple of the distribution and of the model whose weights were saved"
        )
    for variable in used:
        variable.assign(tf.fill(variable.shape, _never_learnt(variable.dtype)))
    try:
        model.load_weights(str(path))
    except (ValueError, KeyError, OSError, TypeError) as error:
        message = one_line(error)
        raise CheckpointError(f"checkpoint {path} does not fit the builder's model: {message}") from error
    lost = [variable.name for variable in used if _is_untouched(variable)]
    if lost:
        raise CheckpointError(
            f"checkpoint {path} has no value for {len(lost)} of {len(used)} variables of the model: {_few(lost)}; "
            "Keras saves layers that are attributes of the model, not those inside a distribution: save with "
            "tf.train.Checkpoint(model=distribution), or give the model its networks as attributes"
        )
    if path.name.endswith(SUFFIX):
        _check_all_read(model, path)


def _check_all_read(model: Any, path: Path) -> None:
    """Keras ignores what it has no layer for. What it would write now is what it has layers for."""
    with tempfile.TemporaryDirectory() as directory:
        again = Path(directory) / f"again{SUFFIX}"
        model.save_weights(str(again))
        known = _values(again)
    parts = {name.split("/", maxsplit=1)[0] for name in known}  # not the optimiser and the metrics of training
    left = sorted(name for name in _values(path) - known if name.split("/", maxsplit=1)[0] in parts)
    if left:
        raise CheckpointError(
            f"checkpoint {path} has {len(left)} values that the builder's model has no variable for: {_few(left)}; "
            "build the model with all the layers it was trained with"
        )


def _values(path: Path) -> set[str]:
    import h5py  # noqa: PLC0415  # nothing else needs it

    names: set[str] = set()
    with h5py.File(path) as file:
        file.visititems(lambda name, each: names.add(name) if isinstance(each, h5py.Dataset) else None)
    return names


def _never_learnt(dtype: tf.DType) -> tf.Tensor:
    """A value that no trained variable holds everywhere."""
    return tf.constant(float("nan") if dtype.is_floating else dtype.min, dtype)


def _is_untouched(variable: tf.Variable) -> bool:
    mark = _never_learnt(variable.dtype)
    same = tf.math.is_nan(variable) if variable.dtype.is_floating else tf.equal(variable, mark)
    return bool(tf.reduce_all(same)) and variable.shape.num_elements() > 0


def _few(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A live object laid over a node of the checkpoint.

    Attributes:
      node: its number.
      path: from the root of the checkpoint to it; empty for the root.
      values: by identity of a variable, the variable and the key of its value.
      nodes: of the objects that were laid over; variables among them.
      missing: variables of the live object that the checkpoint does not have.
    """

    node: int
    path: str
    values: dict[int, tuple[tf.Variable, str]]
    nodes: frozenset[int]
    missing: tuple[tf.Variable, ...]


class ObjectGraph:
    """The nodes of a checkpoint, as they were written."""

    def __init__(self, reader: Any, prefix: str) -> None:
        if not reader.has_tensor(_GRAPH_KEY):
            raise CheckpointError(
                f"checkpoint {prefix} holds variables by name alone; expected one of tf.train.Checkpoint or of Keras"
            )
        self._graph = TrackableObjectGraph.FromString(reader.get_tensor(_GRAPH_KEY))

    def matches(self, saved: Any) -> list[Match]:
        """`saved` laid over every node that has something of it, those first that have most of its variables."""
        variables = tuple(variables_below(saved))
        found = [self._lay(saved, variables, node, path) for node, path in self._paths(0).items()]
        return sorted((each for each in found if each.values), key=lambda each: -len(each.values))

    def keys_below(self, node: int, *, but: frozenset[int]) -> list[str]:
        """Keys of the values of a node and of all below it, those of the nodes in `but` left out."""
        return sorted(key for each in self._paths(node) if each not in but for key in self._keys(each))

    def children(self, node: int) -> dict[str, int]:
        """Nodes by name."""
        return {child.local_name: child.node_id for child in self._graph.nodes[node].children}

    def _paths(self, start: int) -> dict[int, str]:
        """Every node below and the shortest path to it, nearest first."""
        paths, waiting = {start: ""}, deque([start])
        while waiting:
            node = waiting.popleft()
            for name, child in self.children(node).items():
                if child not in paths:
                    paths[child] = f"{paths[node]}/{name}".lstrip("/")
                    waiting.append(child)
        return paths

    def _keys(self, node: int) -> list[str]:
        return [each.checkpoint_key for each in self._graph.nodes[node].attributes if each.name == _VALUE]

    def _lay(self, saved: Any, variables: tuple[tf.Variable, ...], node: int, path: str) -> Match:
        values: dict[int, tuple[tf.Variable, str]] = {}
        nodes, seen, waiting = {node}, {id(saved)}, deque([(saved, node)])
        while waiting:
            live, number = waiting.popleft()
            for key in self._keys(number):
                if isinstance(live, tf.Variable):
                    values[id(live)] = (live, key)
            children = self.children(number)
            for name, child in live._trackable_children().items():
                if name in children and id(child) not in seen:
                    seen.add(id(child))
                    nodes.add(children[name])
                    waiting.append((child, children[name]))
        missing = tuple(each for each in variables if id(each) not in values)
        return Match(node=node, path=path, values=values, nodes=frozenset(nodes), missing=missing)


def variables_below(saved: Any) -> Iterator[tf.Variable]:
    """The variables that a checkpoint of `saved` would hold, each once."""
    seen, waiting = {id(saved)}, deque([saved])
    while waiting:
        live = waiting.popleft()
        if isinstance(live, tf.Variable):
            yield live
        for child in live._trackable_children().values():
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append(child)
