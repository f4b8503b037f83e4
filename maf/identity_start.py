"""Where training starts: at the identity."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
import tf_keras

from maf.conditioners import Conditioner


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
