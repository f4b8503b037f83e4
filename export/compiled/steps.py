"""A flow as a list of steps from x to z, each invertible, on feature-major tensors `[D, B]`.

    AffineStep, ReorderStep, InvertedStep    a handful of operations
    MaskedStep > MaskedLayer > NetworkGraph  an autoregressive layer: both directions at about one network evaluation
    TfpStep                                  a bijector that nobody here knows, in TFP's own operations

`NetworkGraph` computes a network in both directions, `NetworkFunctions` are these as functions of its weights, which
all layers of one shape share, and `MaskedLayer` is a layer that knows where `FlowKernels` has its weights. What steps
share in one call, the weights that were read and the encoded condition, is in `Shared`.

`TfpDensity` is a whole flow in TFP's operations, value and log-determinant of each bijector together: TFP computes the
two apart, and each evaluates the network of every autoregressive layer. It also cannot trace a sampling loop over one
event column for an unknown number of rows: the loop loses its static shape.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from export.compiled.blocks import BlockKernel, BlockShape, BlockSolver, hidden_shape, multiply, output_shape
from export.compiled.layout import Header, Layout, PackedMatrices
from export.compiled.rows import NOT_INLINED, join, rewriting, rows, split, to_columns
from maf.routing import is_kind, make_bijector_kwargs

Array = np.ndarray[Any, Any]
Mapped = tuple[tf.Tensor, tf.Tensor]
Kwargs = Mapping[str, Any]


class FlowKernels(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """The kernels of all layers of a flow, in one variable `[lines, 16]`.

    Each variable costs a call three operations before any of them begins, whichever way it takes through the flow.
    Layers `add` theirs; after `close` a call begins with `read`.
    """

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtype
        self._packed: list[Array] = []

    def add(self, packed: Sequence[Array]) -> slice:
        """Places of packed kernels `[lines, 16]`."""
        first = len(self._packed)
        self._packed += packed
        return slice(first, len(self._packed))

    def close(self) -> None:
        """Makes a variable of what was added."""
        self._lines = [len(each) for each in self._packed]
        if self._packed:
            joined = np.concatenate(self._packed)
            self._variable = tf.Variable(joined, dtype=self.dtype, trainable=False, name="kernels")
        self._packed = []

    def read(self) -> list[tf.Tensor]:
        """The packed kernels, in the order of their places."""
        return split(self._variable.read_value(), self._lines) if self._lines else []


class Shared:
    """What the steps of a flow share in one call, each made once.

    Attributes:
      condition: `[B, C]`, or `None`.
      kernels: of all layers, by the place that `FlowKernels` gave them.
    """

    def __init__(self, condition: tf.Tensor | None, rows: tf.Tensor, kernels: FlowKernels) -> None:
        self.condition = condition
        self.kernels = kernels.read()
        self._ones = tf.ones(tf.stack([1, rows]), kernels.dtype)
        self._headers: dict[int, Header] = {}

    def header(self, encoder: Any | None) -> Header:
        """Ones and the condition as `encoder` gives it; raw without one."""
        if id(encoder) not in self._headers:
            encoding = self.condition if self.condition is None or encoder is None else encoder(self.condition)
            columns = None if encoding is None else to_columns(encoding)
            self._headers[id(encoder)] = Header.of_condition(columns, self._ones)
        return self._headers[id(encoder)]


class Step(Protocol):
    """One map of a flow; log-determinants `[B]` (or a scalar) are those of the direction asked for."""

    def inverse(self, x: tf.Tensor, shared: Shared) -> Mapped:
        """Towards z."""
        ...

    def forward(self, z: tf.Tensor, shared: Shared) -> Mapped:
        """Towards x."""
        ...


class ReorderStep(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Row r towards z is row `order[r]` towards x."""

    def __init__(self, order: Array) -> None:
        super().__init__()
        self._order = order
        self._back = np.argsort(order)

    def inverse(self, x: tf.Tensor, shared: Shared) -> Mapped:  # noqa: ARG002  # a Step
        """Towards z."""
        return tf.gather(x, self._order), tf.zeros([], x.dtype)

    def forward(self, z: tf.Tensor, shared: Shared) -> Mapped:  # noqa: ARG002  # a Step
        """Towards x."""
        return tf.gather(z, self._back), tf.zeros([], z.dtype)


