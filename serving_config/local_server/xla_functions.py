"""Functions that only XLA may run (`jit_compile=True`): TF Serving refuses them unless it is told to compile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from maf_serving.codes import Code
from serving_config.local_server.errors import RequestError

if TYPE_CHECKING:
    from serving_config.local_server.servable import Array, Runner

_MUST_COMPILE = "_XlaMustCompile"


class XlaRefusingRunner:
    """Refuses to compute what needs a compilation, as a server without `--xla_cpu_compilation_enabled` does."""

    def __init__(self, runner: Runner, tensors: frozenset[str]) -> None:
        """Puts itself in front of `runner`, for the tensors that need a compilation."""
        self._runner = runner
        self._tensors = tensors

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[str], timeout: float | None) -> list[Array]:
        """See `Runner.run`."""
        if not self._tensors.isdisjoint(fetches):
            raise RequestError(Code.INTERNAL, "XLA compilation disabled")
        return self._runner.run(feeds, fetches, timeout)


def compiled_tensors(graph: tf.Graph, names: Sequence[str]) -> frozenset[str]:
    """Those of the tensors `names` that cannot be computed without a compilation."""
    library = {function.signature.name: function for function in graph.as_graph_def().library.function}
    compiled = _compiled_functions(library)
    if not compiled:
        return frozenset()
    return frozenset(
        name
        for name in names
        if any(
            _must_compile(operation.node_def.attr) or not compiled.isdisjoint(_called(operation.node_def))
            for operation in _ancestors(graph.get_tensor_by_name(name).op)
        )
    )


def _compiled_functions(library: Mapping[str, Any]) -> set[str]:
    """Functions that must be compiled, and those that call one."""
    compiled = {name for name, function in library.items() if _must_compile(function.attr)}
    while more := {
        name
        for name, function in library.items()
        if name not in compiled and any(not compiled.isdisjoint(_called(node)) for node in function.node_def)
    }:
        compiled |= more
    return compiled


def _called(node: Any) -> set[str]:
    """The functions that a node calls, by name."""
    values = node.attr.values()
    return {
        node.op,
        *(value.func.name for value in values),
        *(function.name for value in values for function in value.list.func),
    }


def _must_compile(attributes: Any) -> bool:
    return _MUST_COMPILE in attributes and bool(attributes[_MUST_COMPILE].b)


def _ancestors(operation: Any) -> Iterator[Any]:
    """The operation, and all that it needs."""
    seen, waiting = {operation}, [operation]
    while waiting:
        each = waiting.pop()
        yield each
        new = {*(tensor.op for tensor in each.inputs), *each.control_inputs} - seen
        seen |= new
        waiting += new
