"""Where training starts: on which scale a column is, and at the identity or at a linear prediction."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras

from maf.condition_encoder import condition_encoders
from maf.layers import Conditioner

if TYPE_CHECKING:
    from maf.event_scales import Array

WEIGHT = 0.5  # of a prediction in its column's shift: weights decay, small ones less
LEAST_ERROR = 0.01  # deviations; a narrower start would make the first steps wild
PENALTIES = 10.0 ** np.arange(-4, 5)  # times the mean variance of the columns, for each row
CLEARLY = 0.1  # nats a row that the log scale has to gain
HEAVY = 30.0  # deviations of the column's middle; 50,000 draws of a normal reach 4, of Student's t with 4 degrees 20


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


@dataclasses.dataclass(frozen=True, slots=True)
class LinearFit:
    """Columns `y` `[N, D]` as linear functions of columns `c` `[N, C]`.

    Attributes:
      weights: `[C, D]`.
      intercept: `[D]`.
      error: `[D]`, root mean square error of each row's prediction by a fit to all others.
    """

    weights: Array
    intercept: Array
    error: Array


def fit_ridge(c: Array, y: Array) -> LinearFit:
    """Ridge regression, with the penalty of the least leave-one-out error for each column of `y`.

    Errors without one row each follow from the fit to all, `e_i / (1 - H_ii)`, and every penalty from one
    decomposition: `O(N C^2)` in all.

    Args:
      c: `[N, C]`, standardised; float64.
      y: `[N, D]`, float64.
    """
    loc, mean = c.mean(axis=0), y.mean(axis=0)
    variances, axes = np.linalg.eigh((c - loc).T @ (c - loc) / len(c))
    turned, centred = (c - loc) @ axes, y - mean
    products = turned.T @ centred / len(c)
    best = LinearFit(np.zeros((c.shape[1], y.shape[1])), mean, np.full(y.shape[1], np.inf))
    for penalty in PENALTIES * (float(variances.mean()) or 1.0):
        shrunk = 1 / (np.maximum(variances, 0) + penalty)
        leverage = (1 + (turned**2 * shrunk).sum(axis=1)) / len(c)
        turned_weights = shrunk[:, None] * products
        left_out = (centred - turned @ turned_weights) / np.maximum(1 - leverage, 1e-9)[:, None]
        error = np.sqrt((left_out**2).mean(axis=0))
        weights = axes @ turned_weights
        better = error < best.error
        best = LinearFit(
            np.where(better, weights, best.weights),
            np.where(better, mean - loc @ weights, best.intercept),
            np.where(better, error, best.error),
        )
    return best


def start_at_identity(distribution: Any) -> None:
    """Sets the output kernels of a new flow's networks to zero.

    Each layer is then the identity, whatever the condition, and the flow its base distribution with the moments of the
    training rows: no draw of the initial weights starts training far from the data.
    """
    for conditioner in distribution.bijector.submodules:
        if isinstance(conditioner, Conditioner):
            for kernel in _output_kernels(conditioner.network):
                kernel.assign(tf.zeros_like(kernel))


def _output_kernels(network: Any) -> list[tf.Variable]:
    """Of the last dense layers, on the hidden units and on the condition; Keras has the layers in the order of use."""
    kernels: list[tf.Variable] = []
    for layer in network._network.layers:
        if isinstance(layer, tf_keras.layers.Activation):
            kernels = []
        elif isinstance(layer, tf_keras.layers.Dense):
            kernels.append(layer.kernel)
    return kernels


def find_logarithmic(columns: Array, regressors: Array) -> tuple[int, ...]:
    """Which of the event columns `[N, D]` are better described by their logarithm.

    Both scales are judged by what training starts at: the likelihood, in raw units, of a normal whose mean is a ridge
    regression on the condition. A condition that explains why a column is skewed, or why it spans magnitudes, counts
    for the scale on which it explains it. Columns with a value at or below zero are none.

    Args:
      columns: float64.
      regressors: `[N, C]`, standardised condition of the same rows, C may be 0.
    """
    return tuple(
        index
        for index, column in enumerate(columns.T)
        if (column > 0).all() and normal_cost(column, regressors) - _log_cost(column, regressors) > CLEARLY
    )


def _log_cost(column: Array, regressors: Array) -> float:
    logs = np.log(column)
    return normal_cost(logs, regressors) + float(logs.mean())


def normal_cost(column: Array, regressors: Array) -> float:
    """NLL of a normal around the regression of a column `[N]`, nats a row, but for what all columns have in common."""
    deviation = float(column.std())
    if deviation == 0:
        return -np.inf
    standard = (column - column.mean()) / deviation
    error = fit_ridge(regressors, standard[:, np.newaxis]).error[0] if regressors.shape[1] else 1.0
    return float(np.log(deviation) + np.log(max(error, LEAST_ERROR)))


def find_heavy_tails(columns: Array) -> tuple[tuple[int, ...], Array, Array]:
    """Which of the event columns `[N, D]` have heavy tails, and the median and deviation of each column's middle.

    The deviation is that of a normal with the same interquartile range. Where half of a column is one value there is no
    middle to measure by, and the column counts as not heavy-tailed.
    """
    low, median, high = np.quantile(columns, [0.25, 0.5, 0.75], axis=0)
    middle = (high - low) / 1.349
    farthest = np.abs(columns - median).max(axis=0)
    heavy = (middle > 0) & (farthest > HEAVY * middle)
    return tuple(np.flatnonzero(heavy).tolist()), median, middle
