"""One named masked autoregressive layer, and the conditioner that it calls: the piece that chains are made of.

A conditioner is what `tfb.MaskedAutoregressiveFlow` calls with `x` and `conditional_input`. They are objects, not
closures, so that an exporter can read what they hold: `network` (a `tfb.AutoregressiveNetwork`), `encoder` and the
constants of the transform.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_probability import bijectors as tfb

from maf.errors import ConfigError
from maf.spline import share_of_width

if TYPE_CHECKING:
    from maf.condition_encoder import ConditionEncoder


def create_named_maf(
    name: str,
    hidden_units: Sequence[int],
    *,
    event_size: int | None = None,
    condition_size: int | None = None,
    event_shape: int | Sequence[int] | None = None,
    conditional_event_shape: int | Sequence[int] | None = None,
    activation: str = "sigmoid",
    input_order: str | Sequence[int] = "left-to-right",
    dtype: str = "float32",
    kernel_initializer: Any = "glorot_uniform",
) -> tfb.MaskedAutoregressiveFlow:
    """An affine masked autoregressive layer with a name of its own: by it `make_bijector_kwargs` routes the condition.

        >>> bijector = tfb.Chain([create_named_maf(f"maf_{i}", [64, 64], event_size=2) for i in range(5)])
        >>> distribution = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros([2])), bijector)
        >>> x, c = tf.zeros([3, 2]), tf.constant([[0.1], [0.2], [0.3]])
        >>> kwargs = make_bijector_kwargs(bijector, {"conditional_input": c})
        >>> distribution.log_prob(x, bijector_kwargs=kwargs).shape
        TensorShape([3])

    This is TFP's layer as it is, `tfb.MaskedAutoregressiveFlow(tfb.AutoregressiveNetwork(params=2))`, with its weights
    built. The layers of `build_flow` add an encoder for the condition, bounds and splines.

    Args:
      name: unique among the layers of a flow.
      hidden_units: sizes of the hidden layers.
      event_size: D, the size of `x`; 1 by default.
      condition_size: C, the size of `conditional_input`; 1 by default, 0 for an unconditional layer.
      event_shape: D as `tfb.AutoregressiveNetwork` takes it, `[D]` or D, in place of `event_size`.
      conditional_event_shape: the same for C, in place of `condition_size`.
      activation: of the hidden units.
      input_order: autoregressive order of the event columns, as `tfb.AutoregressiveNetwork` takes it.
      dtype: floating-point type of weights, inputs and outputs.
      kernel_initializer: of the dense kernels.

    Returns:
      The bijector; `forward` maps z to x at the cost of D networks, `inverse` maps x to z at the cost of one.

    Raises:
      ConfigError: a shape is not one of a vector, or comes beside the size.
    """
    network = build_network(
        hidden_units,
        num_parameters=2,
        event_size=_size("event_shape", event_shape, "event_size", event_size),
        condition_size=_size("conditional_event_shape", conditional_event_shape, "condition_size", condition_size),
        activation=activation,
        input_order=input_order,
        dtype=dtype,
        kernel_initializer=kernel_initializer,
    )
    return tfb.MaskedAutoregressiveFlow(shift_and_log_scale_fn=network, name=check_layer_name(name))


def _size(shape_name: str, shape: int | Sequence[int] | None, size_name: str, size: int | None) -> int:
    if shape is None:
        return 1 if size is None else size
    if size is not None:
        raise ConfigError(f"{shape_name} {shape} and {size_name} {size} both came; expected one of them")
    sizes = [shape] if isinstance(shape, int) else list(shape)
    if len(sizes) != 1:
        raise ConfigError(f"{shape_name} is {sizes}; expected that of a vector, such as [{len(sizes) or 1}]")
    return int(sizes[0])


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
        return tfb.MaskedAutoregressiveFlow(shift_and_log_scale_fn=conditioner, name=check_layer_name(name))
    return tfb.MaskedAutoregressiveFlow(bijector_fn=conditioner, name=check_layer_name(name))


def check_layer_name(name: str) -> str:
    """`name`, if it can be a layer's."""
    if not isinstance(name, str) or not name:
        raise ConfigError(f"layer name is {name!r}; expected a text of at least one character, unique in the flow")
    return name


