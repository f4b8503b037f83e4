"""From a trained TFP distribution to the steps of its serving graph."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import tensorflow as tf

from export.builder import is_kind
from export.compiled.chunks import ChunkedFunction
from export.compiled.conditioner import read_conditioner
from export.compiled.feature_major import to_columns, to_rows
from export.compiled.masked_layer import MaskedLayer
from export.compiled.shared_networks import SharedNetworks
from export.compiled.steps import (
    AffineStep,
    Conditions,
    InvertedStep,
    MaskedStep,
    ReorderStep,
    Step,
    TfpStep,
)
from export.errors import CompileError, ExportWarning
from maf.routing import is_conditional

Array = np.ndarray[Any, Any]


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
    return CompiledDensity(compiler.steps, distribution.distribution, dtype)


class CompiledDensity(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """p(x | c), an `export.serving_module.Density`, as steps on feature-major tensors."""

    def __init__(self, steps: list[Step], base: Any, dtype: Any) -> None:
        super().__init__()
        self._steps = steps
        self._base = base
        self._dtype = dtype
        self._inverse_rows = ChunkedFunction(self._inverse, least_rows=64)
        self._forward_rows = ChunkedFunction(self._forward, least_rows=32)

    def inverse(self, x: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`x` `[B, D]` to `z` `[B, D]` and `log_prob` `[B]` of x, nats."""
        z, log_prob = self._inverse_rows(x, *([] if conditional_input is None else [conditional_input]))
        return z, log_prob

    def forward(self, z: tf.Tensor, conditional_input: tf.Tensor | None) -> tuple[tf.Tensor, tf.Tensor]:
        """`z` `[B, D]` to `x` `[B, D]` and `log_prob` `[B]` of x, nats."""
        x, log_prob = self._forward_rows(z, *([] if conditional_input is None else [conditional_input]))
        return x, log_prob

    def _inverse(self, x: tf.Tensor, conditional_input: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        conditions = Conditions(conditional_input, tf.shape(x)[0], self._dtype)
        columns, total = to_columns(x), tf.zeros([], self._dtype)
        for step in self._steps:
            columns, log_det = step.inverse(columns, conditions)
            total += log_det
        z = to_rows(columns)
        return z, self._base.log_prob(z) + total

    def _forward(self, z: tf.Tensor, conditional_input: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        conditions = Conditions(conditional_input, tf.shape(z)[0], self._dtype)
        columns, total = to_columns(z), tf.zeros([], self._dtype)
        for step in reversed(self._steps):
            columns, log_det = step.forward(columns, conditions)
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
            self._rows = (np.argsort(permutation) if inverted else permutation)[self._rows]
            return
        step = self._affine(bijector) or self._masked(bijector)
        if step is None:
            self.reorder(np.arange(len(self._rows)))
            step = TfpStep(bijector, conditional=is_conditional(bijector))
        self.steps.append(InvertedStep(step) if inverted else step)

    def _affine(self, bijector: Any) -> Step | None:
        shift_and_scale = _read_affine(bijector)
        if shift_and_scale is None:
            return None
        shift, scale = (np.broadcast_to(value, self._rows.shape)[self._rows] for value in shift_and_scale)
        return AffineStep(shift, scale, self._dtype)

    def _masked(self, bijector: Any) -> Step | None:
        if not is_kind(bijector, "MaskedAutoregressiveFlow"):
            if is_conditional(bijector):
                _warn(bijector, "is unknown to the compiler")
            return None
        try:
            conditioner = read_conditioner(bijector)
            layout, functions = self._networks.find(conditioner)
        except CompileError as error:
            _warn(bijector, str(error))
            return None
        self.reorder(layout.columns)
        layer = MaskedLayer(layout, functions, self._dtype, name=bijector.name)
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
