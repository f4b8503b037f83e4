"""Ends a trial that is out of time or out of hope."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna

    from maf.training_state import EpochRecord

CHECKPOINTS = 20  # shares of a trial's epochs at which trials are compared: their numbers of epochs differ


class TrialStopped(Exception):  # noqa: N818  # no error: the search goes on
    """The trial ended before its time; the message says why."""


class TrialObserver:
    """Tells Optuna of a trial's validation NLL, and raises `TrialStopped` when it says so or the time is up.

    Attributes:
      epochs: most epochs of the trial.
      deadline: on the clock; `None` for a trial that may take as long as it likes.

    Of a trial that is trained on several splits, Optuna compares the first; `trial` is `None` for the others.
    """

    def __init__(
        self,
        trial: optuna.Trial | None,
        *,
        epochs: int,
        deadline: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._trial = trial
        self._epochs = epochs
        self._deadline = deadline
        self._clock = clock
        self._told = 0

    def on_step(self, epoch: int, step: int, steps: int, nll: float, rows: int) -> None:  # noqa: ARG002  # an Observer
        """Looks at the clock."""
        if self._deadline is not None and self._clock() > self._deadline:
            raise TrialStopped("out of time")

    def on_epoch(self, history: list[EpochRecord], *, is_best: bool) -> None:  # noqa: ARG002  # an Observer
        """Reports the best NLL so far at each checkpoint."""
        checkpoint = len(history) * CHECKPOINTS // self._epochs
        if self._trial is None or checkpoint <= self._told:
            return
        self._told = checkpoint
        self._trial.report(min(record.validation_nll for record in history), checkpoint)
        if self._trial.should_prune():
            raise TrialStopped("worse than half of the others")
