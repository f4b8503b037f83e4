"""Where training starts if the encoding of the condition has a linear prediction of each event column: at it."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from maf.conditioners import Conditioner
from maf.likelihood import condition_encoders
from maf.ridge import fit_ridge

Array = np.ndarray[Any, Any]
WEIGHT = 0.5  # of a prediction in its column's shift: weights decay, small ones less
LEAST_ERROR = 0.01  # deviations; a narrower start would make the first steps wild


def start_at_regression(distribution: Any, x: Array, conditional_input: Array) -> None:
    """Makes a new flow, which is at the identity, the linear regression of each event column on the condition.

    The encoder gets the regressions, and the layer next to the data has them as its shift and their error as its scale.
    What is left for training to learn is where the columns are not that. Tables of few rows are won there: what a
    network learns of a line from 400 rows is worse than the line. Nothing changes if the encoder has no place for
    regressions.

    Args:
      distribution: of `build_flow`, after `start_at_identity`.
      x: `[N, D]`, training rows in raw units.
      conditional_input: `[N, C]`, of the same rows.
    """
    (encoder,) = condition_encoders(distribution) or (None,)
    kernel, bias = (encoder.regression_kernel, encoder.regression_bias) if encoder is not None else (None, None)
    if encoder is None or kernel is None or bias is None:
        return
    *before, layer = _up_to_first_layer(distribution.bijector)
    standard = tf.constant(x, distribution.dtype)
    for bijector in before:
        standard = bijector.inverse(standard)
    entries = encoder.standardized(tf.constant(conditional_input, distribution.dtype))
    fit = fit_ridge(np.asarray(entries, np.float64), np.asarray(standard, np.float64))
    kernel.assign(fit.weights / WEIGHT)
    bias.assign(fit.intercept / WEIGHT)
    (conditioner,) = (module for module in layer.submodules if isinstance(module, Conditioner))
    _take_predictions(conditioner, np.log(np.clip(fit.error, LEAST_ERROR, None)))


def _up_to_first_layer(chain: Any) -> list[Any]:
    """The bijectors from the data on, as far as the first autoregressive layer."""
    found: list[Any] = []
    for bijector in chain.bijectors:
        found.append(bijector)
        if any(isinstance(module, Conditioner) for module in bijector.submodules):
            break
    return found


def _take_predictions(conditioner: Conditioner, log_scale: Array) -> None:
    """Each column's prediction, of the last D entries of the encoding, becomes its shift."""
    on_condition, on_x = _output_layers(conditioner.network)
    size = len(log_scale)
    parameters = (size, -1)  # [D, P]; of each column, the last two are shift and log-scale
    kernel = on_condition.kernel.numpy()
    by_column = kernel.reshape(len(kernel), *parameters)
    by_column[-size:, :, -2] = WEIGHT * np.eye(size)
    on_condition.kernel.assign(by_column.reshape(kernel.shape))
    bias, bound = on_x.bias.numpy().reshape(parameters), conditioner.log_scale_bound
    bias[:, -1] = bound * np.arctanh(np.clip(log_scale / bound, -0.99, 0.99))
    on_x.bias.assign(bias.reshape(-1))


def _output_layers(network: Any) -> tuple[Any, Any]:
    """The last dense layers, that on the condition, which has no bias, and that on the hidden units."""
    last = [layer for layer in network._network.layers if isinstance(layer, tf_keras.layers.Dense)][-2:]
    (on_condition,) = (layer for layer in last if not layer.use_bias)
    (on_x,) = (layer for layer in last if layer.use_bias)
    return on_condition, on_x
