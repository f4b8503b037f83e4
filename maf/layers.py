"""One named masked autoregressive layer: the piece that chains are made of."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import tf_keras
from tensorflow_probability import bijectors as tfb

from maf.conditioners import AffineConditioner, SplineConditioner
from maf.errors import ConfigError


def create_named_maf(
    name: str,
    hidden_units: Sequence[int],
    *,
    event_size: int = 1,
    condition_size: int = 1,
    activation: str = "sigmoid",
    input_order: str | Sequence[int] = "left-to-right",
    dtype: str = "float32",
    kernel_initializer: Any = "glorot_uniform",
) -> tfb.MaskedAutoregressiveFlow:
    """An affine masked autoregressive layer with a name of its own: by it `make_bijector_kwargs` routes the condition.

        bijector = tfb.Chain([create_named_maf(f"maf_{i}", [64, 64]) for i in range(5)])
        distribution = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros([1])), bijector)
        distribution.log_prob(x, bijector_kwargs=make_bijector_kwargs(bijector, {"conditional_input": c}))

    This is TFP's layer as it is, `tfb.MaskedAutoregressiveFlow(tfb.AutoregressiveNetwork(params=2))`, with its weights
    built. The layers of `build_flow` add an encoder for the condition, bounds and splines.

    Args:
      name: unique among the layers of a flow.
      hidden_units: sizes of the hidden layers.
      event_size: D, the size of `x`.
      condition_size: C, the size of `conditional_input`; 0 for an unconditional layer.
      activation: of the hidden units.
      input_order: autoregressive order of the event columns, as `tfb.AutoregressiveNetwork` takes it.
      dtype: floating-point type of weights, inputs and outputs.
      kernel_initializer: of the dense kernels.

    Returns:
      The bijector; `forward` maps z to x at the cost of D networks, `inverse` maps x to z at the cost of one.
    """
    network = build_network(
        hidden_units,
        num_parameters=2,
        event_size=event_size,
        condition_size=condition_size,
        activation=activation,
        input_order=input_order,
        dtype=dtype,
        kernel_initializer=kernel_initializer,
    )
    return tfb.MaskedAutoregressiveFlow(shift_and_log_scale_fn=network, name=check_name(name))


def build_network(
    hidden_units: Sequence[int],
    *,
    num_parameters: int,
    event_size: int,
    condition_size: int,
    activation: str,
    input_order: str | Sequence[int],
    dtype: str,
    kernel_initializer: Any,
) -> tfb.AutoregressiveNetwork:
    """A `tfb.AutoregressiveNetwork` with its weights built, all of `dtype`."""
    network = tfb.AutoregressiveNetwork(
        params=num_parameters,
        event_shape=[event_size],
        conditional=condition_size > 0,
        conditional_event_shape=[condition_size] if condition_size else None,
        hidden_units=list(hidden_units),
        activation=activation,
        input_order=input_order if isinstance(input_order, str) else list(input_order),
        kernel_initializer=kernel_initializer,
        dtype=dtype,
    )
    with _default_dtype(dtype):
        network.build([None, event_size])
    return network


@contextlib.contextmanager
def _default_dtype(dtype: str) -> Iterator[None]:
    """TFP gives the `Add` and `Activation` layers inside its network no dtype: they take the default."""
    before = tf_keras.backend.floatx()
    tf_keras.backend.set_floatx(dtype)
    try:
        yield
    finally:
        tf_keras.backend.set_floatx(before)


def maf_layer(name: str, conditioner: AffineConditioner | SplineConditioner) -> tfb.MaskedAutoregressiveFlow:
    """The layer of a conditioner of ours."""
    if isinstance(conditioner, AffineConditioner):
        return tfb.MaskedAutoregressiveFlow(shift_and_log_scale_fn=conditioner, name=check_name(name))
    return tfb.MaskedAutoregressiveFlow(bijector_fn=conditioner, name=check_name(name))


def check_name(name: str) -> str:
    """`name`, if it can be a layer's."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"layer name is {name!r}; expected a text of at least one character, unique in the flow")
    return name
