"""What is exported and how: a source loads to a `TrainedModel`, and `ExportOptions` say what the version is to be like.

    RunSource(run directory)          ┐
    CheckpointSource(builder, path)   ├─ load() ─> TrainedModel ─> saved_model.export_model(model, base, options)
    a distribution in this process    ┘

Sources are checked when they are named; nothing here loads TensorFlow before `load()`.
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.builder import parse_builder
from export.contract import WARM, ConditionColumn, TrainingSummary, check_column_names, encoded_columns
from export.errors import OptionError
from maf.run_directory import RunDirectory, read_run
from maf_serving.columns import as_condition_columns
from maf_serving.errors import ContractError
from maf_serving.strict_json import parse_json, read_value

if TYPE_CHECKING:
    from maf.run_directory import TrainedRun
    from maf_serving.batching import BatchingParameters


QUANTILE_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
DEVICES = ("cpu", "gpu")
SUMMARY_DRAWS = 1024
MOST_DRAWS = 2**16
ALL = "all"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A trained density p(x | c), and what its columns are called: all that an export has to know of a model.

        >>> flow = build_flow(FlowConfig(event_size=1, condition_size=1))
        >>> season = as_condition_columns(["season"])
        >>> TrainedModel(distribution=flow, event_columns=("price",), condition_columns=season).event_columns
        ('price',)

    Attributes:
      distribution: trained `tfd.TransformedDistribution` with event shape `[D]`, float32 or float64.
      event_columns: names of the D columns of `x`, in order.
      condition_columns: the raw columns of the condition, in order; none for an unconditional model. The C columns of
        `conditional_input` are what they are encoded to: a column that is a plain number is its own encoding.
      training: how the model was trained, for the contract; `None` where that is not known.

    Raises:
      ContractError: if the columns are no list of different names.
    """

    distribution: Any
    event_columns: tuple[str, ...]
    condition_columns: tuple[ConditionColumn, ...] = ()
    training: TrainingSummary | None = None

    def __post_init__(self) -> None:
        check_column_names(self.event_columns, [column.name for column in self.condition_columns])

    @property
    def conditional_columns(self) -> tuple[str, ...]:
        """Names of the C columns of `conditional_input`, in order."""
        return encoded_columns(self.condition_columns)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How a model is exported.

        >>> ExportOptions(warmup_batch_sizes=(1, 64)).version is None
        True

    Attributes:
      version: number of the version; `None` for one more than the greatest there is.
      signatures: names of those to offer, beside what others are made of: `log_prob`, `inverse`, `forward`, and the
        encoding of raw columns; `None` for all that the model can have. Each costs a second or so of an export.
      warmup_batch_sizes: numbers of rows of the warm-up requests that a server answers before it calls the version
        available, for each of which there is one request of every one of `warmup_signatures`; none for no warm-up.
      warmup_signatures: names of those that a server prepares before it calls the version available, as far as the
        version has them; `None` for all. The first request of another takes the second or so that this saved.
      quantile_levels: levels of the quantiles that `summarize` answers with.
      summary_draws: draws of each row that `summarize` is made of where there are several event columns; a power of 2
        fills the space most evenly.
      device: what computes the version best, one of `DEVICES`. `"gpu"` leaves out what has kernels for processors
        alone, by which many rows run on several cores; a processor computes such a version all the same.
      batching: how a server with `--enable_per_model_batching_parameters` gathers requests; `None` for no file of it.

    Raises:
      OptionError: if the levels or the number of draws are none that a summary can have, or the device is unknown.
    """

    version: int | None = None
    signatures: tuple[str, ...] | None = None
    warmup_batch_sizes: tuple[int, ...] = (1,)
    warmup_signatures: tuple[str, ...] | None = WARM
    quantile_levels: tuple[float, ...] = QUANTILE_LEVELS
    summary_draws: int = SUMMARY_DRAWS
    device: str = DEVICES[0]
    batching: BatchingParameters | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise OptionError(f"device is {self.device!r}; expected {' or '.join(DEVICES)}")
        levels = self.quantile_levels
        ascending = all(low < high for low, high in itertools.pairwise(levels))
        if not levels or not ascending or not all(0 < level < 1 and round(level, 4) == level for level in levels):
            raise OptionError(
                f"quantile_levels is {', '.join(f'{level:g}' for level in levels) or 'empty'}; expected ascending "
                "shares between 0 and 1 with at most four digits, such as 0.05,0.5,0.95"
            )
        if not 2 <= self.summary_draws <= MOST_DRAWS:
            raise OptionError(f"summary_draws is {self.summary_draws}; expected a number from 2 to {MOST_DRAWS}")


@dataclasses.dataclass(frozen=True, slots=True)
class RunSource:
    """The directory of a finished run. Raises `RunError` if it is none.

    >>> RunSource(Path("runs/sales")).load().event_columns
    ('price',)
    """

    run: Path

    def __post_init__(self) -> None:
        RunDirectory(self.run).read_summary()

    def load(self) -> TrainedModel:
        """The trained model; TensorFlow is loaded here. Raises `RunError` if the run is damaged."""
        return model_of_run(read_run(self.run))


def model_of_run(run: TrainedRun) -> TrainedModel:
    """The model of a finished run, and how training went."""
    summary = run.training_summary
    return TrainedModel(
        distribution=run.distribution,
        event_columns=run.event_columns,
        condition_columns=run.condition_columns,
        training=TrainingSummary(
            training_rows=summary.training_rows,
            validation_rows=summary.validation_rows,
            test_rows=summary.test_rows,
            epochs=summary.epochs,
            validation_nll=summary.validation_nll,
            test_nll=summary.test_nll,
            dequantization=run.dequantization,
            lower_bounds=run.lower_bounds,
            upper_bounds=run.upper_bounds,
            profile=run.profile,
        ),
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSource:
    """A function that builds the model, a checkpoint of its weights, and the names of the columns.

        >>> source = CheckpointSource(
        ...     builder="shop.models:build_flow",
        ...     checkpoint=Path("checkpoints/flow"),
        ...     event_columns=("price",),
        ...     condition_columns=as_condition_columns(["season"]),
        ... )
        >>> [column.name for column in source.condition_columns]
        ['season']

    Attributes:
      builder: `package.module:function`; the function takes no arguments and returns the untrained distribution, or a
        tuple of it and of the object that was saved, a Keras model for example.
      checkpoint: directory or prefix of a `tf.train.Checkpoint`, or a `.weights.h5` file of Keras.
      event_columns: names of the D columns of `x`, in order.
      condition_columns: the raw columns of the condition, in order.

    Raises:
      OptionError: if the builder is no such text.
      ContractError: if the columns are no list of different names.
    """

    builder: str
    checkpoint: Path
    event_columns: tuple[str, ...]
    condition_columns: tuple[ConditionColumn, ...] = ()

    def __post_init__(self) -> None:
        parse_builder(self.builder)
        check_column_names(self.event_columns, [column.name for column in self.condition_columns])

    def load(self) -> TrainedModel:
        """The model with the weights of the checkpoint; TensorFlow is loaded here.

        Raises:
          OptionError: if there is no such function or checkpoint.
          ModelError: if the function does not return a distribution of these columns, or its masks were not kept.
          CheckpointError: if not every variable gets a value, or not every value of the model a variable.
        """
        from export.checkpoint import load_checkpoint  # noqa: PLC0415

        return TrainedModel(
            distribution=load_checkpoint(
                self.builder, self.checkpoint, self.event_columns, encoded_columns(self.condition_columns)
            ),
            event_columns=self.event_columns,
            condition_columns=self.condition_columns,
        )


def read_source(
    *,
    run: Path | None,
    builder: str | None,
    checkpoint: Path | None,
    event: tuple[str, ...] | None,
    condition: tuple[str, ...] | None,
    condition_spec: Path | None,
) -> RunSource | CheckpointSource:
    """The source that the options of the command name. Raises `OptionError` if they name none, or two."""
    others = {
        "builder": builder,
        "checkpoint": checkpoint,
        "event": event,
        "condition": condition,
        "condition_spec": condition_spec,
    }
    given = [f"--{name}" for name, value in others.items() if value is not None]
    if run is not None:
        if given:
            raise OptionError(
                f"--run came with {', '.join(given)}; a run knows its model and columns: give --run alone"
            )
        return RunSource(run)
    if builder is None or checkpoint is None or event is None:
        raise OptionError(
            f"got {', '.join(given) or 'no model'}; expected --run DIR, or --builder package.module:function "
            "--checkpoint PATH --event COLUMNS [--condition COLUMNS | --condition_spec FILE]"
        )
    if condition is not None and condition_spec is not None:
        raise OptionError(
            "got --condition and --condition_spec; expected --condition for plain numbers, or --condition_spec "
            "for all columns where categories or nulls are among them"
        )
    return CheckpointSource(
        builder=builder,
        checkpoint=checkpoint,
        event_columns=event,
        condition_columns=read_condition_columns(condition_spec)
        if condition_spec is not None
        else as_condition_columns(condition or ()),
    )


def read_condition_columns(path: Path) -> tuple[ConditionColumn, ...]:
    """The columns in the file, in order.

        [{"name": "season"}, {"name": "region", "kind": "string", "vocabulary": ["north", "south"], "nullable": true}]

    Raises:
      OptionError: if the file cannot be read, or is no such list.
    """
    try:
        data = parse_json(path.read_text(encoding="utf-8"), "file", error=ContractError)
        columns: tuple[ConditionColumn, ...] = read_value(
            tuple[ConditionColumn, ...], data, "the file", error=ContractError
        )
    except OSError as error:
        raise OptionError(f"condition_columns {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # of UTF-8, of JSON, of a column
        raise OptionError(
            f'condition_columns {path}: {error}; expected a JSON list such as [{{"name": "season"}}, '
            '{"name": "region", "kind": "string", "vocabulary": ["north", "south"], "nullable": true}]'
        ) from error
    if not columns:
        raise OptionError(f"condition_columns {path} has no columns; leave it out for an unconditional model")
    return columns
