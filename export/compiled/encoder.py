"""What stands before the networks of a flow: the encoder of its condition, as few operations.

All layers share it, and both directions, for few rows and for many, so a version holds its weights once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from maf.condition_encoder import FARTHEST, MAGNITUDES
from maf.routing import is_kind


class Encoders:
    """The encoders of a flow as they are compiled, each once."""

    def __init__(self, dtype: Any) -> None:
        self._dtype = dtype
        self._found: dict[int, tuple[Any, Any]] = {}

    def find(self, encoder: Any) -> Any:
        """The same function of `[B, C]` to `[B, E]`; `encoder` itself where it is none of ours, or `None`."""
        if not is_kind(encoder, "ConditionEncoder"):
            return encoder
        if id(encoder) not in self._found:
            self._found[id(encoder)] = (encoder, CompiledEncoder(encoder, self._dtype))
        return self._found[id(encoder)][1]


class CompiledEncoder(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """A `maf.condition_encoder.ConditionEncoder`, its weights as they are.

    Biases are subtracted: what is added to a product becomes an operation of oneDNN's, slow to start.
    Where a number lies in its bins comes of one product with the standardised columns.
    """

    def __init__(self, encoder: Any, dtype: Any) -> None:
        super().__init__()
        loc, scale = (np.asarray(value, np.float64) for value in (encoder.loc, encoder.scale))

        def variable(value: Any, name: str) -> tf.Variable:
            return tf.Variable(np.atleast_2d(np.asarray(value)), dtype=dtype, trainable=False, name=name)

        self._loc, self._rate = variable(loc, "condition_loc"), variable(1 / scale, "condition_rate")
        self._bins = self._projection = self._regression = None
        if encoder.bin_low is not None:
            low, rate = (np.asarray(value, np.float64) for value in (encoder.bin_low, encoder.bin_rate))
            numbers = list(encoder.number_columns)
            kernel = np.zeros((len(loc), *low.shape))
            kernel[numbers, range(len(numbers))] = rate * scale[numbers, np.newaxis]
            offset = (low - loc[numbers, np.newaxis]) * rate
            self._bins = (
                variable(kernel.reshape(len(loc), -1), "condition_bins"),
                variable(offset.ravel(), "condition_bin_offset"),
            )
        if encoder.projection is not None:
            kernel = np.zeros((len(loc), encoder.projection.shape[1]))
            kernel[list(encoder.projected_columns)] = encoder.projection.numpy()
            kernels = [s * kernel for s in MAGNITUDES]
            units = np.repeat(1 / np.log1p(MAGNITUDES), encoder.projection.shape[1])
            self._projection = (
                variable(np.concatenate(kernels, axis=1), "condition_projection"),
                variable(units, "condition_projection_unit"),
            )
        self._layers = [
            (variable(layer.kernel, "condition_kernel"), variable(-layer.bias, "condition_bias"), layer.activation)
            for layer in encoder.layers
        ]
        if encoder.regression_kernel is not None:
            self._regression = (
                variable(encoder.regression_kernel, "regression"),
                variable(-encoder.regression_bias, "regression_bias"),
            )

    @property
    def sizes(self) -> list[int]:
        """How many numbers each of its matrices and rows has."""
        return [variable.shape.num_elements() for variable in self.variables]

    def __call__(self, condition: tf.Tensor) -> tf.Tensor:
        """`[B, C]` to `[B, E]`."""
        standard = (condition - self._loc) * self._rate
        encoded = standard
        if self._bins is not None or self._projection is not None:
            near = standard * tf.math.rsqrt(1 + tf.square(standard / FARTHEST))
            features = [near]
            if self._bins is not None:
                features.append(_clip(tf.matmul(standard, self._bins[0]) - self._bins[1], 0, 1))
            if self._projection is not None:
                kernel, unit = self._projection
                projected = tf.matmul(near, kernel)
                features.append(tf.sign(projected) * tf.math.log1p(tf.abs(projected)) * unit)
            encoded = tf.concat(features, axis=1)
        for kernel, bias, activation in self._layers:
            encoded = activation(tf.matmul(encoded, kernel) - bias)
        if self._regression is not None:
            kernel, bias = self._regression
            predictions = tf.matmul(_clip(standard, -FARTHEST, FARTHEST), kernel) - bias
            encoded = tf.concat([encoded, predictions], axis=1)
        return encoded


def _clip(value: tf.Tensor, low: float, high: float) -> tf.Tensor:
    least, most = (tf.constant(limit, value.dtype) for limit in (low, high))
    return tf.raw_ops.ClipByValue(t=value, clip_value_min=least, clip_value_max=most)
