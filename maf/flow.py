"""From a `FlowConfig` to the TFP distribution it describes, and the sizes that nobody chose.

Sizes and regularisation follow from the number of rows and columns. The rules come from tables of 400 to 100,000 rows,
with one to eight event columns and up to thirteen conditional ones, where each was changed alone and judged by
validation rows. What they have in common: few rows want strong regularisation and many passes, many rows want a wider
network, fewer passes and no dropout.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from maf.condition_encoder import ConditionBins, ConditionEncoder
from maf.errors import ConfigError
from maf.event_scales import BoundedScale, HeavyTails, Logarithmic
from maf.layers import AffineConditioner, SplineConditioner, build_network, maf_layer
from maf.standardization import Standardization

if TYPE_CHECKING:
    from maf.config import FlowConfig, TrainingConfig

T = TypeVar("T")
TYPICAL_ROWS = 50_000  # where nobody says how many there are
FEW_ROWS = 3_000
MANY_ROWS = 20_000
COLUMN_SHRINKAGE = 0.03
ROWS_WITHOUT_DROPOUT = 60_000
PROJECTIONS = 64
ROWS_FOR_PROJECTIONS = 5_000  # of several event columns, whose relations to the condition are many; of one, many rows
MOST_FINE = 3  # event columns of a flow with finer splines
FEWEST_STEPS = 10_000  # that these take
MOST_EPOCHS = 200
MOST_BINS = 512  # of all conditional columns that are numbers together


def size_flow(config: FlowConfig, rows: int) -> FlowConfig:
    """`config` with nothing automatic left, for a table of `rows` training rows.

    One event column needs few layers, since a spline is as flexible as it has bins and all else is in the condition's
    network. Several columns need layers in both orders, two or three also finer splines if there are rows for them.
    """
    columns = config.condition_size
    projected = config.numbers if config.projected_columns is None else config.projected_columns
    width = min(128 if rows < FEW_ROWS else 256, {0: 64, 1: 64, 2: 128}.get(columns, 256))
    depth = 2 if rows < MANY_ROWS or columns < 3 else 3
    enough = MANY_ROWS if config.event_size == 1 else ROWS_FOR_PROJECTIONS
    automatic: dict[str, Any] = {
        "num_bins": 16 if _is_fine(config.event_size, rows) else 8,
        "num_layers": (1 if rows < FEW_ROWS else 2) if config.event_size == 1 else 4,
        "condition_units": (width,) * depth,
        "condition_bins": next((bins for bins in (32, 16, 8) if bins * config.num_numbers <= MOST_BINS), 4),
        "condition_projections": PROJECTIONS if rows >= enough and len(projected) > 1 else 0,
        "bounded": (),
        "heavy_tailed": (),
        "logarithmic": (),
        "number_columns": config.numbers,
        "projected_columns": projected,
    }
    return dataclasses.replace(config, **_missing(config, automatic))


def size_training(config: TrainingConfig, rows: int, *, event_size: int, condition_size: int) -> TrainingConfig:
    """`config` with nothing automatic left, for a table of `rows` training rows and so many columns."""
    limits = ((2_000, 128), (MANY_ROWS, 256), (1_000_000, 512))
    batch_size = config.batch_size or next((size for limit, size in limits if rows < limit), 1_024)
    passes = round(8_000 / math.sqrt(rows))
    if _is_fine(event_size, rows):
        passes = max(passes, math.ceil(FEWEST_STEPS * batch_size / rows))
    epochs = config.max_epochs or min(MOST_EPOCHS, max(8, passes))
    automatic: dict[str, Any] = {
        "batch_size": batch_size,
        "max_epochs": epochs,
        "patience": max(10, epochs // 3),
        "weight_decay": min(2.0, 50 / math.sqrt(rows)),
        "column_shrinkage": COLUMN_SHRINKAGE if rows >= MANY_ROWS else 0.0,
        "unrelated_columns": (),
        "dropout": 0.1 if condition_size >= 3 and rows < ROWS_WITHOUT_DROPOUT else 0.0,
    }
    return dataclasses.replace(config, **_missing(config, automatic))


def size_all(flow: FlowConfig, training: TrainingConfig, rows: int) -> tuple[FlowConfig, TrainingConfig]:
    """Both with nothing automatic left, for a table of `rows` training rows."""
    sizes = {"event_size": flow.event_size, "condition_size": flow.condition_size}
    return size_flow(flow, rows), size_training(training, rows, **sizes)


def _is_fine(event_size: int, rows: int) -> bool:
    """Whether columns are few, and rows many, enough for finer splines."""
    return 1 < event_size <= MOST_FINE and rows >= MANY_ROWS


def chosen(value: T | None) -> T:
    """`value` of an option that is no longer automatic."""
    if value is None:
        raise ConfigError("an option is still automatic; size_flow and size_training set them from the rows")
    return value


def _missing(config: FlowConfig | TrainingConfig, automatic: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in automatic.items() if getattr(config, name) is None}


def build_flow(
    config: FlowConfig,
    *,
    standardization: Standardization | None = None,
    bins: ConditionBins | None = None,
    seed: int = 0,
) -> tfd.TransformedDistribution:
    """The distribution p(x | c) of `config`, with new weights.

        >>> flow = build_flow(FlowConfig(event_size=2, condition_size=1, num_layers=2))
        >>> log_prob(flow, x, c).shape
        TensorShape([3])
        >>> flow.sample(3, bijector_kwargs=make_bijector_kwargs(flow.bijector, {"conditional_input": c})).shape
        TensorShape([3, 2])

    From raw x to base space z: take columns with bounds to an unbounded scale and logarithmic ones to a log scale,
    standardise, take heavy-tailed columns to an asinh scale, then `num_layers` autoregressive layers, each named and,
    if `condition_size > 0`, each to be given the raw `conditional_input` `[B, C]` through `make_bijector_kwargs`.

    Args:
      config: what to build; `config.input_orders` decides the orders if it is there, else `config.order`.
      standardization: means and standard deviations of raw x and c; `None` for data that are standard already, or
        for weights that will be loaded.
      bins: of the conditional columns; `None` for bins of normal columns, or for weights that will be loaded.
      seed: of the initial weights and of random orders.

    Returns:
      Density in raw units of x, nats. `log_prob` costs one network per layer, `sample` D networks per layer.
    """
    config = resolve(config, seed=seed)
    standardization = standardization or _of_standard_data(config.event_size, config.condition_size)
    initializer = _glorot_uniform(np.random.default_rng(seed))
    encoder = _build_encoder(config, standardization, bins, initializer) if config.condition_size else None
    layers = [
        maf_layer(f"maf_{i}", _build_conditioner(config, order, encoder, initializer))
        for i, order in enumerate(config.input_orders or ())
    ]
    loc = tf.Variable(standardization.event_loc, dtype=config.dtype, trainable=False, name="event_loc")
    scale = tf.Variable(standardization.event_scale, dtype=config.dtype, trainable=False, name="event_scale")
    bounds = [BoundedScale(config.bounded, config.event_size)] if config.bounded else []
    logs = [Logarithmic(config.logarithmic, config.event_size)] if config.logarithmic else []
    tails = [HeavyTails(config.heavy_tailed, config.event_size)] if config.heavy_tailed else []
    affine = [tfb.Shift(loc, name="event_loc"), tfb.Scale(scale, name="event_scale")]
    bijector = tfb.Chain([*bounds, *logs, *affine, *tails, *layers], name="flow")
    return tfd.TransformedDistribution(_build_base(config, seed), bijector, name="maf")


def resolve(config: FlowConfig, *, seed: int, rows: int = TYPICAL_ROWS) -> FlowConfig:
    """`config` with sizes and `input_orders` written out, so that it means the same model for ever.

    Args:
      config: may leave sizes to be automatic.
      seed: of random orders.
      rows: number of training rows, which automatic sizes depend on.
    """
    config = size_flow(config, rows)
    if config.input_orders is not None:
        return config
    forwards = tuple(range(1, config.event_size + 1))
    if config.order == "random":
        rng = np.random.default_rng(seed)
        orders = [tuple(rng.permutation(forwards).tolist()) for _ in range(chosen(config.num_layers))]
    else:
        backwards = forwards[::-1] if config.order == "reverse" else forwards
        orders = [backwards if i % 2 else forwards for i in range(chosen(config.num_layers))]
    return dataclasses.replace(config, input_orders=tuple(orders))


def _of_standard_data(event_size: int, condition_size: int) -> Standardization:
    return Standardization(
        event_loc=np.zeros(event_size),
        event_scale=np.ones(event_size),
        condition_loc=np.zeros(condition_size),
        condition_scale=np.ones(condition_size),
    )


def _build_encoder(
    config: FlowConfig, standardization: Standardization, bins: ConditionBins | None, initializer: Any
) -> ConditionEncoder:
    num_bins = config.condition_bins if config.num_numbers else 0
    if num_bins and bins is None:
        bins = ConditionBins.normal(standardization, num_bins, config.number_columns)
    return ConditionEncoder(
        standardization.condition_loc,
        standardization.condition_scale,
        chosen(config.condition_units),
        activation=config.activation,
        dtype=config.dtype,
        kernel_initializer=initializer,
        bins=bins if num_bins else None,
        number_columns=config.number_columns,
        num_projections=chosen(config.condition_projections),
        projected_columns=config.projected_columns,
        num_regressions=config.event_size if config.regression == "on" else 0,
    )


def _build_conditioner(
    config: FlowConfig, order: tuple[int, ...], encoder: ConditionEncoder | None, initializer: Any
) -> AffineConditioner | SplineConditioner:
    spline = config.transform == "spline"
    network = build_network(
        # with one event column no hidden unit reaches the output: only the encoding of the condition does
        config.hidden_units if config.event_size > 1 else (),
        num_parameters=SplineConditioner.num_parameters(chosen(config.num_bins)) if spline else 2,
        event_size=config.event_size,
        condition_size=encoder.output_size if encoder else 0,
        activation=config.activation,
        input_order=order,
        dtype=config.dtype,
        kernel_initializer=initializer,
    )
    if not spline:
        return AffineConditioner(network, encoder, log_scale_bound=config.log_scale_bound)
    return SplineConditioner(
        network,
        encoder,
        log_scale_bound=config.log_scale_bound,
        num_bins=chosen(config.num_bins),
        spline_range=config.spline_range,
    )


def _build_base(config: FlowConfig, seed: int) -> tfd.Distribution:
    """The base distribution over z `[D]`: independent standard normals, or a trained mixture of diagonal normals."""
    dtype = tf.as_dtype(config.dtype)
    if config.base == "normal":
        return tfd.Sample(tfd.Normal(tf.zeros([], dtype), tf.ones([], dtype)), sample_shape=[config.event_size])
    shape = (config.mixture_components, config.event_size)
    locs = np.random.default_rng(seed).normal(size=shape)
    scale = tfp.util.TransformedVariable(tf.ones(shape, dtype), tfb.Softplus(), name="mixture_scale")
    return tfd.MixtureSameFamily(
        tfd.Categorical(logits=tf.Variable(tf.zeros(shape[0], dtype), name="mixture_logits")),
        tfd.MultivariateNormalDiag(tf.Variable(locs, dtype=dtype, name="mixture_loc"), scale),
    )


def _glorot_uniform(rng: np.random.Generator) -> Any:
    """Glorot's uniform initializer on a generator of its own, so that every kernel differs and a seed decides all."""

    def initialize(shape: Any, dtype: Any = None, **_: Any) -> tf.Tensor:
        limit = np.sqrt(6 / sum(shape))
        return tf.constant(rng.uniform(-limit, limit, shape), dtype=dtype)

    return initialize
