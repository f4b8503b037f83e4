"""A search: trials one after the other, in a directory that survives a kill.

A trial out of time or out of hope is ended. On a small table each is judged on several splits.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from maf.errors import DataError, TrainingError
from maf.flow import chosen, size_all
from maf.likelihood import RowsLikelihood
from maf.preparation import describe_columns
from maf.search.search_directory import SearchDirectory, TrialTable
from maf.search.space import configure, first_values, space
from maf.train import train_on
from maf_serving.command import silent, when_interrupted

if TYPE_CHECKING:
    from maf.config import RunConfig
    from maf.rows import Rows
    from maf.run_directory import EpochRecord
    from maf.search.arguments import SearchArguments

FIRST_TRIALS = 5  # before trials are stopped for being worse than others
OUTCOME = "outcome"  # attribute of a trial that ended by itself: its seconds, and its validation NLL or why it has none
Array = np.ndarray[Any, Any]
CHECKPOINTS = 20  # shares of a trial's epochs at which trials are compared: their numbers of epochs differ
FEW_ROWS = 3_000
FOLDS = 5  # of a table of few rows
FOLD_STREAM = 0xF01D


def search(
    arguments: SearchArguments,
    *,
    announce: Callable[[str], object] = print,
    clock: Callable[[], float] = time.monotonic,
) -> str:
    """Runs or continues a search; returns what to tell the person at its end.

    Raises:
      SearchError: if the directory belongs to another search, or is none.
      TrainingError: if no trial could be finished.
    """
    directory = SearchDirectory(arguments.output)
    directory.open(arguments)
    config = arguments.config
    rows = directory.split(config.data, announce, dtype=config.flow.dtype, seed=config.training.seed)
    config = describe_columns(config, rows)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sized = size_all(config.flow, config.training, len(rows.training))
    distributions = space(*sized, arguments.fixed)
    first = first_values(*sized, arguments.fixed)
    study = _open_study(directory, config.training.seed)
    count = 1 if config.data.split_by is not None else count_folds(rows, arguments.folds)
    folds = [rows, *other_folds(rows, count, seed=config.training.seed)]
    if count > 1:
        announce(f"each trial is trained on {count} splits, and judged by the validation rows of all")
    table = TrialTable(distributions)
    announce(table.header)
    for trial in _finished(study):
        announce(_line(table, directory, trial))
    with when_interrupted(lambda _: f"{directory.path} has {len(_finished(study))} trials; the same command goes on"):
        while len(_finished(study)) < arguments.max_trials and _seconds_used(study) < arguments.time_budget:
            _enqueue(study, first)
            left = arguments.time_budget - _seconds_used(study)
            _run_trial(study, distributions, config, folds, directory, left=left, clock=clock)
            announce(_line(table, directory, _finished(study)[-1]))
    return _describe(study, directory)


def _open_study(directory: SearchDirectory, seed: int) -> optuna.Study:
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(directory.journal))),
        study_name="search",
        load_if_exists=True,
        # a sampler's generator is not stored: after an interruption it must not repeat itself
        sampler=optuna.samplers.TPESampler(
            seed=seed + directory.count_trials(), n_startup_trials=FIRST_TRIALS, multivariate=True
        ),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=FIRST_TRIALS, n_warmup_steps=2 * CHECKPOINTS // 5),
    )
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):  # a kill left it
        if OUTCOME in trial.user_attrs:
            _settle(study, directory, trial.number, trial.user_attrs[OUTCOME])
        else:
            study.tell(trial.number, state=TrialState.FAIL)
            study.enqueue_trial(trial.params)
    return study


def _enqueue(study: optuna.Study, first: list[dict[str, Any]]) -> None:
    """The next of the trials to begin with that there was not yet, unless one waits to be tried again."""
    trials = study.get_trials(deepcopy=False)
    if any(trial.state == TrialState.WAITING for trial in trials):
        return
    for values in first:
        study.enqueue_trial(values, skip_if_exists=True)
        if len(study.get_trials(deepcopy=False)) > len(trials):
            return


def _run_trial(
    study: optuna.Study,
    distributions: dict[str, Any],
    base: RunConfig,
    folds: Sequence[Rows],
    directory: SearchDirectory,
    *,
    left: float,
    clock: Callable[[], float],
) -> None:
    """Trains the next configuration on each of the splits, and keeps the run on the first if it is the best."""
    started = clock()
    trial = study.ask(distributions)
    config = configure(base, trial.params)
    nobody_finished = not study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    deadline = None if nobody_finished else started + left  # a search leaves a run, whatever its budget
    _, sized = size_all(config.flow, config.training, len(folds[0].training))
    log_probs = []
    try:
        for fold, rows in enumerate(folds):
            observer = TrialObserver(
                None if fold else trial, epochs=chosen(sized.max_epochs), deadline=deadline, clock=clock
            )
            run = directory.new_fold(config) if fold else directory.new_trial(config)
            trained = train_on(rows, config, run, announce=silent, observer=observer)
            likelihood = RowsLikelihood(trained.distribution, len(config.data.event), rows.condition)
            log_probs.append(_counted(likelihood.evaluate(rows.validation), rows.weights_of("validation")))
    except (TrialStopped, TrainingError) as end:
        reason = "failed" if isinstance(end, TrainingError) else str(end)
        outcome = {"seconds": clock() - started, "end": reason, "pruned": bool(trial.should_prune())}
    else:
        log_prob = np.concatenate(log_probs)
        directory.finish_trial(trial.number, log_prob)
        outcome = {"seconds": clock() - started, "validation_nll": float(-log_prob.mean())}
    trial.set_user_attr(OUTCOME, outcome)
    _settle(study, directory, trial.number, outcome)


def _counted(log_prob: Array, weights: Array | None) -> Array:
    """Log-densities `[N]` whose plain mean is that by weights."""
    return log_prob if weights is None else log_prob * weights / np.mean(weights, dtype=np.float64)


def _settle(study: optuna.Study, directory: SearchDirectory, number: int, outcome: dict[str, Any]) -> None:
    """Keeps the run of a trial that ended if it is the best, and tells Optuna."""
    if "validation_nll" in outcome:
        directory.keep_if_best(number)
        study.tell(number, outcome["validation_nll"])
    else:
        study.tell(number, state=TrialState.PRUNED if outcome["pruned"] else TrialState.FAIL)


def _finished(study: optuna.Study) -> list[Any]:
    """Trials that ended by themselves; not those that a kill ended."""
    return [trial for trial in study.get_trials(deepcopy=False) if OUTCOME in trial.user_attrs]


def _seconds_used(study: optuna.Study) -> float:
    return float(sum(trial.user_attrs[OUTCOME]["seconds"] for trial in _finished(study)))


def _line(table: TrialTable, directory: SearchDirectory, trial: Any) -> str:
    outcome = trial.user_attrs[OUTCOME]
    shown = outcome.get("end", "")
    if trial.state == TrialState.COMPLETE:
        shown = f"{trial.value:.4f} {'*' if trial.number == directory.best_number else ' '}"
    return table.line(trial.number, trial.params, outcome=shown[:14], seconds=outcome["seconds"])


def _describe(study: optuna.Study, directory: SearchDirectory) -> str:
    if not study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
        raise TrainingError(
            f"none of {len(_finished(study))} trials could be finished; look for extreme values in the table"
        )
    summary = directory.best.read_summary()
    lines = [f"best            trial {directory.best_number} of {len(_finished(study))}: {directory.best.path}"]
    lines.append(f"validation NLL  {summary.validation_nll:.4f} nats")
    if summary.test_nll is not None:
        lines.append(f"test NLL        {summary.test_nll:.4f} ± {summary.test_nll_standard_error:.4f} nats, raw units")
    lines.append(f"next            maf-serving export --run {directory.best.path} --model models/NAME")
    return "\n".join(lines)


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


def count_folds(rows: Rows, asked: int | None) -> int:
    """In how many splits each trial is trained: `asked`, or a number that the rows decide.

    Raises:
      DataError: if there are not enough rows for as many as asked.
    """
    most = 1 + len(rows.training) // max(1, len(rows.validation))
    if asked is None:
        return min(most, FOLDS) if len(rows.training) < FEW_ROWS else 1
    if asked > most:
        raise DataError(
            f"folds is {asked} but {len(rows.training):,} training and {len(rows.validation):,} validation rows make "
            f"at most {most}; ask for fewer or lower --validation_share"
        )
    return asked


def other_folds(rows: Rows, count: int, *, seed: int) -> Iterator[Rows]:
    """`count - 1` splits beside that of `rows`, with as many validation rows, no two of them the same.

    The validation rows of each are training rows of all others. Moments and vocabularies stay those of `rows`.
    """
    size = len(rows.validation)
    order = np.random.default_rng([seed, FOLD_STREAM]).permutation(len(rows.training))
    for fold in range(count - 1):
        held_out, others = np.split(np.roll(order, -fold * size), [size])
        weights = None
        if rows.weights is not None:
            own, held = rows.weights["training"], rows.weights["validation"]
            weights = {
                **rows.weights,
                "training": np.concatenate([own[np.sort(others)], held]),
                "validation": np.asarray(own[np.sort(held_out)]),
            }
        yield dataclasses.replace(
            rows,
            weights=weights,
            training=np.concatenate([rows.training[np.sort(others)], rows.validation]),
            validation=np.asarray(rows.training[np.sort(held_out)]),
        )
