"""A training run from table to run directory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from maf.arguments import Arguments, flag_of
from maf.bounds import check_bounds
from maf.errors import RunError, TrainingError
from maf.fitting import Observer, fit
from maf.likelihood import RowsLikelihood
from maf.observers import EpochProgress, TensorBoard, reading_progress
from maf.preparation import prepare, warn_of_rows
from maf.profiling import profile_rows
from maf.rows import Rows, split_table
from maf.run_directory import (
    EpochRecord,
    RunDirectory,
    RunSummary,
    TrainedRun,
    make_run,
    read_run,
    variables_to_arrays,
    write_arrays,
)
from maf.standardization import noise_widths
from maf_serving.command import when_interrupted

if TYPE_CHECKING:
    from maf.config import DataConfig, RunConfig


def start_or_continue(arguments: Arguments, *, announce: Callable[[str], object] = print) -> str:
    """Starts or resumes the run that the command line asks for; returns what to tell the person at its end.

    Raises:
      MafError: as `start_run` and `continue_run` do; `TrainingError` if the disk is full, too.
    """
    directory = RunDirectory(arguments.run)
    try:
        return _describe(_run(arguments, directory, announce), directory)
    except OSError as error:
        raise TrainingError(f"{error}; {directory.describe_unfinished()}") from error


def _run(arguments: Arguments, directory: RunDirectory, announce: Callable[[str], object]) -> TrainedRun:
    if arguments.config is not None and not (arguments.resume and directory.config.exists()):
        return start_run(arguments.config, directory.path, announce=announce)
    if arguments.config is not None:
        check_same(arguments.config, directory.path)
    return continue_run(directory.path, announce=announce)


def start_run(
    config: RunConfig,
    path: str | Path,
    *,
    announce: Callable[[str], object] = print,
    write_tables: Callable[[RunDirectory], object] = lambda _: None,
) -> TrainedRun:
    """Trains the flow of `config` in a new run directory.

        >>> data = DataConfig(data=("sales.parquet",), event=("price",), condition=("season",))
        >>> config = RunConfig(
        ...     data=data, flow=FlowConfig(event_size=1, condition_size=1), training=TrainingConfig(max_epochs=2)
        ... )
        >>> run = start_run(config, "runs/sales", announce=lambda line: None)
        >>> run.event_columns, run.training_summary.epochs
        (('price',), 2)

    Args:
      config: data, flow and training options.
      path: of the run directory; new, or empty.
      announce: takes the lines a person reads.
      write_tables: writes what `config.data` names into the new directory, if it is not there before.

    Raises:
      DataError: if the table cannot be trained on; the directory is then removed again.
      RunError: if the directory is taken.
      TrainingError: if the loss is no number.
    """
    directory = RunDirectory(Path(path))
    directory.create(config)
    with when_interrupted(lambda _: directory.leave_interrupted()):
        try:
            write_tables(directory)
            rows = _split(config.data, directory, announce, dtype=config.flow.dtype, seed=config.training.seed)
        except BaseException:
            directory.remove_unstarted()
            raise
        return train_on(rows, config, directory, announce=announce)


def continue_run(path: str | Path, *, announce: Callable[[str], object] = print) -> TrainedRun:
    """Continues a run that was cut short, with its own configuration; a finished one is only loaded.

        >>> continue_run("runs/sales", announce=lambda line: None).training_summary.epochs
        2

    Raises:
      RunError: if `path` is no run directory.
    """
    directory = RunDirectory(Path(path))
    config = directory.read_config()
    if directory.summary.exists():
        announce(f"run {path} is finished: nothing to resume")
        return read_run(path)
    with when_interrupted(lambda _: directory.describe_unfinished()):
        rows = _split(config.data, directory, announce, dtype=config.flow.dtype, seed=config.training.seed)
        return train_on(rows, config, directory, announce=announce)


def check_same(config: RunConfig, path: str | Path) -> None:
    """Raises `RunError` naming the first option in which `config` differs from that of the run at `path`."""
    stored = RunDirectory(Path(path)).read_config()
    for section in ("data", "flow", "training"):
        asked, kept = getattr(config, section), getattr(stored, section)
        for field in dataclasses.fields(asked):
            automatic = getattr(asked, field.name) is None
            implied = field.name == "condition_size"  # by the columns and what is in them
            if not automatic and not implied and getattr(asked, field.name) != getattr(kept, field.name):
                raise RunError(
                    f"{flag_of(field.name)} is {getattr(asked, field.name)!r} but run {path} was started with "
                    f"{getattr(kept, field.name)!r}; resume it with its own options, or start a new run"
                )


def _split(
    data: DataConfig, directory: RunDirectory, announce: Callable[[str], object], *, dtype: str, seed: int
) -> Rows:
    with reading_progress() as on_rows:
        rows = split_table(data, directory.rows, dtype=dtype, seed=seed, on_rows=on_rows)
    check_bounds(data, rows)
    announce(f"rows: {len(rows.training):,} training, {len(rows.validation):,} validation, {len(rows.test):,} test")
    warn_of_rows(data, rows, announce)
    return rows


def train_on(
    rows: Rows,
    config: RunConfig,
    directory: RunDirectory,
    *,
    announce: Callable[[str], object] = print,
    observer: Observer | None = None,
) -> TrainedRun:
    """Trains, or goes on training, the flow of `config` on rows that are split already.

    Args:
      rows: the splits.
      config: of the run; what is automatic in it depends on the rows.
      directory: of the run, created.
      announce: takes the lines a person reads.
      observer: is told of steps and epochs; what it raises ends the fit.
    """
    prepared = prepare(config, rows)
    config, distribution = prepared.config, prepared.distribution
    directory.write_config(config)
    event_size = config.flow.event_size
    with _Recorder(directory, len(rows.training), announce, observer) as recorder:
        history = fit(
            distribution,
            rows.training,
            rows.validation,
            event_size=event_size,
            config=config.training,
            noise_widths=noise_widths(config.data),
            condition=rows.condition,
            weights=rows.weights_of("training"),
            validation_weights=rows.weights_of("validation"),
            state_path=directory.state,
            observer=recorder,
        )
    write_arrays(directory.weights, variables_to_arrays(distribution.variables, "model"))
    directory.write_history(history)
    likelihood = RowsLikelihood(distribution, event_size, rows.condition)
    summary = _summarize(likelihood, rows, history)
    profile = profile_rows(rows, config.data.event, likelihood.evaluate(rows.validation))
    directory.finish(summary, profile)
    return make_run(distribution, config.data, summary, profile)


def _summarize(likelihood: RowsLikelihood, rows: Rows, history: list[EpochRecord]) -> RunSummary:
    test_nll, standard_error = None, None
    if len(rows.test):
        test_nll, standard_error = likelihood.mean_nll(rows.test, rows.weights_of("test"))
    return RunSummary(
        training_rows=len(rows.training),
        validation_rows=len(rows.validation),
        test_rows=len(rows.test),
        dropped_rows=rows.dropped,
        epochs=len(history),
        validation_nll=min(record.validation_nll for record in history),
        test_nll=test_nll,
        test_nll_standard_error=standard_error,
    )


def _describe(run: TrainedRun, directory: RunDirectory) -> str:
    summary = run.training_summary
    lines = [f"validation NLL  {summary.validation_nll:.4f} nats, after {summary.epochs} epochs"]
    if summary.test_nll is not None:
        lines.append(
            f"test NLL        {summary.test_nll:.4f} ± {summary.test_nll_standard_error:.4f} nats, "
            f"{summary.test_rows:,} rows, raw units"
        )
    lines += [
        f"weights         {directory.weights}",
        f"history         {directory.history}   (tensorboard --logdir {directory.tensorboard})",
        f"next            maf-serving export --run {directory.path} --model models/{directory.path.name}",
    ]
    return "\n".join(lines)


class _Recorder:
    """Shows a fit to the person at the terminal, to TensorBoard, to the run's history file, and to one observer."""

    def __init__(
        self, directory: RunDirectory, num_rows: int, announce: Callable[[str], object], observer: Observer | None
    ) -> None:
        self._observer = observer
        self._directory = directory
        self._num_rows = num_rows
        self._share = 1.0  # of the epoch that was run: time can be over in the middle of one
        self._progress = EpochProgress(announce)
        self._board = TensorBoard(directory.tensorboard)

    def __enter__(self) -> _Recorder:
        self._board.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.close()
        self._board.__exit__(*exception)

    def on_step(self, epoch: int, step: int, steps: int, nll: float, rows: int) -> None:
        self._share = step / steps
        self._progress.on_step(epoch, step, steps, nll, rows)
        if self._observer is not None:
            self._observer.on_step(epoch, step, steps, nll, rows)

    def on_epoch(self, history: list[EpochRecord], *, is_best: bool) -> None:
        record = history[-1]
        rows_per_second = self._share * self._num_rows / max(record.seconds, 1e-9)
        self._progress.on_epoch(record, rows_per_second=rows_per_second, is_best=is_best)
        self._directory.write_history(history)
        scalars = {
            "nll/training": record.training_nll,
            "nll/validation": record.validation_nll,
            "learning_rate": record.learning_rate,
            "rows_per_second": rows_per_second,
        }
        self._board.write(record.epoch, scalars)
        if self._observer is not None:
            self._observer.on_epoch(history, is_best=is_best)
