"""The files of a search, as they must be whenever it is killed.

trials.journal  Optuna's record of all trials
rows/           the split rows, the same for every trial
trial/          the run directory of the trial that goes on
fold/           the run directory of the same trial on another split
best/           the run directory of the best trial so far, for `python -m export --run`
search.json     the configuration that the trials have in common

A trial replaces the best one only if it is better by more than the luck of the validation rows.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maf.bounds import check_bounds
from maf.config import DataConfig, RunConfig
from maf.errors import SearchError
from maf.observers import reading_progress
from maf.preparation import warn_of_rows
from maf.rows import Rows, split_table
from maf.run_directory import RunDirectory

if TYPE_CHECKING:
    from maf.search.arguments import SearchArguments

Array = np.ndarray[Any, Any]
NUMBER, LOG_PROB = "trial.json", "validation_log_prob.npy"  # in a finished run: which trial, and how it was judged
SHORT = {
    "num_layers": "layers",
    "num_bins": "bins",
    "base": "base",
    "hidden_width": "hidden",
    "condition_width": "width",
    "condition_depth": "depth",
    "condition_bins": "c bins",
    "condition_projections": "c proj",
    "batch_size": "batch",
    "max_epochs": "epochs",
    "learning_rate": "rate",
    "weight_decay": "decay",
    "most_weight_decay": "decay to",
    "dropout": "dropout",
}
WIDTH = 8
STANDARD_ERRORS = 1.0


class SearchDirectory:
    """The files of a search."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._trial = RunDirectory(path / "trial")
        self._fold = RunDirectory(path / "fold")
        self._config = path / "search.json"
        self.journal = path / "trials.journal"
        self.best = RunDirectory(path / "best")
        self._before = path / "best.before"

    def open(self, arguments: SearchArguments) -> None:
        """Makes the directory, or checks that it belongs to this search."""
        asked = {
            "config": json.loads(arguments.config.to_json()),
            "fixed": sorted(arguments.fixed),
            "folds": arguments.folds,
        }
        if self._config.exists():
            stored = json.loads(self._config.read_text(encoding="utf-8"))
            config = RunConfig.from_json(json.dumps(stored["config"]))  # options that are new since have their defaults
            own = (config, stored["fixed"], stored.get("folds", 1))  # before there were folds there was one
            if own != (arguments.config, asked["fixed"], arguments.folds):
                raise SearchError(
                    f"{self.path} holds a search with other options; continue it with its own, or name a new --output"
                )
            if not self.best.path.exists() and self._before.exists():
                self._before.rename(self.best.path)
            shutil.rmtree(self._before, ignore_errors=True)
            return
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise SearchError(f"{self.path} exists and holds no search; name a new --output")
        self.path.mkdir(parents=True, exist_ok=True)
        partial = self._config.with_name("search.json.partial")
        partial.write_text(json.dumps(asked, indent=2) + "\n", encoding="utf-8")
        partial.replace(self._config)

    def split(self, data: DataConfig, announce: Callable[[str], object], *, dtype: str, seed: int) -> Rows:
        """The rows, read once for all trials; a table that cannot be used leaves no directory."""
        try:
            with reading_progress() as on_rows:
                rows = split_table(data, self.path / "rows", dtype=dtype, seed=seed, on_rows=on_rows)
            check_bounds(data, rows)
        except BaseException:
            if not self.journal.exists():
                shutil.rmtree(self.path)
            raise
        warn_of_rows(data, rows, announce)
        return rows

    def count_trials(self) -> int:
        """Lines of the journal: as good as the number of trials, to seed a generator with."""
        return len(self.journal.read_bytes().splitlines()) if self.journal.exists() else 0

    def new_trial(self, config: RunConfig) -> RunDirectory:
        """An empty run directory for the next trial."""
        return _emptied(self._trial, config)

    def new_fold(self, config: RunConfig) -> RunDirectory:
        """An empty run directory for the trial on another split."""
        return _emptied(self._fold, config)

    def finish_trial(self, number: int, validation_log_prob: Array) -> None:
        """Notes which trial the run is, and how likely the validation rows of all folds are under it, `[N]`."""
        shutil.rmtree(self._fold.path, ignore_errors=True)
        np.save(self._trial.path / LOG_PROB, validation_log_prob)
        (self._trial.path / NUMBER).write_text(f"{number}\n", encoding="utf-8")

    def keep_if_best(self, number: int) -> None:
        """Makes the run of a finished trial the best if it is; safe to ask again after a kill."""
        if _number(self._trial) != number:
            return
        if self.best.summary.exists():
            mine, best = (np.load(run.path / LOG_PROB) for run in (self._trial, self.best))
            if not clearly_better(mine, best):
                return
            self.best.path.rename(self._before)
        self._trial.path.rename(self.best.path)
        shutil.rmtree(self._before, ignore_errors=True)

    @property
    def best_number(self) -> int | None:
        """Which trial's run is the best; `None` before there is one."""
        return _number(self.best)


def _emptied(run: RunDirectory, config: RunConfig) -> RunDirectory:
    shutil.rmtree(run.path, ignore_errors=True)
    run.create(config)
    return run


def _number(run: RunDirectory) -> int | None:
    path = run.path / NUMBER
    return int(path.read_text(encoding="utf-8")) if path.exists() else None


class TrialTable:
    """Lines of equal columns; `parameters` are the names of what is searched."""

    def __init__(self, parameters: Iterable[str]) -> None:
        self._parameters = tuple(parameters)

    @property
    def header(self) -> str:
        """The first line."""
        return "trial  validation NLL  seconds" + "".join(f"{SHORT[name]:>{WIDTH}s}" for name in self._parameters)

    def line(self, number: int, values: Mapping[str, Any], *, outcome: str, seconds: float) -> str:
        """The line of one trial; `outcome` is its validation NLL or why it has none."""
        cells = "".join(f"{_show(values.get(name)):>{WIDTH}s}" for name in self._parameters)
        return f"{number:5d}  {outcome:>14s}  {seconds:7.0f}{cells}"


def _show(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def clearly_better(log_prob: Array, other_log_prob: Array) -> bool:
    """Whether the first flow's log-densities `[N]` of the same rows exceed the second's by more than noise.

    The mean difference, row by row, must be more than its standard error. The best of many trials by mean alone is the
    luckiest of equals: on tables of a thousand rows it was worse on new rows than where the search started.
    """
    gains = log_prob - other_log_prob
    return bool(gains.mean() > STANDARD_ERRORS * gains.std() / math.sqrt(len(gains)))
