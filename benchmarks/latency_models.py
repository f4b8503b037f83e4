"""SavedModels whose latency is compared: an empty one, the exported functions, TFP's graph, a straight line of ops."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from benchmarks.case import LAYERS, Case
from benchmarks.tfp_flow import build_flow as build_affine
from export.base_sampler import make_base_sampler
from export.compiled.compile_density import compile_density
from export.serving_module import ServingFunctions, trace, write_saved_model
from export.signatures import make_signatures
from maf.config import FlowConfig
from maf.flow import build_flow as build_spline
from maf.routing import make_bijector_kwargs

if TYPE_CHECKING:
    from tensorflow_probability import distributions as tfd

QUANTITIES = ("log_prob", "sample_with_seed")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A flow of five layers: affine ones of TFP with relu units, or our splines of 8 bins behind a raw condition."""

    transform: str
    event_size: int
    condition_size: int
    hidden: int

    def __str__(self) -> str:
        return f"{self.transform} D={self.event_size} C={self.condition_size} H={self.hidden}"


SHAPES = tuple(
    Shape(transform=transform, event_size=d, condition_size=c, hidden=h)
    for transform in ("affine", "spline")
    for d, c, h in ((2, 3, 64), (8, 4, 64), (64, 16, 512))
)


def write_models(shape: Shape, folder: Path) -> dict[str, Path]:
    """Writes the SavedModels of a shape, of equal weights where they have any; their directories by contender.

    All have the signatures `QUANTITIES`. A straight line is there for affine layers only, and for `log_prob`.
    """
    distribution = build(shape)
    writers: dict[str, Callable[[], Mapping[str, Any]]] = {
        "empty": lambda: _empty(shape),
        "exported": lambda: _exported(shape, distribution),
        "tfp": lambda: _tfp(shape, distribution),
        "tfp_xla": lambda: _tfp(shape, distribution, jit_compile=True),
    }
    if shape.transform == "affine":
        kernels = _kernels(shape)  # held until they are written
        writers["straight"] = lambda: _straight(shape, kernels)
    paths = {}
    for name, functions in writers.items():
        paths[name] = folder / f"{shape}-{name}".replace(" ", "-")
        if not paths[name].exists():
            write_saved_model(functions(), paths[name])
    return paths


def build(shape: Shape) -> tfd.TransformedDistribution:
    """The distribution; the same weights at each call."""
    if shape.transform == "affine":
        sizes = {"event_size": shape.event_size, "condition_size": shape.condition_size, "hidden": shape.hidden}
        return build_affine(Case(**sizes, batch=1))
    config = FlowConfig(
        event_size=shape.event_size,
        condition_size=shape.condition_size,
        num_layers=LAYERS,
        hidden_units=(shape.hidden, shape.hidden),
        condition_units=(),
        condition_bins=0,
        condition_projections=0,
        num_bins=8,
    )
    return build_spline(config)


def inputs(shape: Shape, rows: int) -> dict[str, np.ndarray[Any, Any]]:
    """Rows for either signature."""
    rng = np.random.default_rng(0)
    return {
        "x": rng.normal(size=(rows, shape.event_size)).astype(np.float32),
        "conditional_input": rng.normal(size=(rows, shape.condition_size)).astype(np.float32),
        "seed": rng.integers(2**62, size=rows),
    }


def _exported(shape: Shape, distribution: Any) -> Mapping[str, Any]:
    wanted = make_signatures(
        event_size=shape.event_size,
        condition_size=shape.condition_size,
        dtype="float32",
        sampling=("sample_with_seed",),
    )
    functions = ServingFunctions(compile_density(distribution), make_base_sampler(distribution.distribution))
    return trace(functions, {name: wanted[name] for name in QUANTITIES})


def _tfp(shape: Shape, distribution: Any, **options: Any) -> Mapping[str, Any]:
    def kwargs(condition: tf.Tensor) -> Mapping[str, Any]:
        return make_bijector_kwargs(distribution.bijector, {"conditional_input": condition})

    def log_prob(x: tf.Tensor, conditional_input: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return {"log_prob": distribution.log_prob(x, bijector_kwargs=kwargs(conditional_input))}

    def sample(conditional_input: tf.Tensor, seed: tf.Tensor) -> Mapping[str, tf.Tensor]:
        rows = tf.shape(seed)[0]
        x = distribution.sample(rows, seed=tf.constant([0, 1], tf.int32), bijector_kwargs=kwargs(conditional_input))
        return {"x": tf.ensure_shape(x, [None, shape.event_size])}

    return _traced(shape, log_prob, sample, **options)


def _empty(shape: Shape) -> Mapping[str, Any]:
    def log_prob(x: tf.Tensor, conditional_input: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return {"log_prob": x[:, 0] + conditional_input[:, 0]}

    def sample(conditional_input: tf.Tensor, seed: tf.Tensor) -> Mapping[str, tf.Tensor]:
        x = tf.cast(seed, tf.float32)[:, tf.newaxis] + conditional_input
        return {"x": x[:, : shape.event_size], "log_prob": x[:, 0]}

    return _traced(shape, log_prob, sample)


def _kernels(shape: Shape) -> list[list[tf.Variable]]:
    """For each layer of the flow, kernel and bias of three dense layers."""
    rng = np.random.default_rng(0)
    inputs, hidden, outputs = shape.event_size + shape.condition_size, shape.hidden, 2 * shape.event_size
    shapes = ((inputs, hidden), (hidden,), (hidden, hidden), (hidden,), (hidden, outputs), (outputs,))
    return [[tf.Variable(0.1 * rng.normal(size=s), dtype=tf.float32) for s in shapes] for _ in range(LAYERS)]


def _straight(shape: Shape, kernels: list[list[tf.Variable]]) -> Mapping[str, Any]:
    """What one would write by hand: dense layers of relu units, no masks, no guards; weights are any."""

    def log_prob(x: tf.Tensor, conditional_input: tf.Tensor) -> Mapping[str, tf.Tensor]:
        total = tf.zeros([], x.dtype)
        for weights in kernels:
            units = tf.concat([x, conditional_input], axis=1)
            for i in (0, 2):
                units = tf.nn.relu(tf.matmul(units, weights[i]) + weights[i + 1])
            shift, log_scale = tf.split(tf.matmul(units, weights[4]) + weights[5], 2, axis=1)
            x = (x - shift) * tf.exp(-log_scale)
            total -= tf.reduce_sum(log_scale, axis=1)
        return {
            "log_prob": total - 0.5 * tf.reduce_sum(x * x, axis=1) - 0.5 * shape.event_size * float(np.log(2 * np.pi))
        }

    return {"log_prob": _traced(shape, log_prob, None)["log_prob"]}


def _traced(shape: Shape, log_prob: Any, sample: Any, **options: Any) -> Mapping[str, Any]:
    x = tf.TensorSpec([None, shape.event_size], tf.float32, "x")
    condition = tf.TensorSpec([None, shape.condition_size], tf.float32, "conditional_input")
    seed = tf.TensorSpec([None], tf.int64, "seed")
    traced = {"log_prob": tf.function(log_prob, autograph=False, **options).get_concrete_function(x, condition)}
    if sample is not None:
        function = tf.function(sample, autograph=False, **options)
        traced["sample_with_seed"] = function.get_concrete_function(condition, seed)
    return traced
