"""Maximum-likelihood fit of a flow to rows, resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tf_keras

from maf.automatic import chosen, size_training
from maf.config import TrainingConfig
from maf.dequantization import dequantized
from maf.errors import TrainingError
from maf.minibatches import minibatches, steps_per_epoch
from maf.raw_condition import RawCondition
from maf.rows_likelihood import RowsLikelihood
from maf.train_step import make_train_step
from maf.training_state import EpochRecord, TrainingState

Array = np.ndarray[Any, Any]
UNKNOWN_STREAM = 0x0DD
WARM_STEPS = 50  # over which the 'cosine' schedule rises
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
    noise_widths: Array | None = None,
    condition: RawCondition | None = None,
    state_path: Path | None = None,
    observer: Observer | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[EpochRecord]:
    """Fits the trainable variables of `distribution` by Adam and leaves the best ones in it.

    What is validated and kept are running means of the weights, which is worth a smaller learning rate and costs
    nothing. Weights decay apart from the gradient (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101). Best
    is by validation NLL. Training stops after `config.patience` epochs without a better one, or after
    `config.max_epochs`.

    Args:
      distribution: a `tfd.TransformedDistribution`; ours, or any whose layers `make_bijector_kwargs` can route.
      training_rows: `[N, D + K]`, raw units, event columns first; an array or a memory-mapped file.
      validation_rows: `[M, D + K]`.
      event_size: D.
      config: how to fit; what it leaves automatic depends on the number of rows.
      noise_widths: `[D]`, of uniform noise added to the event columns of the training rows; `None` for none.
      condition: encodes the K raw columns of the condition; `None` if they are `conditional_input` as they are.
      state_path: where the state is kept while training goes on; if it is there, training continues from it.
      observer: is told of steps and epochs.
      clock: seconds, for checkpoints and speed.

    Returns:
      One record for each epoch, those before a resume included.

    Raises:
      TrainingError: if the loss of a whole epoch is not a number.
    """
    config = size_training(config, len(training_rows), training_rows.shape[1] - event_size)
    likelihood = RowsLikelihood(distribution, event_size, condition)
    likelihood.evaluate(validation_rows[:1])  # builds what is built at the first call
    optimizer = tf_keras.optimizers.Adam(config.learning_rate)
    optimizer.build(distribution.trainable_variables)
    state = TrainingState(distribution, optimizer, config.learning_rate)
    if state_path is not None and state_path.exists():
        state.load(state_path)
    total_steps = chosen(config.max_epochs) * steps_per_epoch(len(training_rows), chosen(config.batch_size))
    train_step = make_train_step(likelihood, distribution, state, config, total_steps)

    def disturbed(rows: Array) -> tuple[Array, Array | None]:
        place = (state.epoch, state.step)
        rows = dequantized(rows, noise_widths, seed=(config.seed, *place))
        if condition is None:
            return rows, None
        seed = (config.seed, *place, UNKNOWN_STREAM)
        return condition.with_hidden(rows, config.unknown_share, event_size=event_size, seed=seed)

    while state.epoch < chosen(config.max_epochs) and state.epochs_since_best < chosen(config.patience):
        _run_epoch(state, training_rows, disturbed, train_step, config, state_path, observer, clock)
        with state.averaged():
            _end_epoch(state, likelihood.nll(validation_rows), config)
        if state_path is not None:
            state.save(state_path)
        if observer is not None:
            observer.on_epoch(state.history, is_best=state.best_epoch == state.epoch)
    state.restore_best()
    return state.history


def evaluate(
    distribution: Any, rows: Array, *, event_size: int, condition: RawCondition | None = None
) -> tuple[float, float]:
    """Mean NLL of `rows` `[N, D + K]` and its standard error, in nats; `condition` as in `fit`."""
    log_probs = RowsLikelihood(distribution, event_size, condition).evaluate(rows)
    return float(-log_probs.mean()), float(log_probs.std() / math.sqrt(len(log_probs)))


def _run_epoch(
    state: TrainingState,
    rows: Array,
    disturbed: Callable[[Array], tuple[Array, Array | None]],
    train_step: Callable[[Array, Array | None], float],
    config: TrainingConfig,
    state_path: Path | None,
    observer: Observer | None,
    clock: Callable[[], float],
) -> None:
    """What is left of the current epoch, with a checkpoint whenever `checkpoint_seconds` have passed."""
    epoch, steps = state.epoch, steps_per_epoch(len(rows), chosen(config.batch_size))
    started = saved = clock()
    batches = minibatches(
        rows, batch_size=chosen(config.batch_size), seed=config.seed, epoch=epoch, first_step=state.step
    )
    for batch in batches:
        state.optimizer.learning_rate.assign(_learning_rate(state, steps, config))
        nll = train_step(*disturbed(batch))
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
    if config.learning_rate_schedule == "plateau" and waited and waited % max(1, chosen(config.patience) // 3) == 0:
        state.learning_rate /= 3


def _learning_rate(state: TrainingState, steps: int, config: TrainingConfig) -> float:
    if config.learning_rate_schedule == "cosine":
        progress = (state.epoch + state.step / steps) / chosen(config.max_epochs)
        warm = min(1.0, (progress * chosen(config.max_epochs) * steps + 1) / WARM_STEPS)
        return warm * config.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))
    return state.learning_rate
