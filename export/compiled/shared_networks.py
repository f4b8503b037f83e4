"""The networks of a flow, each traced once however many layers are of its shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.compiled.block_solvers import BlockSolver, LoopedBlocks, UnrolledBlocks
from export.compiled.layout import Layout, sort_by_step
from export.compiled.masked_layer import NetworkFunctions
from export.compiled.network_graph import NetworkGraph
from export.compiled.packed_matrices import align

if TYPE_CHECKING:
    from export.compiled.conditioner import ReadConditioner

MOST_UNROLLED_COLUMNS = 512  # of all networks together: a server takes some 15 ms a column to load the graph of a draw


class SharedNetworks:
    """Finds the functions of a layer's network: those of an earlier layer of equal shape, or new ones."""

    def __init__(self) -> None:
        self._found: list[NetworkGraph] = []
        self._functions: list[NetworkFunctions] = []
        self._unrolled_columns = 0

    def find(self, conditioner: ReadConditioner) -> tuple[Layout, NetworkFunctions]:
        """The conditioner's weights, laid out for functions, and these.

        Draws are unrolled as long as the graph stays sane, and loop in further layers.

        Raises:
          CompileError: if the network is not autoregressive.
        """
        transform, activation = conditioner.transform, conditioner.weights.activation
        num_columns = len(conditioner.weights.degrees)
        layout, graph = _lay_out(conditioner, UnrolledBlocks(transform, activation))
        if graph not in self._found:
            if self._unrolled_columns + num_columns <= MOST_UNROLLED_COLUMNS:
                self._unrolled_columns += num_columns
            else:
                layout, graph = _lay_out(conditioner, LoopedBlocks(transform, activation))
        if graph not in self._found:
            self._found.append(graph)
            self._functions.append(NetworkFunctions(graph))
        return layout, self._functions[self._found.index(graph)]


def _lay_out(conditioner: ReadConditioner, solver: BlockSolver) -> tuple[Layout, NetworkGraph]:
    block_size = solver.block_size(len(conditioner.weights.degrees))
    layout = align(sort_by_step(conditioner.weights, block_size=block_size))
    return layout, NetworkGraph.of_layout(layout, solver)
