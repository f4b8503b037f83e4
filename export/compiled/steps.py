"""A flow as a list of steps from x to z, each invertible, on feature-major tensors `[D, B]`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf

from export.compiled.layout import Header
from export.compiled.rows import to_columns
from export.tfp_density import forward as tfp_forward
from export.tfp_density import inverse as tfp_inverse

if TYPE_CHECKING:
    from export.compiled.masked_layer import MaskedLayer

Array = np.ndarray[Any, Any]
Mapped = tuple[tf.Tensor, tf.Tensor]


class Conditions:
    """The condition of a batch in the forms that steps ask for, each computed once.

    Attributes:
      raw: `[B, C]`, or `None`.
    """

    def __init__(self, raw: tf.Tensor | None, rows: tf.Tensor, dtype: Any) -> None:
        self.raw = raw
        self._ones = tf.ones(tf.stack([1, rows]), dtype)
        self._headers: dict[int, Header] = {}

    def header(self, encoder: Any | None) -> Header:
        """Ones and the condition as `encoder` gives it; raw without one."""
        if id(encoder) not in self._headers:
            encoding = self.raw if self.raw is None or encoder is None else encoder(self.raw)
            condition = None if encoding is None else to_columns(encoding)
            self._headers[id(encoder)] = Header.of_condition(condition, self._ones)
        return self._headers[id(encoder)]


class Step(Protocol):
    """One map of a flow; log-determinants `[B]` (or a scalar) are those of the direction asked for."""

    def inverse(self, x: tf.Tensor, conditions: Conditions) -> Mapped:
        """Towards z."""
        ...

    def forward(self, z: tf.Tensor, conditions: Conditions) -> Mapped:
        """Towards x."""
        ...


class ReorderStep(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Row r towards z is row `order[r]` towards x."""

    def __init__(self, order: Array) -> None:
        super().__init__()
        self._order = order
        self._back = np.argsort(order)

    def inverse(self, x: tf.Tensor, conditions: Conditions) -> Mapped:  # noqa: ARG002  # a Step
        """Towards z."""
        return tf.gather(x, self._order), tf.zeros([], x.dtype)

    def forward(self, z: tf.Tensor, conditions: Conditions) -> Mapped:  # noqa: ARG002  # a Step
        """Towards x."""
        return tf.gather(z, self._back), tf.zeros([], z.dtype)


class AffineStep(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """`x = shift + scale z` for each row, the same for all conditions."""

    def __init__(self, shift: Array, scale: Array, dtype: Any) -> None:
        super().__init__()
        self._shift = tf.Variable(shift[:, np.newaxis], dtype=dtype, trainable=False, name="shift")
        self._scale = tf.Variable(scale[:, np.newaxis], dtype=dtype, trainable=False, name="scale")
        self._log_det = np.log(np.abs(scale)).sum()

    def inverse(self, x: tf.Tensor, conditions: Conditions) -> Mapped:  # noqa: ARG002  # a Step
        """Towards z."""
        return (x - self._shift) / self._scale, tf.constant(-self._log_det, x.dtype)

    def forward(self, z: tf.Tensor, conditions: Conditions) -> Mapped:  # noqa: ARG002  # a Step
        """Towards x."""
        return z * self._scale + self._shift, tf.constant(self._log_det, z.dtype)


class MaskedStep(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """An autoregressive layer, its rows in the layer's order."""

    def __init__(self, layer: MaskedLayer, encoder: Any | None) -> None:
        super().__init__()
        self._layer = layer
        self._encoder = encoder

    def inverse(self, x: tf.Tensor, conditions: Conditions) -> Mapped:
        """Towards z: one pass over the network."""
        return self._layer.inverse(x, conditions.header(self._encoder))

    def forward(self, z: tf.Tensor, conditions: Conditions) -> Mapped:
        """Towards x: each unit once, column by column."""
        return self._layer.forward(z, conditions.header(self._encoder))


class InvertedStep(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """A step the other way round: `tfb.Invert`."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step

    def inverse(self, x: tf.Tensor, conditions: Conditions) -> Mapped:
        """Towards z."""
        return self._step.forward(x, conditions)

    def forward(self, z: tf.Tensor, conditions: Conditions) -> Mapped:
        """Towards x."""
        return self._step.inverse(z, conditions)


class TfpStep(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """A bijector that is unknown here, in TFP's own ops; its rows are the event columns in order."""

    def __init__(self, bijector: Any, *, conditional: bool) -> None:
        super().__init__()
        self._bijector = bijector
        self._conditional = conditional

    def inverse(self, x: tf.Tensor, conditions: Conditions) -> Mapped:
        """Towards z."""
        z, log_det = tfp_inverse(self._bijector, tf.transpose(x), self._kwargs(conditions))
        return tf.transpose(z), log_det

    def forward(self, z: tf.Tensor, conditions: Conditions) -> Mapped:
        """Towards x."""
        x, log_det = tfp_forward(self._bijector, tf.transpose(z), self._kwargs(conditions))
        return tf.transpose(x), log_det

    def _kwargs(self, conditions: Conditions) -> Mapping[str, Any]:
        return {"conditional_input": conditions.raw} if self._conditional else {}


@dataclasses.dataclass(frozen=True, slots=True)
class PlacedStep:
    """A step and the order it wants its rows in: row r holds event column `columns[r]`; `None` takes any order."""

    step: Step
    columns: Array | None
