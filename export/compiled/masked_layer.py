"""One autoregressive layer: both directions at the cost of about one evaluation of its network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from export.compiled.chunks import NOT_INLINED, rewriting
from export.compiled.header import Header

if TYPE_CHECKING:
    from export.compiled.layout import Layout
    from export.compiled.network_graph import NetworkGraph


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
