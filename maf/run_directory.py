"""What a training run leaves behind, and how to load it again.

config.json     RunConfig: data, flow and training options, with the autoregressive orders written out
weights.npz     the best weights, once the run is finished
summary.json    rows, epochs and NLLs, once the run is finished
profile.json    what training saw of each column, once the run is finished
history.jsonl   one EpochRecord a line
tensorboard/    the same, for TensorBoard
state.npz       while it runs: all that `--resume` needs
rows/           while it runs: the split rows
table.parquet, test_table.parquet   of a run whose rows came from memory: these rows
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maf.config import DataConfig, RunConfig
from maf.errors import ConfigError, DamagedRunError, RunError
from maf_serving.columns import ConditionColumn, encoded_columns
from maf_serving.strict_json import parse_dataclass
from maf_serving.training_profile import TrainingProfile

if TYPE_CHECKING:
    import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class RunSummary:
    """The outcome of a run. NLLs are means in nats, in raw units of the event columns.

    Attributes:
      training_rows, validation_rows, test_rows: sizes of the splits.
      dropped_rows: rows left out because a value was missing.
      epochs: passes over the training rows.
      validation_nll: of the best weights, which early stopping chose by it.
      test_nll: on the test rows; `None` if there are none.
      test_nll_standard_error: of that mean.
    """

    training_rows: int
    validation_rows: int
    test_rows: int
    dropped_rows: int
    epochs: int
    validation_nll: float
    test_nll: float | None
    test_nll_standard_error: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class TrainedRun:
    """A finished run, loaded.

    Attributes:
      distribution: the trained `tfd.TransformedDistribution`.
      event_columns: names of the columns of `x`.
      condition_columns: the raw columns that `conditional_input` is the encoding of.
      training_summary: how training went.
      dequantization: by event column, the width of the noise that its values had; others had none.
      lower_bounds, upper_bounds: by event column that has one, the least and the greatest value it can have.
      profile: what training saw of each column; `None` of a run that was trained before there was one.
    """

    distribution: Any
    event_columns: tuple[str, ...]
    condition_columns: tuple[ConditionColumn, ...]
    training_summary: RunSummary
    dequantization: Mapping[str, float]
    lower_bounds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    upper_bounds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    profile: TrainingProfile | None = None

    @property
    def conditional_columns(self) -> tuple[str, ...]:
        """Names of the entries of `conditional_input`."""
        return encoded_columns(self.condition_columns)


@dataclasses.dataclass(frozen=True, slots=True)
class RunDirectory:
    """The paths in a run directory, and how they are written: each file is either whole or not there."""

    path: Path

    @property
    def config(self) -> Path:
        """`RunConfig` as JSON."""
        return self.path / "config.json"

    @property
    def weights(self) -> Path:
        """Variables of the trained distribution."""
        return self.path / "weights.npz"

    @property
    def summary(self) -> Path:
        """`RunSummary` as JSON; that it is there says that the run is finished."""
        return self.path / "summary.json"

    @property
    def profile(self) -> Path:
        """`TrainingProfile` as JSON."""
        return self.path / "profile.json"

    @property
    def history(self) -> Path:
        """An `EpochRecord` a line."""
        return self.path / "history.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Event files."""
        return self.path / "tensorboard"

    @property
    def state(self) -> Path:
        """`TrainingState`, while the run goes on."""
        return self.path / "state.npz"

    @property
    def rows(self) -> Path:
        """Split rows, while the run goes on."""
        return self.path / "rows"

    @property
    def table(self) -> Path:
        """The rows of a run whose table came from memory: to go on with it, and for its report."""
        return self.path / "table.parquet"

    @property
    def test_table(self) -> Path:
        """Its test rows, if they were given apart."""
        return self.path / "test_table.parquet"

    def create(self, config: RunConfig) -> None:
        """Makes the directory. Raises `RunError` if there is something in it."""
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise RunError(
                f"run directory {self.path} exists; name a new one, or continue an unfinished run with --resume"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_config(config)

    def write_config(self, config: RunConfig) -> None:
        """Writes the configuration, now that nothing in it is automatic."""
        _write(self.config, config.to_json())

    def remove_unstarted(self) -> None:
        """Removes the directory of a run whose rows could not be read: there is nothing to resume."""
        shutil.rmtree(self.rows, ignore_errors=True)
        for path in (self.config, self.table, self.test_table):
            path.unlink(missing_ok=True)
        self.path.rmdir()

    def leave_interrupted(self) -> str:
        """Removes a new run that has trained nothing yet; or says what there is, and how to go on with it."""
        if self.summary.exists() or self.state.exists() or self.history.exists():
            return self.describe_unfinished()
        shutil.rmtree(self.tensorboard, ignore_errors=True)
        self.remove_unstarted()
        return "nothing was written"

    def describe_unfinished(self) -> str:
        """What is left of a run that was cut short, and how to go on if there is something to go on with."""
        if self.summary.exists():
            return f"run {self.path} is finished"
        if not self.config.exists():
            return "nothing was written"
        epochs = len(self.history.read_text(encoding="utf-8").splitlines()) if self.history.exists() else 0
        if epochs:
            saved = f"{epochs} finished epoch{'s' if epochs > 1 else ''}"
        else:
            saved = "a part of its first epoch" if self.state.exists() else "its options, and no trained weights yet"
        return f"{self.path} has {saved}; go on with: maf-serving train --run {self.path} --resume"

    def read_config(self) -> RunConfig:
        """The run's configuration. Raises `RunError` if this is no run directory."""
        text = _read(self.config)
        try:
            return RunConfig.from_json(text)
        except ConfigError as error:
            raise RunError(f"{self.config}: {error}") from error

    def write_history(self, history: Sequence[EpochRecord]) -> None:
        """Writes one line for each epoch."""
        _write(self.history, "".join(json.dumps(dataclasses.asdict(record)) + "\n" for record in history))

    def finish(self, summary: RunSummary, profile: TrainingProfile | None = None) -> None:
        """Marks the run as finished and removes what only an unfinished one needs."""
        if profile is not None:
            _write(self.profile, json.dumps(profile.to_data()) + "\n")
        _write(self.summary, json.dumps(dataclasses.asdict(summary), indent=2) + "\n")
        self.state.unlink(missing_ok=True)
        shutil.rmtree(self.rows, ignore_errors=True)

    def read_summary(self) -> RunSummary:
        """The outcome of a finished run. Raises `RunError` if it is not finished."""
        if not self.summary.exists() and self.config.exists():
            raise RunError(
                f"run {self.path} is not finished; finish it with: maf-serving train --run {self.path} --resume"
            )
        return parse_dataclass(RunSummary, _read(self.summary), f"summary {self.summary}", error=RunError)

    def read_profile(self) -> TrainingProfile | None:
        """What training saw; `None` of a run that was trained before there was a profile."""
        if not self.profile.exists():
            return None
        return parse_dataclass(TrainingProfile, _read(self.profile), f"profile {self.profile}", error=RunError)


def read_run(path: str | Path) -> TrainedRun:
    """The trained model of a run directory. Raises `RunError` if it is none, not finished or damaged."""
    # imported here: an exporter asks for a run's errors and paths before it needs TensorFlow
    from maf.flow import build_flow  # noqa: PLC0415

    directory = RunDirectory(Path(path))
    config = directory.read_config()
    summary = directory.read_summary()
    distribution = build_flow(config.flow, seed=config.training.seed)
    arrays_to_variables(read_arrays(directory.weights), distribution.variables, "model")
    return make_run(distribution, config.data, summary, directory.read_profile())


def make_run(
    distribution: Any, data: DataConfig, summary: RunSummary, profile: TrainingProfile | None = None
) -> TrainedRun:
    """The run of a trained distribution."""
    return TrainedRun(
        distribution,
        data.event,
        data.columns,
        summary,
        data.dequantization_widths,
        data.lower_bounds,
        data.upper_bounds,
        profile,
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(
            f"{path} cannot be read ({error}); expected a run directory written by maf-serving train"
        ) from error


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes an `.npz` of plain arrays (no pickle) and then puts it in place of `path`."""
    import numpy as np  # noqa: PLC0415  # --help of whatever reads a run must not wait for it

    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def read_arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What `write_arrays` wrote. Raises `DamagedRunError` if it cannot be read."""
    import numpy as np  # noqa: PLC0415  # as above

    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError) as error:
        raise DamagedRunError(f"{path} cannot be read ({error}); expected arrays that a training run wrote") from error


def variables_to_arrays(variables: Sequence[Any], prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    """Values of `variables`, named by their place: variable names differ between processes, Keras counts them up."""
    return {f"{prefix}/{i:03d}": variable.numpy() for i, variable in enumerate(variables)}


def arrays_to_variables(arrays: Mapping[str, np.ndarray[Any, Any]], variables: Sequence[Any], prefix: str) -> None:
    """Assigns what `variables_to_arrays` made of the same variables. `DamagedRunError` if they are others."""
    stored = [array for name, array in arrays.items() if name.startswith(f"{prefix}/")]
    came, expected = [array.shape for array in stored], [tuple(variable.shape) for variable in variables]
    if came != expected:
        raise DamagedRunError(f"the stored {prefix} has arrays of shapes {came}; the configured one expects {expected}")
    for variable, value in zip(variables, stored, strict=True):
        variable.assign(value)


@dataclasses.dataclass(frozen=True, slots=True)
class EpochRecord:
    """One line of a run's history; NLLs in nats, raw units."""

    epoch: int
    training_nll: float
    validation_nll: float
    learning_rate: float
    seconds: float
    weight_decay: float | None = None  # of records from before it could change
