"""Inside a bin of a monotonic rational-quadratic spline: what training and the exported graph both compute.

Shares of a bin's width and height, and slopes at its ends in units of the bin's own. Durkan et al. 2019, Neural Spline
Flows, https://arxiv.org/abs/1906.04032, appendix A, in these units.
"""

from __future__ import annotations

import tensorflow as tf


def share_of_width(t: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The share of a bin's width below where `t` of its height is, and the derivative of the share by `t`.

    With `m = low + high - 2`, of the slopes at the bin's lower and upper end:

        t = (share^2 + low share (1 - share)) / (1 + m share (1 - share))
        share = 2 t / (b + root),  b = low - m t,  root = sqrt((b - 2 t)^2 + 4 t (1 - t)) = d t / d share (1 + m ...)

    The discriminant as a sum of squares has nothing that cancels.
    """
    m = low + high - 2
    b = low - m * t
    double = t + t
    root = tf.sqrt(tf.square(b - double) + double * (2 - double))
    share = tf.minimum(double / (b + root), 1)  # rounding takes a share near 1 beyond it where slopes are enormous
    return share, (1 + m * (share * (1 - share))) / root


def share_of_height(share: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The inverse of `share_of_width`: `t` and its derivative by `share`."""
    rest = 1 - share
    product, square = share * rest, share * share
    denominator = 1 + (low + high - 2) * product
    derivative = (high * square + low * (rest * rest) + (product + product)) / (denominator * denominator)
    return (square + low * product) / denominator, derivative