class AffineStep(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """`x = shift + scale z` for each row, the same for all conditions."""

    def __init__(self, shift: Array, scale: Array, dtype: Any) -> None:
        super().__init__()
        self._shift, self._scale = (np.asarray(value[:, np.newaxis], dtype.as_numpy_dtype) for value in (shift, scale))
        self._log_det = np.log(np.abs(scale)).sum()

    def inverse(self, x: tf.Tensor, shared: Shared) -> Mapped:  # noqa: ARG002  # a Step
        """Towards z."""
        return (x - self._shift) / self._scale, tf.constant(-self._log_det, x.dtype)

    def forward(self, z: tf.Tensor, shared: Shared) -> Mapped:  # noqa: ARG002  # a Step
        """Towards x."""
        return z * self._scale + self._shift, tf.constant(self._log_det, z.dtype)


class MaskedStep(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """An autoregressive layer, its rows in the layer's order."""

    def __init__(self, layer: MaskedLayer, encoder: Any | None) -> None:
        super().__init__()
        self._layer = layer
        self._encoder = encoder

    def inverse(self, x: tf.Tensor, shared: Shared) -> Mapped:
        """Towards z: one pass over the network."""
        return self._layer.inverse(x, shared.header(self._encoder), shared.kernels)

    def forward(self, z: tf.Tensor, shared: Shared) -> Mapped:
        """Towards x: each unit once, column by column."""
        return self._layer.forward(z, shared.header(self._encoder), shared.kernels)


class InvertedStep(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """A step the other way round: `tfb.Invert`."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step

    def inverse(self, x: tf.Tensor, shared: Shared) -> Mapped:
        """Towards z."""
        return self._step.forward(x, shared)

    def forward(self, z: tf.Tensor, shared: Shared) -> Mapped:
        """Towards x."""
        return self._step.inverse(z, shared)


class TfpStep(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """A bijector that is unknown here, in TFP's own ops; its rows are the event columns in order."""

    def __init__(self, bijector: Any, *, conditional: bool) -> None:
        super().__init__()
        self._bijector = bijector
        self._conditional = conditional

    def inverse(self, x: tf.Tensor, shared: Shared) -> Mapped:
        """Towards z."""
        z, log_det = tfp_inverse(self._bijector, tf.transpose(x), self._kwargs(shared))
        return tf.transpose(z), log_det

    def forward(self, z: tf.Tensor, shared: Shared) -> Mapped:
        """Towards x."""
        x, log_det = tfp_forward(self._bijector, tf.transpose(z), self._kwargs(shared))
        return tf.transpose(x), log_det

    def _kwargs(self, shared: Shared) -> Mapping[str, Any]:
        return {"conditional_input": shared.condition} if self._conditional else {}


@dataclasses.dataclass(frozen=True, slots=True)
class PlacedStep:
    """A step and the order it wants its rows in: row r holds event column `columns[r]`; `None` takes any order."""

    step: Step
    columns: Array | None


class NetworkFunctions:
    """The two directions of a network as functions of its weights, traced once for all layers of one shape."""

    def __init__(self, graph: NetworkGraph) -> None:
        self.graph = graph
        self._inverse = _as_function(graph.inverse)
        self._forward = _as_function(graph.forward)

    def inverse(self, x: tf.Tensor, header: Header, kernels: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """`NetworkGraph.inverse`."""
        with rewriting(wanted=True):
            z, log_det = self._inverse(x, header.ones, header.with_condition, *kernels)
        return z, log_det

    def forward(self, z: tf.Tensor, header: Header, kernels: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """`NetworkGraph.forward`."""
        with rewriting(wanted=False):
            x, log_det = self._forward(z, header.ones, header.with_condition, *kernels)
        return x, log_det


class MaskedLayer(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """`x` and `z` `[D, B]`, rows in the layer's autoregressive order."""

    def __init__(self, layout: Layout, functions: NetworkFunctions, kernels: FlowKernels) -> None:
        """`functions` are those of the graph of `layout`; the layer's kernels are added to `kernels`."""
        super().__init__()
        self._functions = functions
        graph = functions.graph
        self._places = kernels.add(
            [
                packed.pack([shape.kernel(layer) for shape in shapes])
                for layer, shapes, packed in zip(
                    (*layout.hidden, layout.output), graph.shapes, graph.packed, strict=True
                )
            ]
        )

    def inverse(self, x: tf.Tensor, header: Header, kernels: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` to z, one network in all; log-determinant `[B]` of dz/dx. `kernels` are those of the flow."""
        return self._functions.inverse(x, header, kernels[self._places])

    def forward(self, z: tf.Tensor, header: Header, kernels: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` to x, each unit once, column by column; log-determinant `[B]` of dx/dz."""
        return self._functions.forward(z, header, kernels[self._places])


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


@dataclasses.dataclass(frozen=True, slots=True)
class TfpDensity:
    """A `tfd.TransformedDistribution` as TFP computes it.

    `inverse` costs one network per autoregressive layer, `forward` D + 1 of them, one after the other in a loop.
    """

    distribution: Any

    @property
    def few(self) -> None:
        """None: nobody knows what NaN does to TFP's ops."""
        return

    def inverse(self, x: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` `[B, D]` to `z` `[B, D]` and `log_prob` `[B]` of x, nats."""
        z, log_det = tfp_inverse(self.distribution.bijector, x, self._bijector_kwargs(conditional_input))
        return z, self.distribution.distribution.log_prob(z) + log_det

    def forward(self, z: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` `[B, D]` to `x` `[B, D]` and `log_prob` `[B]` of x, nats."""
        x, log_det = tfp_forward(self.distribution.bijector, z, self._bijector_kwargs(conditional_input))
        return x, self.distribution.distribution.log_prob(z) - log_det

    def _bijector_kwargs(self, conditional_input: tf.Tensor | None) -> dict[str, Any]:
        if conditional_input is None:
            return {}
        return make_bijector_kwargs(self.distribution.bijector, {"conditional_input": conditional_input})


def tfp_inverse(bijector: Any, x: tf.Tensor, kwargs: Kwargs) -> tuple[tf.Tensor, tf.Tensor]:
    """`z` `[B, D]` of `x` `[B, D]`, and the log-determinant `[B]` of dz/dx; `kwargs` as TFP's `inverse` takes them."""
    if is_kind(bijector, "Invert"):
        return tfp_forward(bijector.bijector, x, kwargs)
    if _is_chain_of_vectors(bijector):
        log_det = tf.zeros(tf.shape(x)[:1], x.dtype)
        for part in bijector.bijectors:
            x, part_log_det = tfp_inverse(part, x, kwargs.get(part.name, {}))
            log_det += part_log_det
        return x, log_det
    if _is_autoregressive(bijector):
        bijector, kwargs = bijector._bijector_fn(x, **kwargs), {}
    return bijector.inverse(x, **kwargs), bijector.inverse_log_det_jacobian(x, event_ndims=1, **kwargs)


def tfp_forward(bijector: Any, z: tf.Tensor, kwargs: Kwargs) -> tuple[tf.Tensor, tf.Tensor]:
    """`x` `[B, D]` of `z` `[B, D]`, and the log-determinant `[B]` of dx/dz; `kwargs` as TFP's `forward` takes them."""
    if is_kind(bijector, "Invert"):
        return tfp_inverse(bijector.bijector, z, kwargs)
    if _is_chain_of_vectors(bijector):
        log_det = tf.zeros(tf.shape(z)[:1], z.dtype)
        for part in reversed(bijector.bijectors):
            z, part_log_det = tfp_forward(part, z, kwargs.get(part.name, {}))
            log_det += part_log_det
        return z, log_det
    if _is_autoregressive(bijector):
        x = _autoregressive_forward(bijector, z, kwargs)
        return x, bijector._bijector_fn(x, **kwargs).forward_log_det_jacobian(z, event_ndims=1)
    return bijector.forward(z, **kwargs), bijector.forward_log_det_jacobian(z, event_ndims=1, **kwargs)


def _autoregressive_forward(bijector: Any, z: tf.Tensor, kwargs: Kwargs) -> tf.Tensor:
    """After i rounds the first i columns (in autoregressive order) are right."""

    def one_more_column(x: tf.Tensor) -> tuple[tf.Tensor]:
        return (tf.ensure_shape(bijector._bijector_fn(x, **kwargs).forward(z), z.shape),)

    (x,) = tf.while_loop(lambda _: True, one_more_column, (tf.zeros_like(z),), maximum_iterations=z.shape[-1])
    return x


def _is_chain_of_vectors(bijector: Any) -> bool:
    """Whether this is a chain whose parts all map rows of `[B, D]`."""
    return is_kind(bijector, "Chain") and all(
        max(part.forward_min_event_ndims, part.inverse_min_event_ndims) <= 1 for part in bijector.bijectors
    )


def _is_autoregressive(bijector: Any) -> bool:
    return is_kind(bijector, "MaskedAutoregressiveFlow") and bijector._event_ndims == 1
