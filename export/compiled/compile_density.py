"""From a trained TFP distribution to the steps of its serving graph.

The networks of a flow are traced once each, however many layers are of one shape.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from export.compiled.blocks import BlockSolver, LoopedBlocks, UnrolledBlocks
from export.compiled.conditioner import ReadConditioner, read_conditioner
from export.compiled.encoder import Encoders
from export.compiled.layout import Layout, align, sort_by_step
from export.compiled.rows import ChunkedFunction, to_columns, to_rows
from export.compiled.steps import (
    AffineStep,
    FlowKernels,
    InvertedStep,
    MaskedLayer,
    MaskedStep,
    NetworkFunctions,
    NetworkGraph,
    ReorderStep,
    Shared,
    Step,
    TfpStep,
)
from export.compiled.straight_line import BaseLogProb, StraightFlow, StraightLine, sum_terms
from export.errors import CompileError, ExportWarning
from maf.routing import is_conditional, is_kind

Array = np.ndarray[Any, Any]
Direction = Callable[[Any, Any], tuple[Any, Any]]
EVENT_SCALES = ("BoundedScale", "HeavyTails", "Logarithmic")
LEAST_SHARED = 1 << 15  # numbers in a matrix whose product with a single row TensorFlow computes in several threads
MOST_STRAIGHT_COLUMNS = 16  # of a draw of few rows that is worth a graph of its own, which grows with them
MOST_UNROLLED_COLUMNS = 512  # of all networks together: a server takes some 15 ms a column to load the graph of a draw


def compile_density(distribution: Any) -> CompiledDensity:
    """Compiles a `tfd.TransformedDistribution` with event shape `[D]`.

    Known bijectors: chains and `Invert` of `MaskedAutoregressiveFlow` (on `AutoregressiveNetwork`, or a conditioner of
    `maf`), `Permute`, `Shift`, `Scale`, `ScaleMatvecDiag`, `BatchNormalization` with `training=False`, `Identity`. Any
    other bijector runs as TFP's graph; an `ExportWarning` names it.

    Returns:
      The density, equal to TFP's within rounding.
    """
    size, dtype = distribution.event_shape[0], distribution.dtype
    compiler = _Compiler(size, dtype)
    for bijector, inverted in _leaves(distribution.bijector, inverted=False):
        compiler.add(bijector, inverted=inverted)
    compiler.reorder(np.arange(size))
    lines = compiler.straight.close()
    few = None if lines is None else StraightDensity(*lines, distribution.distribution, compiler.widest)
    compiler.kernels.close()
    return CompiledDensity(compiler.steps, distribution.distribution, compiler.kernels, few)


class StraightDensity(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """p(x | c) of rows that may be anything, as few operations; a row that is not finite comes out as NaN.

    Attributes:
      most_inverse, most_forward: rows up to which this is the quicker way; 0 for never.
    """

    def __init__(self, inverse: StraightLine, forward: StraightLine, base: Any, widest: int) -> None:
        """`widest` is the greatest number of units in a hidden layer."""
        super().__init__()
        self._inverse = inverse
        self._forward = forward
        self._base = BaseLogProb(base)
        size = base.event_shape[0]
        self.most_inverse = max(16, 256 * 64 // max(widest, 64))
        self.most_forward = 64 if size <= MOST_STRAIGHT_COLUMNS else 0

    def inverse(self, x: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` `[B, D]` to `z` `[B, D]` and `log_prob` `[B]` of x, nats."""
        return _of_two_rows(self._of_x, self._inverse.largest, x, conditional_input)

    def forward(self, z: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` `[B, D]` to `x` `[B, D]` and `log_prob` `[B]` of x, nats."""
        return _of_two_rows(self._of_z, self._forward.largest, z, conditional_input)

    def _of_x(self, x: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        z, terms = self._inverse(x, conditional_input)
        of_base, constant = self._base(z)
        return z, sum_terms([*terms, *of_base], constant + self._inverse.log_det)

    def _of_z(self, z: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        x, terms = self._forward(z, conditional_input)
        of_base, constant = self._base(z)
        return x, sum_terms([*of_base, *(-term for term in terms)], constant - self._forward.log_det)


def _of_two_rows(
    function: Direction, largest: int, value: tf.Tensor, conditional_input: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """`function` of `value` and the condition, one row of which is two if its matrices are large.

    TensorFlow computes the product of a single row and a large matrix in several threads, and waits for them several
    times as long as for the product of two rows.
    """
    if largest < LEAST_SHARED:
        return function(value, conditional_input)
    # the condition is there before a draw's z, and need not wait for it
    rows = tf.shape(value if conditional_input is None else conditional_input)[0]
    paddings = tf.stack([tf.stack([0, tf.maximum(2 - rows, 0)]), [0, 0]])
    filled = [None if tensor is None else tf.pad(tensor, paddings) for tensor in (value, conditional_input)]
    mapped, log_prob = function(*filled)
    return mapped[:rows], log_prob[:rows]


class CompiledDensity(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """p(x | c), an `export.serving_module.Density`, as steps on feature-major tensors.

    Attributes:
      few: the same for few rows; `None` where a bijector is unknown.
    """

    def __init__(self, steps: list[Step], base: Any, kernels: FlowKernels, few: StraightDensity | None = None) -> None:
        """`kernels`, closed, are those that the steps read."""
        super().__init__()
        self.few = few
        self._steps = steps
        self._base = base
        self._kernels = kernels
        inverse, forward = (few.most_inverse, few.most_forward) if few else (0, 0)
        self._inverse_rows = ChunkedFunction(self._inverse, least_rows=64, most_elsewhere=inverse)
        self._forward_rows = ChunkedFunction(self._forward, least_rows=32, most_elsewhere=forward)

    def inverse(self, x: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` `[B, D]` to `z` `[B, D]` and `log_prob` `[B]` of x, nats."""
        z, log_prob = self._inverse_rows(x, *([] if conditional_input is None else [conditional_input]))
        return z, log_prob

    def forward(self, z: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` `[B, D]` to `x` `[B, D]` and `log_prob` `[B]` of x, nats."""
        x, log_prob = self._forward_rows(z, *([] if conditional_input is None else [conditional_input]))
        return x, log_prob

    def _inverse(self, x: tf.Tensor, conditional_input: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        shared = Shared(conditional_input, tf.shape(x)[0], self._kernels)
        columns, total = to_columns(x), tf.zeros([], x.dtype)
        for step in self._steps:
            columns, log_det = step.inverse(columns, shared)
            total += log_det
        z = to_rows(columns)
        return z, self._base.log_prob(z) + total

    def _forward(self, z: tf.Tensor, conditional_input: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        shared = Shared(conditional_input, tf.shape(z)[0], self._kernels)
        columns, total = to_columns(z), tf.zeros([], z.dtype)
        for step in reversed(self._steps):
            columns, log_det = step.forward(columns, shared)
            total += log_det
        return to_rows(columns), self._base.log_prob(z) - total


def _leaves(bijector: Any, *, inverted: bool) -> list[tuple[Any, bool]]:
    """The bijectors inside chains and inversions, from x to z."""
    if is_kind(bijector, "Invert"):
        return _leaves(bijector.bijector, inverted=not inverted)
    if is_kind(bijector, "Chain"):
        parts = reversed(bijector.bijectors) if inverted else bijector.bijectors
        return [leaf for part in parts for leaf in _leaves(part, inverted=inverted)]
    return [(bijector, inverted)]


class _Compiler:
    """Collects steps, and knows at each point which event column each row holds.

    A `Permute` only renames columns; rows are moved once, where a step wants another order than the one before left.
    """

    def __init__(self, size: int, dtype: Any) -> None:
        self.steps: list[Step] = []
        self._rows = np.arange(size)
        self._dtype = dtype
        self._networks = SharedNetworks()
        self._encoders = Encoders(dtype)
        self.kernels = FlowKernels(dtype)
        self.straight = StraightFlow(size, dtype)
        self.widest = 0

    def reorder(self, columns: Array) -> None:
        """Makes row r hold event column `columns[r]`."""
        order = np.argsort(self._rows)[columns]
        if (order != np.arange(len(order))).any():
            self.steps.append(ReorderStep(order))
        self._rows = np.asarray(columns)

    def add(self, bijector: Any, *, inverted: bool) -> None:
        """Adds the steps of one bijector."""
        if is_kind(bijector, "Identity"):
            return
        if is_kind(bijector, "Permute"):
            permutation = tf.get_static_value(bijector.permutation)
            permutation = np.argsort(permutation) if inverted else permutation
            self._rows = permutation[self._rows]
            self.straight.add_permutation(permutation)
            return
        step = self._affine(bijector, inverted=inverted) or self._masked(bijector, inverted=inverted)
        if step is None:
            self.reorder(np.arange(len(self._rows)))
            if any(is_kind(bijector, scale) for scale in EVENT_SCALES):
                self.straight.add_columns(bijector, inverted=inverted)
            else:
                self.straight.add_unknown()
            step = TfpStep(bijector, conditional=is_conditional(bijector))
        self.steps.append(InvertedStep(step) if inverted else step)

    def _affine(self, bijector: Any, *, inverted: bool) -> Step | None:
        shift_and_scale = _read_affine(bijector)
        if shift_and_scale is None:
            return None
        self.straight.add_affine(*shift_and_scale, inverted=inverted)
        shift, scale = (np.broadcast_to(value, self._rows.shape)[self._rows] for value in shift_and_scale)
        return AffineStep(shift, scale, self._dtype)

    def _masked(self, bijector: Any, *, inverted: bool) -> Step | None:
        if not is_kind(bijector, "MaskedAutoregressiveFlow"):
            if is_conditional(bijector):
                _warn(bijector, "is unknown to the compiler")
            return None
        try:
            read = read_conditioner(bijector)
            conditioner = dataclasses.replace(read, encoder=self._encoders.find(read.encoder))
            layout, functions = self._networks.find(conditioner)
        except CompileError as error:
            _warn(bijector, str(error))
            return None
        self.reorder(layout.columns)
        self.straight.add_masked(conditioner, inverted=inverted)
        self.widest = max([self.widest, *(len(layer.unit_steps) for layer in layout.hidden)])
        layer = MaskedLayer(layout, functions, self.kernels)
        return MaskedStep(layer, conditioner.encoder)


def _read_affine(bijector: Any) -> tuple[Array, Array] | None:
    """Shift and scale, each `[D]` or a scalar, of a bijector that has them whatever the row."""
    zero, one = np.zeros(()), np.ones(())
    if is_kind(bijector, "Shift"):
        return np.asarray(bijector.shift), one
    if is_kind(bijector, "Scale"):
        return zero, np.exp(bijector.log_scale) if bijector.scale is None else np.asarray(bijector.scale)
    if is_kind(bijector, "ScaleMatvecDiag"):
        return zero, np.asarray(bijector.scale.diag_part())
    if is_kind(bijector, "BatchNormalization") and not bijector._training:
        layer = bijector.batchnorm
        deviation = np.sqrt(np.asarray(layer.moving_variance) + layer.epsilon)
        scale = deviation / (np.asarray(layer.gamma) if layer.scale else 1.0)
        offset = np.asarray(layer.beta) if layer.center else 0.0
        return np.asarray(layer.moving_mean) - offset * scale, scale
    return None


def _warn(bijector: Any, reason: str) -> None:
    warnings.warn(
        f"bijector {bijector.name!r} ({type(bijector).__name__}) runs as TFP's graph: {reason}",
        ExportWarning,
        stacklevel=2,
    )


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
