"""What a `MaskedAutoregressiveFlow` calls: its network, what stands before it, and what becomes of its output."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from export.builder import is_kind
from export.compiled.function_transform import read_function
from export.compiled.network_weights import NetworkWeights, read_network
from export.compiled.transforms import AffineTransform, ShiftTransform, SplineTransform, Transform
from export.errors import CompileError
from maf.routing import networks_in


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
