"""In which order requests are sent to a session, so that it prepares few graphs.

A session prepares a graph for each set of tensors that it is fed and asked for, and every part of the library that this
calls anew. So it is asked for many signatures at once, in rounds: a request of each, then the next.

Signatures that share what computes them (`export/session_graph.py`) are asked at once if they are fed the same, or if
none is fed what another computes: that would be taken as it is fed, and not be computed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from export.signatures import Request

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class SessionSignature:
    """A signature in a session's graph.

    Attributes:
      inputs: tensors that are fed, by name of the input.
      outputs: tensors that are asked for, by name of the output.
      computed: names of the operations that run for that.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    computed: frozenset[str]

    @property
    def fed(self) -> frozenset[str]:
        """The operations whose tensors are fed."""
        return frozenset(operation(tensor) for tensor in self.inputs.values())

    def goes_with(self, other: SessionSignature) -> bool:
        """Whether both can be asked at once."""
        if self.fed == other.fed:
            return True
        return self.fed.isdisjoint(other.fed | other.computed) and other.fed.isdisjoint(self.computed)


@dataclasses.dataclass(frozen=True, slots=True)
class Round:
    """One run of a session.

    Attributes:
      feeds: arrays by tensor.
      signatures: all that are asked, the same in each round of a graph.
      requests: those that this answers.
    """

    feeds: Mapping[str, Array]
    signatures: Sequence[str]
    requests: Sequence[Request]


def signatures_of(graph: Any, definitions: Mapping[str, Any]) -> dict[str, SessionSignature]:
    """The signatures of a `tf.Graph`, from their `SignatureDef`s by name."""
    found = {}
    for name, definition in definitions.items():
        inputs, outputs = (
            {key: info.name for key, info in infos.items()} for infos in (definition.inputs, definition.outputs)
        )
        computed: set[str] = set()
        ahead = [graph.get_operation_by_name(operation(tensor)) for tensor in outputs.values()]
        fed = {operation(tensor) for tensor in inputs.values()}
        while ahead:
            each = ahead.pop()
            if each.name not in computed and each.name not in fed:
                computed.add(each.name)
                ahead += [*(tensor.op for tensor in each.inputs), *each.control_inputs]
        found[name] = SessionSignature(inputs, outputs, frozenset(computed))
    return found


def operation(tensor: str) -> str:
    """The name of the operation whose output a tensor is."""
    return tensor.partition(":")[0]


def rounds(requests: Sequence[Request], signatures: Mapping[str, SessionSignature]) -> list[Round]:
    """Rounds that answer every request once, those of one graph one after the other.

    Requests of different signatures that are fed the same are one. Whose turns are over is sent its smallest again.
    """
    graphs: list[list[str]] = []
    for name in dict.fromkeys(request.signature for request in requests):
        fitting = (each for each in graphs if all(signatures[name].goes_with(signatures[other]) for other in each))
        graph = next(fitting, None)
        if graph is None:
            graphs.append([name])
        else:
            graph.append(name)
    return [
        each
        for graph in graphs
        for each in _of_graph(graph, [request for request in requests if request.signature in graph], signatures)
    ]


def _of_graph(
    graph: Sequence[str], requests: Sequence[Request], signatures: Mapping[str, SessionSignature]
) -> Iterator[Round]:
    turns: dict[frozenset[str], list[_Turn]] = {}
    for request in requests:
        signature = signatures[request.signature]
        feeds = {signature.inputs[name]: value for name, value in request.inputs.items()}
        of_them = turns.setdefault(signature.fed, [])
        turn = next((each for each in of_them if each.takes(request, feeds)), None)
        if turn is None:
            of_them.append(_Turn(feeds, [request]))
        else:
            turn.requests.append(request)
    for place in range(max(len(each) for each in turns.values())):
        taken = [each[place] if place < len(each) else min(each, key=_Turn.size) for each in turns.values()]
        sent = [each[place] for each in turns.values() if place < len(each)]
        feeds = {tensor: value for turn in taken for tensor, value in turn.feeds.items()}
        yield Round(feeds, graph, [request for turn in sent for request in turn.requests])


@dataclasses.dataclass(frozen=True, slots=True)
class _Turn:
    """Requests of different signatures that are fed the same."""

    feeds: Mapping[str, Array]
    requests: list[Request]

    def takes(self, request: Request, feeds: Mapping[str, Array]) -> bool:
        """Whether another request can be answered with these."""
        if any(each.signature == request.signature for each in self.requests) or feeds.keys() != self.feeds.keys():
            return False
        return all(_equal(value, self.feeds[tensor]) for tensor, value in feeds.items())

    def size(self) -> int:
        return sum(value.size for value in self.feeds.values())


def _equal(one: Array, other: Array) -> bool:
    """NaN equals NaN; the bytes of texts are objects, whose places in memory tell nothing."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    same: bool = one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes()
    return same
