"""One step of the optimiser."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from maf.automatic import chosen
from maf.config import TrainingConfig
from maf.likelihood import condition_encoders
from maf.rows_likelihood import RowsLikelihood
from maf.training_state import TrainingState

Array = np.ndarray[Any, Any]
DROPOUT_STREAM = 0xD209


def make_train_step(
    likelihood: RowsLikelihood, distribution: Any, state: TrainingState, config: TrainingConfig, total_steps: int
) -> Callable[[Array, Array | None], float]:
    """One step of the optimiser on a minibatch; returns its NLL before it, nats, of the rows that are as they were."""
    variables, optimizer = distribution.trainable_variables, state.optimizer
    decays = [chosen(config.weight_decay) if "kernel" in variable.name else 0.0 for variable in variables]
    most_kept = 1 - 1 / max(1.0, config.weight_average * total_steps)

    @tf.function(jit_compile=config.jit_compile == "on")  # type: ignore[untyped-decorator]
    def step(rows: tf.Tensor, same: tf.Tensor | None, random_bytes: tf.Tensor | None) -> tf.Tensor:
        with tf.GradientTape() as tape, _dropout(distribution, chosen(config.dropout), random_bytes):
            log_prob = likelihood.log_prob(rows)
            nll = -tf.reduce_mean(log_prob)
        gradients = tape.gradient(nll, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients, norm = tf.clip_by_global_norm(gradients, config.gradient_clip_norm)
        usable = tf.math.is_finite(norm)
        for variable, decay in zip(variables, decays, strict=True):
            if decay:
                variable.assign(variable * (1 - tf.cast(optimizer.learning_rate, variable.dtype) * decay))
        optimizer.apply_gradients(
            [(tf.where(usable, g, tf.zeros_like(g)), v) for g, v in zip(gradients, variables, strict=True)]
        )
        for variable in variables:  # MADE's masks are constraints: some optimisers apply them, all must
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))
        done = tf.cast(optimizer.iterations, tf.float64)
        # over the last tenth at first, when weights move fast; what was before the first step has no part in it
        kept = tf.minimum((done - 1) / (8 + done), most_kept)
        for variable, average in zip(variables, state.averages, strict=True):
            average.assign_add(tf.cast(1 - kept, variable.dtype) * (variable - average))
        return nll if same is None else -tf.reduce_sum(tf.where(same, log_prob, 0)) / _count(same, log_prob.dtype)

    hidden = max((encoder.num_hidden for encoder in condition_encoders(distribution)), default=0)

    def on_rows(rows: Array, same: Array | None) -> float:
        random_bytes = None
        if config.dropout and hidden:
            rng = np.random.default_rng([config.seed, state.epoch, state.step, DROPOUT_STREAM])
            random_bytes = tf.constant(rng.integers(0, 256, (len(rows), hidden), np.uint8))
        return float(step(likelihood.tensor(rows), None if same is None else tf.constant(same), random_bytes))

    return on_rows


def _count(which: tf.Tensor, dtype: Any) -> tf.Tensor:
    return tf.maximum(tf.reduce_sum(tf.cast(which, dtype)), 1)


@contextlib.contextmanager
def _dropout(distribution: Any, share: float, random_bytes: tf.Tensor | None) -> Iterator[None]:
    """While it is open, the condition encoder leaves out a share of its units, if there are random bytes to choose."""
    with contextlib.ExitStack() as stack:
        for encoder in condition_encoders(distribution) if random_bytes is not None else ():
            stack.enter_context(encoder.dropping(share, random_bytes))
        yield
