"""One autoregressive layer: both directions at the cost of about one evaluation of its network.

`NetworkGraph` computes a network in both directions, `NetworkFunctions` are these as functions of its weights, which
all layers of one shape share, and `MaskedLayer` is a layer with its weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from export.compiled.blocks import BlockKernel, BlockShape, BlockSolver, hidden_shape, multiply, output_shape
from export.compiled.layout import Header, Layout, PackedMatrices
from export.compiled.rows import NOT_INLINED, join, rewriting, rows


class NetworkFunctions:
    """The two directions of a network as functions of its weights, traced once for all layers of one shape."""

    def __init__(self, graph: NetworkGraph) -> None:
        self.graph = graph
        self._inverse = _as_function(graph.inverse)
        self._forward = _as_function(graph.forward)

    def inverse(self, x: tf.Tensor, header: Header, kernels: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """`NetworkGraph.inverse`."""
        with rewriting(wanted=True):
            z, log_det = self._inverse(x, header.ones, header.with_condition, *kernels)
        return z, log_det

    def forward(self, z: tf.Tensor, header: Header, kernels: list[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """`NetworkGraph.forward`."""
        with rewriting(wanted=False):
            x, log_det = self._forward(z, header.ones, header.with_condition, *kernels)
        return x, log_det


class MaskedLayer(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """`x` and `z` `[D, B]`, rows in the layer's autoregressive order."""

    def __init__(self, layout: Layout, functions: NetworkFunctions, dtype: Any, name: str) -> None:
        """`functions` are those of the graph of `layout`."""
        super().__init__(name=name)
        self._functions = functions
        graph = functions.graph
        self._kernels = [
            tf.Variable(
                packed.pack([shape.kernel(layer) for shape in shapes]), dtype=dtype, trainable=False, name=f"dense_{i}"
            )
            for i, (layer, shapes, packed) in enumerate(
                zip((*layout.hidden, layout.output), graph.shapes, graph.packed, strict=True)
            )
        ]

    def inverse(self, x: tf.Tensor, header: Header) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` to z, one network in all; log-determinant `[B]` of dz/dx."""
        return self._functions.inverse(x, header, self._read())

    def forward(self, z: tf.Tensor, header: Header) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` to x, each unit once, column by column; log-determinant `[B]` of dx/dz."""
        return self._functions.forward(z, header, self._read())

    def _read(self) -> list[tf.Tensor]:
        return [kernel.read_value() for kernel in self._kernels]


def _as_function(direction: Any) -> Any:
    def call(value: tf.Tensor, ones: tf.Tensor, with_condition: tf.Tensor, *kernels: tf.Tensor) -> Any:
        return direction(value, Header(ones, with_condition), kernels)

    # inlined, every layer would have nodes of its own, whose state a draw of thousands fetches into the cache anew
    return tf.function(call, autograph=False, experimental_attributes=NOT_INLINED)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NetworkGraph:
    """What a layer's network computes, in both directions, whatever its weights are.

    `x` and `z` are `[D, B]`, rows in the layer's autoregressive order; `kernels` one packed tensor per dense layer.

    Attributes:
      blocks: first and last step of each block.
      shapes: for each dense layer, the part of each block.
      see_condition: for each dense layer, whether its kernel has rows for the condition.
      solver: finds the columns of a block, with its transform and its activation.
    """

    blocks: tuple[tuple[int, int], ...]
    shapes: tuple[tuple[BlockShape, ...], ...]
    see_condition: tuple[bool, ...]
    solver: BlockSolver

    @classmethod
    def of_layout(cls, layout: Layout, solver: BlockSolver) -> NetworkGraph:
        """The graph of a sorted network."""
        hidden = [tuple(hidden_shape(layer, block) for block in layout.blocks) for layer in layout.hidden]
        return cls(
            blocks=layout.blocks,
            shapes=(*hidden, tuple(output_shape(layout, block) for block in layout.blocks)),
            see_condition=tuple(layer.sees_condition for layer in (*layout.hidden, layout.output)),
            solver=solver,
        )

    @property
    def packed(self) -> list[PackedMatrices]:
        """How the kernels of each dense layer are packed."""
        return [PackedMatrices(tuple((shape.inputs, shape.size) for shape in shapes)) for shapes in self.shapes]

    def inverse(self, x: tf.Tensor, header: Header, kernels: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` to z, one network in all; log-determinant `[B]` of dz/dx."""
        *hidden, output = [
            list(zip(shapes, packed.read(kernel), strict=True))
            for shapes, packed, kernel in zip(self.shapes, self.packed, kernels, strict=True)
        ]
        *headers, output_header = self._headers(header)
        units = [x]
        for blocks, ones_and_condition in zip(hidden, headers, strict=True):
            inputs = join([ones_and_condition, *units])
            units = [
                self.solver.activation(multiply(kernel, rows(inputs, 0, shape.inputs)))
                for shape, kernel in blocks
                if shape.size
            ]
        inputs = join([output_header, *units])
        params = [
            tf.reshape(
                multiply(kernel, rows(inputs, 0, shape.inputs)), [shape.size // shape.columns, shape.columns, -1]
            )
            for shape, kernel in output
            if shape.size
        ]
        z, log_derivative = self.solver.transform.inverse(tf.concat(params, axis=1), x)
        return z, tf.reduce_sum(log_derivative, axis=0)

    def forward(self, z: tf.Tensor, header: Header, kernels: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` to x, column by column; log-determinant `[B]` of dx/dz."""
        known = self._headers(header)
        log_derivatives: list[tf.Tensor] = []
        of_layers = [
            _block_kernels(shapes, packed, kernel)
            for shapes, packed, kernel in zip(self.shapes, self.packed, kernels, strict=True)
        ]
        columns: list[tf.Tensor] = []
        for block, *of_block in zip(self.blocks, *of_layers, strict=True):
            solved = self.solver.solve(block, of_block, known, rows(z, max(block[0], 1) - 1, block[1]))
            log_derivatives += solved.log_derivatives
            columns += solved.inputs[0]
            known = [join([before, *pieces]) for before, pieces in zip(known, solved.inputs, strict=True)]
        return join(columns), tf.reduce_sum(join(log_derivatives), axis=0)

    def _headers(self, header: Header) -> list[tf.Tensor]:
        """By dense layer."""
        return [header.seen(condition=condition) for condition in self.see_condition]


def _block_kernels(shapes: Sequence[BlockShape], packed: PackedMatrices, kernels: tf.Tensor) -> list[BlockKernel]:
    parts = packed.read_in_two(kernels, [shape.inputs_before for shape in shapes])
    return [BlockKernel(shape, before, inner) for shape, (before, inner) in zip(shapes, parts, strict=True)]
