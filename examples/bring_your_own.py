"""`python -m examples.bring_your_own`: a flow trained without this toolkit, exported from its checkpoint.

What such a project has: a distribution of TensorFlow Probability, a training loop, a `tf.train.Checkpoint`. For the
export it needs a function that builds the distribution: `build`, below. The command to go on with is printed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

LAYERS = ("first", "second")
Array = np.ndarray[Any, Any]


def build() -> tfd.TransformedDistribution:
    """Two event columns, one condition: two autoregressive layers, the second in a chain of its own."""
    first, second = (_layer(name) for name in LAYERS)
    bijector = tfb.Chain([first, tfb.Chain([tfb.Permute([1, 0]), second], name="inner")])
    return tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros([2])), bijector)


def _layer(name: str) -> tfb.MaskedAutoregressiveFlow:
    network = tfb.AutoregressiveNetwork(
        params=2,
        event_shape=[2],
        conditional=True,
        conditional_event_shape=[1],
        hidden_units=[32, 32],
        activation="tanh",
    )
    return tfb.MaskedAutoregressiveFlow(network, name=name)


def log_prob(distribution: tfd.TransformedDistribution, x: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
    """`[B]`: in TFP every conditional layer gets the condition by its name."""
    condition = {"conditional_input": c}
    kwargs = {"first": condition, "inner": {"second": condition}}
    return distribution.log_prob(x, bijector_kwargs=kwargs)


def make_rows(num_rows: int, seed: int) -> tuple[Array, Array]:
    """X `[N, 2]` and c `[N, 1]`: a bent normal whose bend is the condition."""
    rng = np.random.default_rng(seed)
    c, z = rng.uniform(-1, 1, (num_rows, 1)), rng.standard_normal((num_rows, 2))
    x = np.stack([z[:, 0], 0.5 * z[:, 1] + c[:, 0] * z[:, 0] ** 2], axis=1)
    return x.astype(np.float32), c.astype(np.float32)


def train(distribution: tfd.TransformedDistribution, *, steps: int) -> float:
    """A plain loop of one's own; returns the last mean NLL in nats."""
    x, c = make_rows(50_000, seed=0)
    log_prob(distribution, x[:1], c[:1])  # layers of Keras have no variables before their first call
    optimizer = tf_keras.optimizers.Adam(3e-3)
    variables = distribution.trainable_variables

    @tf.function  # type: ignore[untyped-decorator]
    def step(x: tf.Tensor, c: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = -tf.reduce_mean(log_prob(distribution, x, c))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    rng = np.random.default_rng(1)
    losses = []
    for _ in range(steps):
        rows = rng.integers(0, len(x), 512)
        losses.append(float(step(x[rows], c[rows])))
    return float(np.mean(losses[-50:]))


def main() -> None:
    """Trains, saves, and says how to go on."""
    parser = argparse.ArgumentParser(prog="python -m examples.bring_your_own", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("out/bring_your_own"), help="directory of the checkpoint")
    parser.add_argument("--steps", type=int, default=1_000, help="training steps (default 1000)")
    arguments = parser.parse_args()
    distribution = build()
    print(f"NLL         {train(distribution, steps=arguments.steps):.4f} nats")
    checkpoint = tf.train.Checkpoint(model=distribution)
    print(f"checkpoint  {checkpoint.save(str(arguments.output / 'checkpoint'))}")
    print(
        f"next        maf-serving export --builder examples.bring_your_own:build --checkpoint {arguments.output} "
        "--event x0,x1 --condition c0 --model models/bring_your_own"
    )


if __name__ == "__main__":
    main()
