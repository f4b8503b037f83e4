"""Maximum-likelihood fit of a flow to rows, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras

from maf.config import TrainingConfig
from maf.errors import TrainingError
from maf.likelihood import log_prob
from maf.minibatches import minibatches, steps_per_epoch
from maf.training_state import EpochRecord, TrainingState

Array = np.ndarray[Any, Any]
EVALUATION_ROWS = 16_384
SMALLEST_IMPROVEMENT = 1e-4  # nats; less does not reset the patience


class Observer(Protocol):
    """What is told of a fit as it goes on."""

    def on_step(self, epoch: int, step: int, steps: int, nll: float, rows: int) -> None:
        """After each minibatch: `nll` is the epoch's mean so far, in nats; `rows` were used in this step."""

    def on_epoch(self, history: list[EpochRecord], *, is_best: bool) -> None:
        """After each epoch and its validation; the last record of `history` is of that epoch."""


def fit(
    distribution: Any,
    training_rows: Array,
    validation_rows: Array,
    *,
    event_size: int,
    config: TrainingConfig,
    state_path: Path | None = None,
    observer: Observer | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[EpochRecord]:
    """Fits the trainable variables of `distribution` by Adam and leaves the best ones in it.

    Best is by validation NLL. Training stops after `config.patience` epochs without a better one, or after
    `config.max_epochs`.

    Args:
      distribution: a `tfd.TransformedDistribution`; ours, or any whose layers `make_bijector_kwargs` can route.
      training_rows: `[N, D + C]`, raw units, event columns first; an array or a memory-mapped file.
      validation_rows: `[M, D + C]`.
      event_size: D.
      config: how to fit.
      state_path: where the state is kept while training goes on; if it is there, training continues from it.
      observer: is told of steps and epochs.
      clock: seconds, for checkpoints and speed.

    Returns:
      One record for each epoch, those before a resume included.

    Raises:
      TrainingError: if the loss of a whole epoch is not a number.
    """
    likelihood = _Likelihood(distribution, event_size)
    likelihood.evaluate(validation_rows[:1])  # builds what is built at the first call
    optimizer = tf_keras.optimizers.Adam(config.learning_rate)
    optimizer.build(distribution.trainable_variables)
    state = TrainingState(distribution, optimizer, config.learning_rate)
    if state_path is not None and state_path.exists():
        state.load(state_path)
    train_step = _train_step(likelihood, distribution, optimizer, config)
    while state.epoch < config.max_epochs and state.epochs_since_best < config.patience:
        _run_epoch(state, training_rows, train_step, config, state_path, observer, clock)
        _end_epoch(state, likelihood.nll(validation_rows), config)
        if state_path is not None:
            state.save(state_path)
        if observer is not None:
            observer.on_epoch(state.history, is_best=state.best_epoch == state.epoch)
    state.restore_best()
    return state.history


def evaluate(distribution: Any, rows: Array, *, event_size: int) -> tuple[float, float]:
    """Mean NLL of `rows` `[N, D + C]` and its standard error, in nats."""
    log_probs = _Likelihood(distribution, event_size).evaluate(rows)
    return float(-log_probs.mean()), float(log_probs.std() / math.sqrt(len(log_probs)))


class _Likelihood:
    """`log_prob` on rows whose event and conditional columns lie side by side."""

    def __init__(self, distribution: Any, event_size: int) -> None:
        self._distribution = distribution
        self._event_size = event_size
        self._dtype = distribution.distribution.dtype.as_numpy_dtype
        self._traced = tf.function(self.log_prob, reduce_retracing=True)

    def tensor(self, rows: Array) -> tf.Tensor:
        """`rows` in the model's dtype."""
        return tf.constant(np.asarray(rows, self._dtype))

    def log_prob(self, rows: tf.Tensor) -> tf.Tensor:
        x, c = rows[:, : self._event_size], rows[:, self._event_size :]
        return log_prob(self._distribution, x, c if rows.shape[1] > self._event_size else None)

    def evaluate(self, rows: Array) -> Array:
        """`log_prob` of all `rows`, `[N]` float64."""
        parts = [
            self._traced(self.tensor(rows[i : i + EVALUATION_ROWS])).numpy()
            for i in range(0, len(rows), EVALUATION_ROWS)
        ]
        return np.concatenate(parts).astype(np.float64)

    def nll(self, rows: Array) -> float:
        return float(-self.evaluate(rows).mean())


def _train_step(
    likelihood: _Likelihood, distribution: Any, optimizer: Any, config: TrainingConfig
) -> Callable[[Array], float]:
    variables = distribution.trainable_variables

    @tf.function(jit_compile=config.jit_compile == "on")  # type: ignore[untyped-decorator]
    def step(rows: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            nll = -tf.reduce_mean(likelihood.log_prob(rows))
        gradients = tape.gradient(nll, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients, norm = tf.clip_by_global_norm(gradients, config.gradient_clip_norm)
        usable = tf.math.is_finite(norm)
        optimizer.apply_gradients(
            [(tf.where(usable, g, tf.zeros_like(g)), v) for g, v in zip(gradients, variables, strict=True)]
        )
        for variable in variables:  # MADE's masks are constraints: some optimisers apply them, all must
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))
        return nll

    return lambda rows: float(step(likelihood.tensor(rows)))


def _run_epoch(
    state: TrainingState,
    rows: Array,
    train_step: Callable[[Array], float],
    config: TrainingConfig,
    state_path: Path | None,
    observer: Observer | None,
    clock: Callable[[], float],
) -> None:
    """What is left of the current epoch, with a checkpoint whenever `checkpoint_seconds` have passed."""
    epoch, steps = state.epoch, steps_per_epoch(len(rows), config.batch_size)
    started = saved = clock()
    batches = minibatches(rows, batch_size=config.batch_size, seed=config.seed, epoch=epoch, first_step=state.step)
    for batch in batches:
        state.optimizer.learning_rate.assign(_learning_rate(state, steps, config))
        nll = train_step(batch)
        state.count(nll)
        now = clock()
        if observer is not None:
            observer.on_step(epoch, state.step, steps, state.training_nll, len(batch))
        if state_path is not None and now - saved > config.checkpoint_seconds:
            state.save(state_path)
            saved = now
    state.seconds += clock() - started


def _end_epoch(state: TrainingState, validation_nll: float, config: TrainingConfig) -> None:
    """Closes the epoch: record, best weights, learning rate."""
    if not math.isfinite(state.training_nll) and not math.isfinite(validation_nll):
        raise TrainingError(
            f"the NLL of epoch {state.epoch + 1} is {validation_nll}; lower --learning_rate ({config.learning_rate:g}) "
            "or look for extreme values in the table"
        )
    state.end_epoch(validation_nll, SMALLEST_IMPROVEMENT)
    waited = state.epochs_since_best
    if config.learning_rate_schedule == "plateau" and waited and waited % max(1, config.patience // 3) == 0:
        state.learning_rate /= 3


def _learning_rate(state: TrainingState, steps: int, config: TrainingConfig) -> float:
    if config.learning_rate_schedule == "cosine":
        progress = (state.epoch + state.step / steps) / config.max_epochs
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    return state.learning_rate
