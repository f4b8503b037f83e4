"""`python -m examples.five_layer_maf`: a plain TFP model through the same functions as ours.

Five affine layers with sigmoid units over one event column and one condition, in a plain `tfb.Chain`, in a plain
`tfd.TransformedDistribution`. With one event column each layer is a shift and a scale that depend on the condition
alone, so that p(x | c) is one Gaussian whatever the depth: right for these data, and the reason why `maf-serving train`
defaults to splines.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from export import export_saved_model
from maf.config import TrainingConfig
from maf.fitting import fit, mean_nll
from maf.layers import create_named_maf
from maf.routing import make_bijector_kwargs

Array = np.ndarray[Any, Any]


def build() -> tfd.TransformedDistribution:
    """The model: event size 1, condition size 1."""
    bijector = tfb.Chain([create_named_maf(f"maf_{i}", [32, 32], activation="sigmoid") for i in range(5)])
    return tfd.TransformedDistribution(tfd.MultivariateNormalDiag(loc=tf.zeros([1])), bijector)


def make_rows(num_rows: int, seed: int) -> Array:
    """Columns y and c, `[N, 2]` float32: y | c is normal, its mean 2 c and its deviation exp(c / 2) / 2."""
    rng = np.random.default_rng(seed)
    c = rng.uniform(-1, 1, num_rows)
    y = 2 * c + 0.5 * np.exp(c / 2) * rng.standard_normal(num_rows)
    return np.stack([y, c], axis=1).astype(np.float32)


def train(distribution: tfd.TransformedDistribution, *, max_epochs: int = 10) -> float:
    """Fits the model to rows of `make_rows` and returns its test NLL in nats."""
    config = TrainingConfig(max_epochs=max_epochs, batch_size=128, learning_rate_schedule="cosine")
    fit(distribution, make_rows(20_000, 0), make_rows(2_000, 1), event_size=1, config=config)
    return mean_nll(distribution, make_rows(10_000, 2), event_size=1)[0]


def sample(distribution: tfd.TransformedDistribution, conditional_input: Array, seed: int) -> Array:
    """One draw `[B, 1]` for each condition `[B, 1]`."""
    kwargs = make_bijector_kwargs(distribution.bijector, {"conditional_input": conditional_input})
    draws: Array = distribution.sample(len(conditional_input), seed=seed, bijector_kwargs=kwargs).numpy()
    return draws


def main() -> None:
    """Trains, samples and exports."""
    parser = argparse.ArgumentParser(
        prog="python -m examples.five_layer_maf", description="A plain TFP model, exported."
    )
    parser.add_argument("--model_base", type=Path, default=Path("models/five_layer_maf"), help="where versions go")
    arguments = parser.parse_args()
    distribution = build()
    print(f"test NLL  {train(distribution):.4f} nats")
    print(f"draws at c = 0.5  {sample(distribution, np.full((5, 1), 0.5, np.float32), seed=0)[:, 0]}")
    version = export_saved_model(distribution, arguments.model_base, event_columns=["y"], conditional_columns=["c"])
    print(f"exported  {version}")


if __name__ == "__main__":
    main()
