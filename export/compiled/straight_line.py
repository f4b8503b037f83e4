"""A whole flow as a straight line of operations on a few rows, row-major, columns in event order.

A row that is not finite spoils itself and no other by arithmetic alone: one product with a matrix of zeros and ones
makes all of its columns NaN, its condition's included, before the first layer sees it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

from export.compiled.steps import tfp_forward, tfp_inverse
from export.compiled.straight_layer import ReadWeights, StraightForward, StraightInverse, StraightWeights
from export.compiled.transforms import MappedRows, row_transform
from maf.routing import is_kind

if TYPE_CHECKING:
    from export.compiled.conditioner import ReadConditioner

Array = np.ndarray[Any, Any]


class StraightStep(Protocol):
    """One map; log-derivatives `[B, D]`, log-determinants `[B]`, or `None` for zeros, of the direction asked for."""

    def __call__(self, value: tf.Tensor, weights: ReadWeights, /) -> MappedRows:
        """Maps `[B, D]`."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Affine:
    """`shift + scale value`, for each column."""

    shift: Array
    scale: Array

    def then(self, other: Affine) -> Affine:
        """Both, one after the other."""
        return Affine(other.shift + other.scale * self.shift, other.scale * self.scale)

    @property
    def inverse(self) -> Affine:
        """The other way round."""
        return Affine(-self.shift / self.scale, 1 / self.scale)

    @property
    def log_det(self) -> float:
        """Of all columns."""
        return float(np.log(np.abs(self.scale)).sum())

    def __call__(self, value: tf.Tensor, weights: ReadWeights) -> MappedRows:  # noqa: ARG002  # a StraightStep
        """Maps `[B, D]`; its log-determinant is a constant, counted elsewhere."""
        scaled = value * tf.constant(self.scale[np.newaxis], value.dtype)
        return scaled + tf.constant(self.shift[np.newaxis], value.dtype), None


@dataclasses.dataclass(frozen=True, slots=True)
class ColumnBijector:
    """A bijector of single columns that TFP computes, without weights; NaN goes in and comes out."""

    bijector: Any
    inverted: bool

    def __call__(self, value: tf.Tensor, weights: ReadWeights) -> MappedRows:  # noqa: ARG002  # a StraightStep
        """Maps `[B, D]`."""
        value, log_det = (tfp_forward if self.inverted else tfp_inverse)(self.bijector, value, {})
        return value, log_det


