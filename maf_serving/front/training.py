"""Training in Python: from a table to a run, and what a run can be asked at once."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from maf_serving.errors import UsageError, did_you_mean
from maf_serving.front.model import Model
from maf_serving.front.tables import InputTable, column_names, open_table, table_paths, write_parquet
from maf_serving.quiet_tensorflow import import_with_probability
from maf_serving.saved_model import LoadedModel
from maf_serving.strict_json import read_value

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from export.contract import Contract
    from maf import run_directory
    from maf.config import RunConfig
    from maf_serving.columns import ConditionColumn
    from maf_serving.table_formats import CsvDialect

Paths = str | Path | Iterable["str | Path"]
Announce = Callable[[str], object]


class TrainingOptions(TypedDict, total=False):
    """Options of `ms.train`, with the names and defaults that `maf-serving train --help` lists.

        >>> options: ms.TrainingOptions = {"max_epochs": 1, "transform": "affine", "dequantize": {"price": 0.01}}
        >>> ms.train("new-0.parquet", event="price", run="runs/quick", announce=list, **options).summary.epochs
        1

    Those that are left out follow from the rows where they can.
    """

    csv: CsvDialect
    manifest: str
    validation_share: float
    test_share: float
    split_by: str
    weight: str
    max_rejected: float
    dequantize: Mapping[str, float] | Sequence[str]
    lower_bound: Mapping[str, float] | Sequence[str]
    upper_bound: Mapping[str, float] | Sequence[str]
    categorical: Sequence[str]
    date: Mapping[str, Sequence[str]] | Sequence[str]
    max_categories: int
    min_category_rows: int
    nulls: Literal["auto", "state", "drop"]
    nullable: Sequence[str]
    num_layers: int
    hidden_units: Sequence[int]
    condition_units: Sequence[int]
    condition_bins: int
    condition_projections: int
    regression: Literal["on", "off"]
    activation: str
    transform: Literal["affine", "spline"]
    num_bins: int
    spline_range: float
    log_scale_bound: float
    base: Literal["normal", "mixture"]
    mixture_components: int
    order: Literal["reverse", "random", "same"]
    dtype: Literal["float32", "float64"]
    minibatch_rows: int
    max_epochs: int
    max_seconds: float
    patience: int
    learning_rate: float
    learning_rate_schedule: Literal["plateau", "cosine", "constant"]
    gradient_clip_norm: float
    weight_decay: float
    most_weight_decay: float
    column_shrinkage: float
    dropout: float
    unknown_share: float
    weight_average: float
    jit_compile: Literal["on", "off"]
    checkpoint_seconds: float
    seed: int


class Run:
    """A finished training run: the trained distribution, how training went, and the model in this process.

        >>> run = ms.load_run("runs/sales")
        >>> run
        Run('runs/sales', event=['price'], condition=['season', 'region'])
        >>> run.summary.epochs
        1
        >>> len(run.log_prob({"price": [9.5, 20.0], "season": [1.0, 2.0], "region": ["north", None]}))
        2

    It answers as the exported model will: `log_prob`, `check`, `inverse`, `forward`, `summarize`, `quantile`, `cdf` and
    `sample` are those of `ms.Model`, and the same draws come from the same seed. The first question of each kind takes
    seconds, to make its function.

    Attributes:
      path: the run directory.
      distribution: the trained `tfd.TransformedDistribution`; `maf.log_prob` and `maf.make_bijector_kwargs` go with it.
      event_columns: names of the columns of x.
      summary: sizes of the splits, epochs, and NLLs in nats and raw units.
      trained: the same run as `maf` knows it.
    """

    def __init__(self, path: str | Path, run: run_directory.TrainedRun) -> None:
        """See `ms.train` and `ms.load_run`."""
        self.path = Path(path)
        self.distribution = run.distribution
        self.event_columns = run.event_columns
        self.summary = run.training_summary
        self.trained = run

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, event={[*self.event_columns]}, condition={[*self.condition_columns]})"

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """Names of the raw columns of the condition; none for an unconditional model."""
        return tuple(column.name for column in self.columns)

    @property
    def columns(self) -> tuple[ConditionColumn, ...]:
        """The raw columns of the condition, with vocabularies and nulls."""
        return self.trained.condition_columns

    @functools.cached_property
    def model(self) -> Model:
        """The functions that an export offers, made in this process; nothing is written or verified."""
        from export.saved_model import functions_in_process  # noqa: PLC0415  # TensorFlow
        from export.source import model_of_run  # noqa: PLC0415

        made = functions_in_process(model_of_run(self.trained))
        return Model(made.contract, LoadedModel(made).run)

    @property
    def contract(self) -> Contract:
        """What the exported model will promise."""
        return self.model.contract

    def log_prob(self, table: Any) -> Any:
        """Log-densities of the rows; see `ms.Model.log_prob`."""
        return self.model.log_prob(table)

    def check(self, table: Any) -> Any:
        """Why rows have no answer; see `ms.Model.check`."""
        return self.model.check(table)

    def inverse(self, table: Any) -> Any:
        """Where the rows lie in base space; see `ms.Model.inverse`."""
        return self.model.inverse(table)

    def forward(self, table: Any) -> Any:
        """The event columns of points in base space; see `ms.Model.forward`."""
        return self.model.forward(table)

    def summarize(self, table: Any = None, *, seed: int = 0) -> Any:
        """Mean, standard deviation and quantiles for each row of conditions; see `ms.Model.summarize`."""
        return self.model.summarize(table, seed=seed)

    def quantile(self, table: Any, levels: float | Sequence[float]) -> Any:
        """Quantiles for each row of conditions; see `ms.Model.quantile`."""
        return self.model.quantile(table, levels)

    def cdf(self, table: Any) -> Any:
        """How likely a value of at most each row's is; see `ms.Model.cdf`."""
        return self.model.cdf(table)

    def sample(
        self, table: Any = None, *, num_samples: int = 1, seed: int | None = None, keep: Sequence[str] = ()
    ) -> Any:
        """Draws for each row of conditions; see `ms.Model.sample`."""
        return self.model.sample(table, num_samples=num_samples, seed=seed, keep=keep)


