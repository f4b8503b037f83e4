"""Everything a fit has to remember to go on after a kill as if nothing had happened, in whole files."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from maf.flow import chosen
from maf.run_directory import EpochRecord, arrays_to_variables, read_arrays, variables_to_arrays, write_arrays

if TYPE_CHECKING:
    from maf.config import TrainingConfig


class TrainingState:
    """Variables of model and optimiser, their means, the best ones so far, and where in which epoch the fit is.

    Attributes:
      averages: running means of the trainable variables, which are what is validated and kept.
      epoch, step: epochs completed, and steps done of the one after them.
      learning_rate: of the plateau schedule.
      weight_decay: as it is now.
      best_epoch, epochs_since_best: by validation NLL; epochs count from 1.
      seconds: spent on the steps of the current epoch.
      history: records of the epochs completed.
    """

    def __init__(self, distribution: Any, optimizer: Any, config: TrainingConfig) -> None:
        self.optimizer = optimizer
        self.learning_rate = config.learning_rate
        self.weight_decay = chosen(config.weight_decay)
        self.epoch = 0
        self.step = 0
        self.best_epoch = 0
        self.best_nll = math.inf
        self.epochs_since_best = 0
        self.seconds = 0.0
        self.history: list[EpochRecord] = []
        self._nll_sum = 0.0
        self._variables = distribution.variables
        self._trained = distribution.trainable_variables
        self.averages = [tf.Variable(variable, trainable=False) for variable in self._trained]
        self._best = [variable.numpy() for variable in self._variables]

    @property
    def all_seconds(self) -> float:
        """Spent on the steps of all epochs."""
        return sum(record.seconds for record in self.history) + self.seconds

    @property
    def training_nll(self) -> float:
        """Mean over the steps of the current epoch so far, nats."""
        return self._nll_sum / max(self.step, 1)

    def count(self, nll: float) -> None:
        """Counts one step."""
        self.step += 1
        self._nll_sum += nll

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """While it is open, the model's trainable variables are their running means."""
        values = [variable.numpy() for variable in self._trained]
        for variable, average in zip(self._trained, self.averages, strict=True):
            variable.assign(average)
        try:
            yield
        finally:
            for variable, value in zip(self._trained, values, strict=True):
                variable.assign(value)

    def end_epoch(self, validation_nll: float, smallest_improvement: float) -> None:
        """Closes the current epoch and keeps the model's weights as they are now if they are the best."""
        self.epoch += 1
        self.history.append(
            EpochRecord(
                epoch=self.epoch,
                training_nll=self.training_nll,
                validation_nll=validation_nll,
                learning_rate=float(self.optimizer.learning_rate.numpy()),
                weight_decay=self.weight_decay,
                seconds=self.seconds,
            )
        )
        improved = validation_nll < self.best_nll - smallest_improvement
        self.epochs_since_best = 0 if improved else self.epochs_since_best + 1
        if validation_nll < self.best_nll:
            self.best_nll, self.best_epoch = validation_nll, self.epoch
            self._best = [variable.numpy() for variable in self._variables]
        self.step, self._nll_sum, self.seconds = 0, 0.0, 0.0

    def restore_best(self) -> None:
        """Puts the best weights into the model."""
        for variable, value in zip(self._variables, self._best, strict=True):
            variable.assign(value)

    def save(self, path: Path) -> None:
        """Writes the state; a kill leaves the one before it."""
        counters = {name: getattr(self, name) for name in _COUNTERS}
        counters["history"] = [dataclasses.asdict(record) for record in self.history]
        write_arrays(
            path,
            {
                **variables_to_arrays(self._variables, "model"),
                **variables_to_arrays(self.optimizer.variables, "optimizer"),
                **variables_to_arrays(self.averages, "average"),
                **{f"best/{i:03d}": value for i, value in enumerate(self._best)},
                "counters": np.array(json.dumps(counters)),
            },
        )

    def load(self, path: Path) -> None:
        """Takes over what `save` wrote."""
        arrays = read_arrays(path)
        arrays_to_variables(arrays, self._variables, "model")
        arrays_to_variables(arrays, self.optimizer.variables, "optimizer")
        arrays_to_variables(arrays, self.averages, "average")
        self._best = [arrays[f"best/{i:03d}"] for i in range(len(self._variables))]
        counters = json.loads(str(arrays["counters"]))
        self.history = [EpochRecord(**record) for record in counters.pop("history")]
        for name, value in counters.items():
            setattr(self, name, value)


_COUNTERS = (
    "learning_rate",
    "weight_decay",
    "epoch",
    "step",
    "best_epoch",
    "best_nll",
    "epochs_since_best",
    "seconds",
    "_nll_sum",
)
