"""Maximum-likelihood fit of a flow to rows, resumable at any step: epochs, minibatches, one step of the optimiser."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tensorflow as tf
import tf_keras

from maf.condition_encoder import condition_encoders
from maf.errors import TrainingError
from maf.flow import chosen, size_training
from maf.likelihood import RowsLikelihood
from maf.shrinkage import Shrinkage
from maf.standardization import dequantized
from maf.training_state import TrainingState

if TYPE_CHECKING:
    from maf.config import TrainingConfig
    from maf.rows import RowEncoder
    from maf.run_directory import EpochRecord

Array = np.ndarray[Any, Any]
UNKNOWN_STREAM = 0x0DD
WARM_STEPS = 50  # over which the 'cosine' schedule rises
SMALLEST_IMPROVEMENT = 1e-4  # nats; less does not reset the patience
DROPOUT_STREAM = 0xD209
WINDOW_BYTES = 2**26
BLOCK_ROWS = 8_192
TINY = 1e-30


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
    condition: RowEncoder | None = None,
    weights: Array | None = None,
    validation_weights: Array | None = None,
    state_path: Path | None = None,
    observer: Observer | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[EpochRecord]:
    """Fits the trainable variables of `distribution` by Adam and leaves the best ones in it.

        >>> rows = np.random.default_rng(0).normal(size=(2_000, 3)).astype(np.float32)  # x0, x1, c
        >>> flow = build_flow(FlowConfig(event_size=2, condition_size=1, num_layers=2))
        >>> epochs = fit(flow, rows[:1_800], rows[1_800:], event_size=2, config=TrainingConfig(max_epochs=3))
        >>> [epoch.epoch for epoch in epochs]
        [1, 2, 3]

    What is validated and kept are running means of the weights, which is worth a smaller learning rate and costs
    nothing. Weights decay apart from the gradient (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101); up to
    `config.most_weight_decay` twice as fast after each epoch that fits the training rows better and the validation rows
    no better, half as fast again after one that fits neither better. Weights of what has no say vanish (`Shrinkage`).
    Best is by validation NLL. Training stops after `config.patience` epochs without a better one, after
    `config.max_epochs`, or when its steps have taken `config.max_seconds`, in the middle of an epoch too: two runs that
    time ends differ.

    Args:
      distribution: a `tfd.TransformedDistribution`; ours, or any whose layers `make_bijector_kwargs` can route.
      training_rows: `[N, D + K]`, raw units, event columns first; an array or a memory-mapped file.
      validation_rows: `[M, D + K]`.
      event_size: D.
      config: how to fit; what it leaves automatic depends on the number of rows.
      noise_widths: `[D]`, of uniform noise added to the event columns of the training rows; `None` for none.
      condition: encodes the K raw columns of the condition; `None` if they are `conditional_input` as they are.
      weights: `[N]`, above 0, how much each training row counts in the loss; `None` for all alike. They are divided
        by their mean.
      validation_weights: `[M]`, the same in the validation NLL.
      state_path: where the state is kept while training goes on; if it is there, training continues from it.
      observer: is told of steps and epochs.
      clock: seconds, for checkpoints and speed.

    Returns:
      One record for each epoch, those before a resume included.

    Raises:
      TrainingError: if the loss of a whole epoch is not a number.
    """
    condition_size = training_rows.shape[1] - event_size
    config = size_training(config, len(training_rows), event_size=event_size, condition_size=condition_size)
    likelihood = RowsLikelihood(distribution, event_size, condition)
    likelihood.evaluate(validation_rows[:1])  # builds what is built at the first call
    optimizer = tf_keras.optimizers.Adam(config.learning_rate)
    optimizer.build(distribution.trainable_variables)
    state = TrainingState(distribution, optimizer, config)
    if state_path is not None and state_path.exists():
        state.load(state_path)
    steps = steps_per_epoch(len(training_rows), chosen(config.batch_size))
    train_step = make_train_step(likelihood, distribution, state, config, chosen(config.max_epochs) * steps)

    def disturbed(rows: Array) -> tuple[Array, Array | None]:
        place = (state.epoch, state.step)
        rows = dequantized(rows, noise_widths, seed=(config.seed, *place))
        if condition is None:
            return rows, None
        seed = (config.seed, *place, UNKNOWN_STREAM)
        return condition.with_hidden(rows, config.unknown_share, event_size=event_size, seed=seed)

    def is_over() -> bool:
        return _progress(state, steps, config) >= 1 or state.epochs_since_best >= chosen(config.patience)

    while state.step or not is_over():  # an epoch that was begun is validated, also if a kill came before that
        _run_epoch(state, (training_rows, weights), disturbed, train_step, config, state_path, observer, clock)
        with state.averaged():
            _end_epoch(state, likelihood.nll(validation_rows, validation_weights), config)
        if state_path is not None:
            state.save(state_path)
        if observer is not None:
            observer.on_epoch(state.history, is_best=state.best_epoch == state.epoch)
    state.restore_best()
    return state.history


def mean_nll(
    distribution: Any,
    rows: Array,
    *,
    event_size: int,
    condition: RowEncoder | None = None,
    weights: Array | None = None,
) -> tuple[float, float]:
    """Mean NLL of `rows` `[N, D + K]` and its standard error, in nats; `condition` and `weights` as in `fit`."""
    return RowsLikelihood(distribution, event_size, condition).mean_nll(rows, weights)


def _run_epoch(
    state: TrainingState,
    weighted_rows: tuple[Array, Array | None],
    disturbed: Callable[[Array], tuple[Array, Array | None]],
    train_step: Callable[[Array, Array | None, Array | None], float],
    config: TrainingConfig,
    state_path: Path | None,
    observer: Observer | None,
    clock: Callable[[], float],
) -> None:
    """What is left of the current epoch, with a checkpoint whenever `checkpoint_seconds` have passed."""
    rows, weights = weighted_rows
    epoch, steps = state.epoch, steps_per_epoch(len(rows), chosen(config.batch_size))
    before, started = state.seconds, clock()
    saved = started
    cut = functools.partial(
        minibatches,
        batch_size=chosen(config.batch_size),
        seed=config.seed,
        epoch=epoch,
        first_step=state.step,
        row_bytes=rows.itemsize * rows.shape[1],
    )
    relative = None if weights is None else np.asarray(weights)[:, np.newaxis] / np.mean(weights, dtype=np.float64)
    counting = itertools.repeat(None) if relative is None else cut(relative)
    for batch, weight in zip(cut(rows), counting, strict=False):
        state.optimizer.learning_rate.assign(_learning_rate(state, steps, config))
        nll = train_step(*disturbed(batch), None if weight is None else weight[:, 0])
        state.count(nll)
        now = clock()
        state.seconds = before + now - started
        if observer is not None:
            observer.on_step(epoch, state.step, steps, state.training_nll, len(batch))
        if state_path is not None and now - saved > config.checkpoint_seconds:
            state.save(state_path)
            saved = now
        if _share_of_time(state, config) >= 1:
            break


def _end_epoch(state: TrainingState, validation_nll: float, config: TrainingConfig) -> None:
    """Closes the epoch: record, best weights, learning rate, weight decay."""
    if not math.isfinite(state.training_nll) and not math.isfinite(validation_nll):
        raise TrainingError(
            f"the NLL of epoch {state.epoch + 1} is {validation_nll}; lower --learning_rate ({config.learning_rate:g}) "
            "or look for extreme values in the table"
        )
    state.end_epoch(validation_nll, SMALLEST_IMPROVEMENT)
    waited = state.epochs_since_best
    if config.learning_rate_schedule == "plateau" and waited and waited % max(1, chosen(config.patience) // 3) == 0:
        state.learning_rate /= 3
    if state.best_epoch < state.epoch:
        _adapt_weight_decay(state, config)


def _adapt_weight_decay(state: TrainingState, config: TrainingConfig) -> None:
    """After an epoch without a better validation NLL: twice as much if training rows fit better, half of it if not."""
    best, last = state.history[max(0, state.best_epoch - 1)], state.history[-1]
    wanted = state.weight_decay * (2.0 if last.training_nll < best.training_nll else 0.5)
    state.weight_decay = max(chosen(config.weight_decay), min(wanted, config.most_weight_decay))


def _learning_rate(state: TrainingState, steps: int, config: TrainingConfig) -> float:
    if config.learning_rate_schedule == "cosine":
        warm = min(1.0, (state.epoch * steps + state.step + 1) / WARM_STEPS)
        return warm * config.learning_rate * 0.5 * (1 + math.cos(math.pi * _progress(state, steps, config)))
    return state.learning_rate


def _progress(state: TrainingState, steps: int, config: TrainingConfig) -> float:
    """How much of the epochs or of the seconds that training may take is over, 1 at the end; `steps` of each epoch."""
    return max((state.epoch + state.step / steps) / chosen(config.max_epochs), _share_of_time(state, config))


def _share_of_time(state: TrainingState, config: TrainingConfig) -> float:
    return min(1.0, state.all_seconds / config.max_seconds) if config.max_seconds is not None else 0.0


def make_train_step(
    likelihood: RowsLikelihood, distribution: Any, state: TrainingState, config: TrainingConfig, total_steps: int
) -> Callable[[Array, Array | None, Array | None], float]:
    """One step of the optimiser on a minibatch; returns its NLL before it, nats, of the rows that are as they were.

    Weights of rows, the third argument, have a mean of 1 over all training rows.
    """
    variables, optimizer = distribution.trainable_variables, state.optimizer
    decaying = [variable for variable in variables if "kernel" in variable.name]
    shrinkage = Shrinkage.of(distribution, config)
    most_kept = 1 - 1 / max(1.0, config.weight_average * total_steps)

    @tf.function(autograph=False, jit_compile=config.jit_compile == "on")  # type: ignore[untyped-decorator]
    def step(
        rows: tf.Tensor,
        same: tf.Tensor | None,
        weights: tf.Tensor | None,
        random_bytes: tf.Tensor | None,
        weight_decay: tf.Tensor,
    ) -> tf.Tensor:
        with tf.GradientTape() as tape, _dropout(distribution, chosen(config.dropout), random_bytes):
            log_prob = likelihood.log_prob(rows)
            counted = log_prob if weights is None else weights * log_prob
            nll = -tf.reduce_mean(counted)
        gradients = tape.gradient(nll, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients, norm = tf.clip_by_global_norm(gradients, config.gradient_clip_norm)
        usable = tf.math.is_finite(norm)
        for variable in decaying:
            rate = tf.cast(optimizer.learning_rate, variable.dtype)
            variable.assign(variable * (1 - rate * tf.cast(weight_decay, variable.dtype)))
        optimizer.apply_gradients(
            [(tf.where(usable, g, tf.zeros_like(g)), v) for g, v in zip(gradients, variables, strict=True)]
        )
        shrinkage.step(optimizer.learning_rate)
        for variable in variables:  # MADE's masks are constraints: some optimisers apply them, all must
            if variable.constraint is not None:
                variable.assign(variable.constraint(variable))
        done = tf.cast(optimizer.iterations, tf.float64)
        # over the last tenth at first, when weights move fast; what was before the first step has no part in it
        kept = tf.minimum((done - 1) / (8 + done), most_kept)
        for variable, average in zip(variables, state.averages, strict=True):
            average.assign_add(tf.cast(1 - kept, variable.dtype) * (variable - average))
        if same is None and weights is None:
            return nll
        known = tf.ones_like(log_prob) if weights is None else weights
        known = known if same is None else tf.where(same, known, 0)
        return -tf.reduce_sum(tf.where(known > 0, counted, 0)) / tf.maximum(tf.reduce_sum(known), TINY)

    hidden = max((encoder.num_hidden for encoder in condition_encoders(distribution)), default=0)

    def on_rows(rows: Array, same: Array | None, weights: Array | None) -> float:
        random_bytes = None
        if config.dropout and hidden:
            rng = np.random.default_rng([config.seed, state.epoch, state.step, DROPOUT_STREAM])
            random_bytes = tf.constant(rng.integers(0, 256, (len(rows), hidden), np.uint8))
        known = None if same is None else tf.constant(same)
        counting = None if weights is None else tf.constant(weights, distribution.dtype)
        weight_decay = tf.constant(state.weight_decay, tf.float64)
        return float(step(likelihood.tensor(rows), known, counting, random_bytes, weight_decay))

    return on_rows


@contextlib.contextmanager
def _dropout(distribution: Any, share: float, random_bytes: tf.Tensor | None) -> Iterator[None]:
    """While it is open, the condition encoder leaves out a share of its units, if there are random bytes to choose."""
    with contextlib.ExitStack() as stack:
        for encoder in condition_encoders(distribution) if random_bytes is not None else ():
            stack.enter_context(encoder.dropping(share, random_bytes))
        yield


def steps_per_epoch(num_rows: int, batch_size: int) -> int:
    """How many minibatches `minibatches` yields: full ones only."""
    return num_rows // min(batch_size, num_rows)


def minibatches(
    rows: Array,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    first_step: int = 0,
    window_bytes: int = WINDOW_BYTES,
    row_bytes: int | None = None,
) -> Iterator[Array]:
    """One epoch of minibatches `[batch_size, K]` of `rows` `[N, K]`, in an order that `seed` and `epoch` decide.

    Blocks of consecutive rows are taken in random order, as many at a time as fit into `window_bytes`, and shuffled row
    by row inside that window; where all rows fit this is a full shuffle. Only one window is in memory. Every row comes
    at most once; the fewer than `batch_size` that do not fill a minibatch are others in each epoch.

    Args:
      rows: an array or a memory-mapped file.
      batch_size: rows of each minibatch; all of them if there are fewer.
      seed: of the run; with `epoch` it decides the order.
      epoch: counts passes over the rows.
      first_step: minibatches to skip from the start, without reading more than one window of them.
      window_bytes: memory for one window.
      row_bytes: of a row in it, if not that of `rows`: what belongs to other rows comes in their order then.
    """
    batch_size = min(batch_size, len(rows))
    block_rows = batch_size * max(1, BLOCK_ROWS // batch_size)
    starts = np.random.default_rng([seed, epoch]).permutation(np.arange(0, len(rows), block_rows))
    blocks = max(1, window_bytes // (block_rows * (row_bytes or rows.itemsize * rows.shape[1])))
    for window in range(0, len(starts), blocks):
        chosen = starts[window : window + blocks]
        size = sum(min(block_rows, len(rows) - start) for start in chosen)
        steps = size // batch_size
        if first_step >= steps:
            first_step -= steps
            continue
        gathered = np.concatenate([rows[start : start + block_rows] for start in chosen])
        order = np.random.default_rng([seed, epoch, window]).permutation(size)
        for step in range(first_step, steps):
            yield gathered[order[step * batch_size : (step + 1) * batch_size]]
        first_step = 0
