"""The part of a conditional flow that looks at the condition alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras


class ConditionEncoder(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """Standardises raw conditional columns and encodes them with a dense network, `[B, C]` to `[B, E]`.

    Two reasons to have one. Raw columns of any unit may come in: mean and standard deviation are part of the model.
    And TFP's `AutoregressiveNetwork` has no hidden unit that only the condition reaches, so that the parameters of the
    first event column, the only one if there is one, are linear in its `conditional_input`: what is not linear has to
    happen before it.

    All layers of a flow share one encoder.

    Attributes:
      loc, scale: `[C]`, mean and standard deviation of the conditional columns, not trained.
      layers: dense layers, `condition_units` wide; without any the encoder only standardises.
    """

    def __init__(
        self,
        loc: np.ndarray[Any, Any],
        scale: np.ndarray[Any, Any],
        units: Sequence[int],
        *,
        activation: str,
        dtype: str,
        kernel_initializer: Any,
    ) -> None:
        super().__init__(name="condition_encoder")
        self.loc = tf.Variable(loc, dtype=dtype, trainable=False, name="condition_loc")
        self.scale = tf.Variable(scale, dtype=dtype, trainable=False, name="condition_scale")
        self.layers = [
            tf_keras.layers.Dense(n, activation, kernel_initializer=kernel_initializer, dtype=dtype) for n in units
        ]
        size = len(loc)
        for layer in self.layers:
            layer.build([None, size])
            size = layer.units
        self.output_size = size

    def __call__(self, conditional_input: tf.Tensor) -> tf.Tensor:
        """Raw `conditional_input` `[..., C]` to its encoding `[..., E]`."""
        encoding = (conditional_input - self.loc) / self.scale
        for layer in self.layers:
            encoding = layer(encoding)
        return encoding
