"""The weights of a built `tfb.AutoregressiveNetwork`, as they are, with nothing assumed about its options."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from export.errors import CompileError

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class DenseWeights:
    """One dense layer: `inputs @ kernel + condition @ condition_kernel + bias`.

    Attributes:
      kernel: `[inputs, units]`, masked entries zero.
      condition_kernel: `[E, units]`, or `None` where the layer does not see the condition.
      bias: `[units]`; zeros where the layer has none.
    """

    kernel: Array
    condition_kernel: Array | None
    bias: Array


@dataclasses.dataclass(frozen=True, slots=True)
class NetworkWeights:
    """A network `x` `[B, D]` to parameters `[B, D, P]`.

    Attributes:
      layers: dense layers; outputs of the last are ordered event column by event column.
      activation: elementwise, between the layers.
      degrees: `[D]`, the place (1 to D) of each event column in the autoregressive order.
      num_parameters: P.
    """

    layers: tuple[DenseWeights, ...]
    activation: Callable[[tf.Tensor], tf.Tensor]
    degrees: Array
    num_parameters: int


def read_network(network: Any) -> NetworkWeights:
    """Reads a built network. Raises `CompileError` if its activation is not elementwise or its layers are unknown."""
    activation = tf_keras.activations.get(network._activation)
    if len(network._masks) > 1 and not _is_elementwise(activation, network.dtype):
        raise CompileError(f"activation {network._activation!r} of {network.name!r} mixes units")
    return NetworkWeights(
        layers=_read_layers(network),
        activation=activation,
        degrees=np.asarray(network._input_order),
        num_parameters=network._params,
    )


def _read_layers(network: Any) -> tuple[DenseWeights, ...]:
    """Follows the Keras graph from the event input: dense, perhaps plus the condition's dense, activation, ..."""
    model = network._network
    consumers: dict[int, list[Any]] = {}
    producers = {id(layer.output): layer for layer in model.layers}
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.InputLayer):
            continue
        for tensor in tf.nest.flatten(layer.input):
            consumers.setdefault(id(tensor), []).append(layer)
    condition = {id(tensor) for tensor in model.inputs[1:]}
    layers, tensor = [], model.inputs[0]
    while id(tensor) in consumers:
        (layer,) = consumers[id(tensor)]
        if isinstance(layer, tf_keras.layers.Dense):
            kernel = layer.kernel.numpy()
            bias = layer.bias.numpy() if layer.use_bias else np.zeros(kernel.shape[1], kernel.dtype)
            layers.append(DenseWeights(kernel, None, bias))
        elif isinstance(layer, tf_keras.layers.Add):
            (added,) = (producers[id(other)] for other in layer.input if other is not tensor)
            if id(added.input) not in condition or added.use_bias:
                raise CompileError(f"network {network.name!r} adds something that is not its condition")
            layers[-1] = dataclasses.replace(layers[-1], condition_kernel=added.kernel.numpy())
        elif not isinstance(layer, tf_keras.layers.Activation):
            raise CompileError(f"network {network.name!r} has a layer of type {type(layer).__name__}")
        tensor = layer.output
    return tuple(layers)


def _is_elementwise(activation: Callable[[tf.Tensor], tf.Tensor], dtype: str) -> bool:
    probe = np.random.default_rng(0).normal(size=(3, 5)).astype(dtype)
    whole = activation(tf.constant(probe)).numpy()
    singly = np.array([[activation(tf.constant([[value]], dtype)).numpy()[0, 0] for value in row] for row in probe])
    return whole.shape == probe.shape and np.allclose(whole, singly, rtol=1e-4, atol=1e-6)