def train(
    table: Any,
    *,
    event: Sequence[str] | str,
    condition: Sequence[str] | str = (),
    run: str | Path,
    test: Any = None,
    announce: Announce = print,
    **options: Unpack[TrainingOptions],
) -> Run:
    """Trains a conditional density p(event | condition) on a table, as `maf-serving train` does.

        >>> run = ms.train(
        ...     table, event=["price"], condition=["season", "region"], run="runs/sales", max_epochs=1, announce=list
        ... )
        >>> run.summary.training_rows > 300
        True

    Files are streamed, and may hold more rows than memory. The rows of a table in memory (those of its columns that are
    named) are written to `table.parquet` in the run directory, compressed: training, going on after a kill and
    `maf-serving report` read them from there. Delete it when you need none of that any more.

    Args:
      table: a DataFrame of pandas or Polars, an Arrow table or reader, anything with Arrow's PyCapsule interface, a
        mapping from names to columns; or paths or globs of Parquet and CSV files, one or several.
      event: names of the columns to model: numbers.
      condition: names of the columns to condition on. Text is a category, integers are if `categorical` names them;
        categories and nulls need no preparation. None for an unconditional model.
      run: the run directory; new, or empty.
      test: test rows, as `table`; by default a share of the rows is held out.
      announce: takes the lines that tell how training goes; `announce=list` says nothing.
      **options: see `TrainingOptions`, and `maf-serving train --help` for what they mean.

    Returns:
      The run, with the best weights. `KeyboardInterrupt` leaves a run that `ms.resume_run` goes on with.

    Raises:
      UsageError: an option or a column does not fit, the table cannot be trained on, or the directory is taken.
      JobError: the loss is no number.
    """
    from maf.run_directory import RunDirectory  # noqa: PLC0415  # the packages above, when they are needed

    event, condition = column_names(event), column_names(condition)
    directory = RunDirectory(Path(run).absolute())
    files, tables = {}, {}
    for name, data, path in (("data", table, directory.table), ("test_data", test, directory.test_table)):
        if data is None and name == "test_data":
            continue
        paths = table_paths(data)
        if paths is None:
            others = () if name == "test_data" else _other_columns(options)
            tables[path] = _of_columns(data, tuple(dict.fromkeys((*event, *condition, *others))))
            paths = (str(path),)
        files[name] = paths
    config = _make_config({**files, "event": event, "condition": condition}, options)
    import_with_probability()
    from maf.train import start_run  # noqa: PLC0415  # TensorFlow

    def write_tables(_directory: RunDirectory) -> None:
        for path, (opened, columns) in tables.items():
            write_parquet(opened.read(columns), path)

    return Run(run, start_run(config, run, announce=announce, write_tables=write_tables))


