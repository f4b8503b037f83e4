"""What stands between a request and the model: shapes are checked, and rows that are not finite kept apart.

TF Serving never checks shapes against a signature, and lets a graph broadcast one row against many.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

if TYPE_CHECKING:
    from export.contract import TensorSpec


@dataclasses.dataclass(frozen=True, slots=True)
class GuardedRows:
    """Inputs of one call.

    Attributes:
      tensors: by name, of the contract's shapes, one number of rows; rows that were not finite are zeros.
      finite: `[B]`, whether all of a row's inputs are finite.
    """

    tensors: Mapping[str, tf.Tensor]
    finite: tf.Tensor

    def mask(self, outputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """`outputs` (`[B]` or `[B, D]`), NaN in the rows whose inputs were not finite."""
        return {name: self._masked(value) for name, value in outputs.items()}

    def _masked(self, value: tf.Tensor) -> tf.Tensor:
        nan = tf.constant(float("nan"), value.dtype)
        return tf.where(self.finite if value.shape.rank == 1 else self.finite[:, tf.newaxis], value, nan)


def guard_rows(inputs: Mapping[str, tf.Tensor], specs: Mapping[str, TensorSpec]) -> GuardedRows:
    """Checks `inputs` as `check_shapes` does, and sets rows apart that are not finite."""
    return guard_finite(check_shapes(inputs, specs))


def check_shapes(inputs: Mapping[str, tf.Tensor], specs: Mapping[str, TensorSpec]) -> dict[str, tf.Tensor]:
    """Checks `inputs` against `specs` when the graph runs: InvalidArgumentError, naming the input and its shape."""
    return _with_one_row_count({name: _with_shape(name, inputs[name], spec) for name, spec in specs.items()})


def guard_finite(tensors: Mapping[str, tf.Tensor]) -> GuardedRows:
    """Sets rows of `tensors` (`[B, ...]` each, of one B) apart that are not finite."""
    finite = tf.reduce_all([_finite_rows(tensor) for tensor in tensors.values()], axis=0)
    return GuardedRows({name: _zero_unless(finite, tensor) for name, tensor in tensors.items()}, finite)


def _with_shape(name: str, tensor: tf.Tensor, spec: TensorSpec) -> tf.Tensor:
    # the traced shape is only what the signature promises: forget it, or the check could be optimised away
    tensor = tf.compat.v1.placeholder_with_default(tensor, shape=tf.TensorShape(None), name=f"{name}_given")
    return tf.ensure_shape(tensor, spec.shape)


def _with_one_row_count(tensors: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    names = list(tensors)
    rows = [tf.shape(tensor)[0] for tensor in tensors.values()]
    checks = [
        tf.debugging.Assert(
            tf.equal(rows[0], count),
            [f"{names[0]} and {name} must have the same number of rows; got", rows[0], "and", count],
        )
        for name, count in zip(names[1:], rows[1:], strict=True)
    ]
    with tf.control_dependencies(checks):
        return {name: tf.identity(tensor) for name, tensor in tensors.items()}


def _finite_rows(tensor: tf.Tensor) -> tf.Tensor:
    if not tensor.dtype.is_floating:
        return tf.ones(tf.shape(tensor)[:1], tf.bool)
    return tf.reduce_all(tf.math.is_finite(tensor), axis=-1)


def _zero_unless(finite: tf.Tensor, tensor: tf.Tensor) -> tf.Tensor:
    if not tensor.dtype.is_floating:
        return tensor
    return tf.where(finite[:, tf.newaxis], tensor, tf.zeros([], tensor.dtype))
