"""What a `MaskedAutoregressiveFlow` calls: its network, what stands before it, and what becomes of its output.

A network's weights are read from a built `tfb.AutoregressiveNetwork` as they are, nothing assumed about its options.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from export.compiled.function_transform import read_function
from export.compiled.transforms import AffineTransform, ShiftTransform, SplineTransform, Transform
from export.errors import CompileError
from maf.routing import is_kind, networks_in

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class ReadConditioner:
    """The parts of a conditioner.

    Attributes:
      weights: of its network.
      encoder: maps the raw condition `[B, C]` to the network's `[B, E]`; `None` if the network takes it raw.
      transform: what the network's output does to a column.
    """

    weights: NetworkWeights
    encoder: Callable[[tf.Tensor], tf.Tensor] | None
    transform: Transform


def read_conditioner(bijector: Any) -> ReadConditioner:
    """Reads the conditioner of a `MaskedAutoregressiveFlow`.

    Known are `tfb.AutoregressiveNetwork`, the conditioners of `maf`, and functions (`shift_and_log_scale_fn` or
    `bijector_fn`) that call one such network with what they get, and make of its output for a column the transform of
    that column. What a function does is not read but tried.

    Raises:
      CompileError: if it is none of those.
    """
    if bijector._event_ndims != 1:
        raise CompileError(f"its events have {bijector._event_ndims} dimensions; expected 1")
    function = bijector._shift_and_log_scale_fn
    if is_kind(function, "AffineConditioner"):
        return ReadConditioner(
            read_network(function.network), function.encoder, AffineTransform(function.log_scale_bound)
        )
    if is_kind(bijector._bijector_fn, "SplineConditioner"):
        return _read_spline(bijector._bijector_fn)
    network = _find_network(function or bijector._bijector_fn)
    weights = read_network(network)
    if network is function and weights.num_parameters == 2:
        return ReadConditioner(weights, None, AffineTransform())
    for transform in (AffineTransform(), ShiftTransform()) if function else ():
        if _returns_output(function, network, shift_only=isinstance(transform, ShiftTransform)):
            return ReadConditioner(weights, None, transform)
    return ReadConditioner(weights, None, read_function(bijector, network))


def _read_spline(conditioner: Any) -> ReadConditioner:
    transform = SplineTransform(
        num_bins=conditioner.num_bins,
        spline_range=conditioner.spline_range,
        min_bin_share=conditioner.min_bin_share,
        min_slope=conditioner.min_slope,
        slope_offset=math.log(math.expm1(1 - conditioner.min_slope)),
        log_scale_bound=conditioner.log_scale_bound,
    )
    return ReadConditioner(read_network(conditioner.network), conditioner.encoder, transform)


def _find_network(function: Any) -> Any:
    """The one network that `function` is, or holds in its closure, its defaults or its attributes, or one it holds."""
    networks = list({id(network): network for network in networks_in(function)}.values())
    if len(networks) != 1:
        raise CompileError(f"its function holds {len(networks)} networks; expected one AutoregressiveNetwork")
    return networks[0]


def _returns_output(function: Any, network: Any, *, shift_only: bool) -> bool:
    """Whether `function` returns the network's parameters, on inputs of several magnitudes."""
    if network._params != (1 if shift_only else 2):
        return False
    rng = np.random.default_rng(0)
    magnitudes = np.array([0.1, 1.0, 10.0, 100.0])[:, np.newaxis]
    inputs = [tf.constant(rng.normal(size=(4, network._event_size)) * magnitudes, network.dtype)]
    kwargs = {}
    if network._conditional:
        condition = rng.normal(size=(4, network._conditional_size)) * magnitudes
        kwargs["conditional_input"] = tf.constant(condition, network.dtype)
    expected = tf.unstack(network(*inputs, **kwargs), axis=-1)
    came = function(*inputs, **kwargs)
    came = tf.unstack(came, axis=-1) if tf.is_tensor(came) else [part for part in came if part is not None]
    return len(came) == len(expected) and all(
        np.allclose(a, b, rtol=1e-6, atol=0) for a, b in zip(came, expected, strict=True)
    )


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