class StraightLine(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """One direction of a flow.

    Attributes:
      log_det: of what is the same for all rows.
      largest: how many numbers the largest matrix of a product has.
    """

    def __init__(
        self, steps: Sequence[StraightStep], weights: StraightWeights, enter: Array, leave: Array, dtype: Any
    ) -> None:
        """`steps` in the order of the direction; `weights`, closed, are those they read.

        Place p of the steps' tensors holds column `enter[p]` of what comes; column i of the result is at `leave[i]`.
        """
        super().__init__()
        joined = _join(steps)
        identity = Affine(np.zeros(len(enter)), np.ones(len(enter)))
        self._enter_columns, self._leave = enter, leave
        first = joined[0] if joined else None
        self._entrance = first if isinstance(first, Affine) else identity
        self._steps = joined[1:] if isinstance(first, Affine) else joined
        self._weights = weights
        self._dtype = dtype
        self.largest = weights.largest
        self.log_det = sum(step.log_det for step in joined if isinstance(step, Affine))

    def __call__(self, value: tf.Tensor, condition: tf.Tensor | None) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Maps `[B, D]`; log-derivatives `[B, D]` and log-determinants `[B]`, to which `log_det` is to be added.

        Raises:
          InvalidArgumentError: when it runs, if the condition has another number of rows.
        """
        value = self._enter(value, condition)
        weights = self._weights.read(condition)
        found = []
        for step in self._steps:
            value, log_derivative = step(value, weights)
            if log_derivative is not None:
                found.append(log_derivative)
        if (self._leave != np.arange(len(self._leave))).any():
            value = tf.matmul(value, tf.constant(np.eye(len(self._leave))[:, self._leave], self._dtype))
        return value, found

    def _enter(self, value: tf.Tensor, condition: tf.Tensor | None) -> tf.Tensor:
        """The first affine map, `scale (value - middle)`, and NaN in all columns of a row that is not finite.

        Infinity times zero is NaN in the other columns, and twice it less once it is NaN in its own.
        """
        size = value.shape[1]
        inputs = [value, value] if condition is None else [value, value, condition]
        value = tf.concat(inputs, axis=1, name="rows_of_all_inputs")
        scale, middle = np.zeros((value.shape[1], size)), np.zeros((1, value.shape[1]))
        for first, factor in ((0, 2), (size, -1)):
            scale[first + self._enter_columns, range(size)] = factor * self._entrance.scale
            middle[0, first + self._enter_columns] = -self._entrance.shift / self._entrance.scale
        if middle.any():
            value -= tf.constant(middle, self._dtype)
        return tf.matmul(value, tf.constant(scale, self._dtype))


class StraightFlow(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Collects the steps of both directions while a flow is compiled, from x to z."""

    def __init__(self, size: int, dtype: Any) -> None:
        super().__init__()
        self._columns = np.arange(size)  # by place in the tensors; at the end of what is known, towards z
        self._dtype = dtype
        self._inverse: list[StraightStep] = []
        self._forward: list[StraightStep] = []
        self._weights = (StraightWeights(dtype), StraightWeights(dtype))
        self.known = True

    def add_affine(self, shift: Array, scale: Array, *, inverted: bool) -> None:
        """`x = shift + scale z`, `[D]` each or scalars."""
        size = len(self._columns)
        towards_x = Affine(np.broadcast_to(shift, size)[self._columns], np.broadcast_to(scale, size)[self._columns])
        towards_x = towards_x.inverse if inverted else towards_x
        self._inverse.append(towards_x.inverse)
        self._forward.append(towards_x)

    def add_masked(self, conditioner: ReadConditioner, *, inverted: bool) -> None:
        """An autoregressive layer."""
        transform = row_transform(conditioner.transform, self._dtype)
        if transform is None:
            self.add_unknown()
            return
        inverse, forward = self._weights[::-1] if inverted else self._weights
        places = np.argsort(self._columns)
        made: list[StraightStep] = [
            StraightInverse(conditioner, transform, inverse, places),
            StraightForward(conditioner, transform, forward, places),
        ]
        towards_z, towards_x = reversed(made) if inverted else made
        self._inverse.append(towards_z)
        self._forward.append(towards_x)

    def add_permutation(self, permutation: Array) -> None:
        """`x = z[permutation]`: nothing moves, the places have other columns from here on."""
        self._columns = permutation[self._columns]

    def add_columns(self, bijector: Any, *, inverted: bool) -> None:
        """A bijector that is ours and maps each column by itself."""
        if (self._columns != np.arange(len(self._columns))).any():
            self.add_unknown()
        self._inverse.append(ColumnBijector(bijector, inverted))
        self._forward.append(ColumnBijector(bijector, not inverted))

    def add_unknown(self) -> None:
        """Anything else: nobody knows what NaN does to it, and rows have to be set apart before."""
        self.known = False

    def close(self) -> tuple[StraightLine, StraightLine] | None:
        """The inverse and the forward direction; `None` if not all is known."""
        if not self.known:
            return None
        for weights in self._weights:
            weights.close()
        events, places = np.arange(len(self._columns)), np.argsort(self._columns)
        return (
            StraightLine(self._inverse, self._weights[0], events, places, self._dtype),
            StraightLine(self._forward[::-1], self._weights[1], self._columns, events, self._dtype),
        )


class BaseLogProb:
    """The log-density of a base distribution, in terms to be added up."""

    def __init__(self, base: Any) -> None:
        kind = is_kind(base, "MultivariateNormalDiag") or (
            is_kind(base, "Sample") and is_kind(base.distribution, "Normal")
        )
        self._standard = kind and bool(np.all(base.mean() == 0) and np.all(base.stddev() == 1))
        self._base = base

    def __call__(self, z: tf.Tensor) -> tuple[list[tf.Tensor], float]:
        """Terms `[B, D]` or `[B]`, and a constant."""
        if self._standard:
            return [z * (-0.5 * z)], -0.5 * math.log(2 * math.pi) * z.shape[1]
        return [self._base.log_prob(z)], 0.0


def sum_terms(terms: Sequence[tf.Tensor], constant: float) -> tf.Tensor:
    """`[B]`, the sum of terms `[B, D]` and `[B]`."""
    wide = [term for term in terms if term.shape.rank == 2]
    total = [term for term in terms if term.shape.rank != 2]
    if wide:
        total.append(tf.reduce_sum(wide[0] if len(wide) == 1 else tf.add_n(wide), axis=1))
    return (total[0] if len(total) == 1 else tf.add_n(total)) + constant


def _join(steps: Sequence[StraightStep]) -> list[StraightStep]:
    """Affine maps that follow each other are one."""
    joined: list[StraightStep] = []
    for step in steps:
        if joined and isinstance(step, Affine) and isinstance(joined[-1], Affine):
            joined[-1] = joined[-1].then(step)
        else:
            joined.append(step)
    return joined