class Conditioner(tf.Module):  # type: ignore[misc]  # TensorFlow is untyped
    """An autoregressive network behind a condition encoder: `x` `[B, D]` and `c` `[B, C]` to parameters `[B, D, P]`.

    Attributes:
      network: `tfb.AutoregressiveNetwork` with P parameters per event column.
      encoder: encodes the condition for the network, or `None` for an unconditional flow.
      log_scale_bound: log-scales lie in `(-b, b)`, by `b tanh(./b)`: no layer can scale by more than `exp(b)`.
    """

    def __init__(
        self, network: tfb.AutoregressiveNetwork, encoder: ConditionEncoder | None, *, log_scale_bound: float
    ) -> None:
        super().__init__()
        self.network = network
        self.encoder = encoder
        self.log_scale_bound = log_scale_bound

    @property
    def conditional(self) -> bool:
        """Whether the conditioner needs `conditional_input`."""
        return self.encoder is not None

    def parameters(self, x: tf.Tensor, conditional_input: tf.Tensor | None) -> tf.Tensor:
        """The network's output `[B, D, P]`."""
        if self.encoder is None:
            return self.network(x)
        return self.network(x, conditional_input=self.encoder(conditional_input))

    def bounded(self, log_scale: tf.Tensor) -> tf.Tensor:
        """`log_scale` pressed into `(-log_scale_bound, log_scale_bound)`."""
        return self.log_scale_bound * tf.tanh(log_scale / self.log_scale_bound)