def load_run(run: str | Path) -> Run:
    """The finished run in a directory, which `ms.train` or `maf-serving train` has left.

        >>> ms.load_run("runs/sales").event_columns
        ('price',)

    Raises:
      UsageError: it is none, is not finished, or is damaged.
    """
    import_with_probability()
    from maf.run_directory import read_run  # noqa: PLC0415  # the packages above, when they are needed

    return Run(run, read_run(run))


def resume_run(run: str | Path, *, announce: Announce = print) -> Run:
    """Goes on with a run that was cut short, with its own options; a finished one is only loaded.

        >>> ms.resume_run("runs/sales").path.name
        run runs/sales is finished: nothing to resume
        'sales'

    Raises:
      UsageError: the directory holds no run.
      JobError: the loss is no number.
    """
    import_with_probability()
    from maf.train import continue_run  # noqa: PLC0415  # TensorFlow

    return Run(run, continue_run(run, announce=announce))


def _other_columns(options: Mapping[str, Any]) -> Iterator[str]:
    """Columns that options name beside those of the model."""
    if isinstance(options.get("split_by"), str):
        yield options["split_by"].partition(":")[2]
    if isinstance(options.get("weight"), str):
        yield options["weight"]


def _of_columns(data: Any, columns: tuple[str, ...]) -> tuple[InputTable, tuple[str, ...]]:
    opened = open_table(data)
    opened.require(columns)
    return opened, columns


def _make_config(own: Mapping[str, Any], options: Mapping[str, Any]) -> RunConfig:
    """The configuration; what is not given keeps its default.

    Args:
      own: values of its fields.
      options: values of others, by the names of `TrainingOptions`.

    Raises:
      UsageError: an option has no such name, or its value another type or one that makes no sense.
    """
    from maf.arguments import flag_of, make_config  # noqa: PLC0415  # the packages above, when they are needed
    from maf.config import DataConfig, FlowConfig, TrainingConfig  # noqa: PLC0415

    types: dict[str, Any] = {}
    for part in (DataConfig, FlowConfig, TrainingConfig):
        types |= typing.get_type_hints(part)
    fields = {flag_of(field).removeprefix("--"): field for field in types}
    known = list(TrainingOptions.__annotations__)
    read = dict(own)
    for name, value in options.items():
        if name not in known:
            close = did_you_mean(name, known)
            hint = f"expected one of {', '.join(known)}" if close is None else f"did you mean {close}?"
            raise UsageError(f"train() has no option {name!r}; {hint}")
        read[fields[name]] = read_value(types[fields[name]], _listed(name, value), name, error=UsageError)
    return make_config(read, "")


def _listed(name: str, value: Any) -> Any:
    """The value as the configuration writes it: one name is a list, a number or a part of a column is COLUMN=VALUE."""
    if name == "dequantize" and isinstance(value, Mapping):
        return tuple(f"{column}={width:g}" for column, width in value.items())
    if name in {"lower_bound", "upper_bound"} and isinstance(value, Mapping):
        return tuple(f"{column}={float(bound)!r}" for column, bound in value.items())
    if name == "date" and isinstance(value, Mapping):
        parts = {column: (part,) if isinstance(part, str) else tuple(part) for column, part in value.items()}
        return tuple(item for column, each in parts.items() for item in (f"{column}={''.join(each[:1])}", *each[1:]))
    lists = {"categorical", "date", "nullable", "dequantize", "lower_bound", "upper_bound"}
    return (value,) if isinstance(value, str) and name in lists else value