class AffineConditioner(Conditioner):
    """`shift_and_log_scale_fn` of an affine layer, `x = shift + exp(log_scale) z` (Papamakarios et al. 2017, eq. 3).

    Reference: https://arxiv.org/abs/1705.07057
    """

    num_parameters = 2

    def __call__(self, x: tf.Tensor, conditional_input: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """`shift` and `log_scale`, each `[B, D]`."""
        shift, log_scale = tf.unstack(self.parameters(x, conditional_input), num=2, axis=-1)
        return shift, self.bounded(log_scale)


class SplineConditioner(Conditioner):
    """`bijector_fn` of a spline layer, `x = shift + exp(log_scale) spline(z)`.

    The monotonic rational-quadratic spline (Durkan et al. 2019, section 3) gives the density its shape and the affine
    part its place and width, so that a narrow p(x | c) does not have to fit between two knots. Parameters per event
    column: K widths, K heights, K - 1 slopes, shift, log-scale.

    Reference: https://arxiv.org/abs/1906.04032

    Attributes:
      num_bins: K.
      spline_range: r; the spline maps `[-r, r]` to itself and is the identity outside.
    """

    min_bin_share = 1e-3  # of the whole range, for each bin
    min_slope = 1e-3

    def __init__(
        self,
        network: tfb.AutoregressiveNetwork,
        encoder: ConditionEncoder | None,
        *,
        log_scale_bound: float,
        num_bins: int,
        spline_range: float,
    ) -> None:
        super().__init__(network, encoder, log_scale_bound=log_scale_bound)
        self.num_bins = num_bins
        self.spline_range = spline_range

    @staticmethod
    def num_parameters(num_bins: int) -> int:
        """P for splines of `num_bins` bins."""
        return 3 * num_bins + 1

    def __call__(self, x: tf.Tensor, conditional_input: tf.Tensor | None = None) -> tfb.Bijector:
        """A bijector of batch shape `[B, D]` and scalar events."""
        bins = self.num_bins
        widths, heights, slopes, shift, log_scale = tf.split(
            self.parameters(x, conditional_input), [bins, bins, bins - 1, 1, 1], axis=-1
        )
        spline = tfb.RationalQuadraticSpline(
            self._bins(widths), self._bins(heights), self._slopes(slopes), range_min=-self.spline_range
        )
        scale = tfb.Scale(log_scale=self.bounded(log_scale[..., 0]))
        return tfb.Chain([tfb.Shift(shift[..., 0]), scale, spline])

    def inverse(self, x: tf.Tensor, conditional_input: tf.Tensor | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """The bijector's `inverse` of `x`, `[B, D]`, and its log-derivative of each column, `[B, D]`.

        The same numbers in a sixth of the operations, and with no gather, whose gradient is a scatter: training takes
        this way. Beyond the range the spline is the identity: the value at its end, and what is beyond. The slope at an
        inner knot, which may be enormous there, must have no say: both slopes of the bin are 1 then.
        """
        bins = self.num_bins
        sizes, slopes, shift, log_scale = tf.split(
            self.parameters(x, conditional_input), [2 * bins, bins - 1, 1, 1], axis=-1
        )
        log_scale = self.bounded(log_scale[..., 0])
        y = (x - shift[..., 0]) * tf.exp(-log_scale)
        inside = tf.clip_by_value(y, -self.spline_range, self.spline_range)
        shares = tf.nn.softmax(tf.reshape(sizes, tf.concat([tf.shape(x), [2, bins]], axis=0)))
        lows, spans = tf.split(tf.tensordot(shares, self._sums(x.dtype), 1) + self._least(x.dtype), 2, axis=-1)
        above = tf.cast(inside[..., tf.newaxis] >= lows[..., 1, 1:], x.dtype)  # which inner knots are reached
        reached = tf.pad(above, [[0, 0], [0, 0], [1, 0]], constant_values=1)
        here = reached - tf.pad(above, [[0, 0], [0, 0], [0, 1]])  # 1 in the value's bin, else 0
        x_low, y_low = tf.unstack(tf.reduce_sum(lows * here[..., tf.newaxis, :], axis=-1), num=2, axis=-1)
        width, height = tf.unstack(tf.reduce_sum(spans * here[..., tf.newaxis, :], axis=-1), num=2, axis=-1)
        slopes = tf.pad(self._slopes(slopes), [[0, 0], [0, 0], [1, 1]], constant_values=1)
        steepness = width / height
        beyond = tf.not_equal(y, inside)
        low, high = (
            steepness * tf.where(beyond, tf.ones_like(y), tf.reduce_sum(slope * here, axis=-1))
            for slope in (slopes[..., :-1], slopes[..., 1:])
        )
        share, derivative = share_of_width((inside - y_low) / height, low, high)
        return x_low + share * width + (y - inside), tf.math.log(steepness * derivative) - log_scale

    def _sums(self, dtype: tf.DType) -> tf.Tensor:
        """`[K, 2 K]`: makes of shares where bins begin, and their sizes."""
        both = np.concatenate([np.triu(np.ones((self.num_bins, self.num_bins)), 1), np.eye(self.num_bins)], axis=1)
        return tf.constant(2 * self.spline_range * (1 - self.num_bins * self.min_bin_share) * both, dtype)

    def _least(self, dtype: tf.DType) -> tf.Tensor:
        """`[2 K]`: what every share adds to these, and where the range begins."""
        least = 2 * self.spline_range * self.min_bin_share
        starts = least * np.arange(self.num_bins) - self.spline_range
        return tf.constant(np.concatenate([starts, np.full(self.num_bins, least)]), dtype)

    def _bins(self, logits: tf.Tensor) -> tf.Tensor:
        """Bin sizes that sum to `2 r`, none below its share."""
        shares = self.min_bin_share + (1 - self.num_bins * self.min_bin_share) * tf.nn.softmax(logits)
        return 2 * self.spline_range * shares

    def _slopes(self, logits: tf.Tensor) -> tf.Tensor:
        """Positive slopes at the inner knots; 1 where the logit is 0, so that a new layer is near the identity."""
        return self.min_slope + tf.nn.softplus(logits + math.log(math.expm1(1 - self.min_slope)))
