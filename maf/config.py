"""The three configurations of a training run, and their one JSON form.

`FlowConfig` is the model, `DataConfig` where the rows come from, `TrainingConfig` how it is fitted; `RunConfig` holds
the three and is what `config.json` of a run directory says. Every field carries its help text: the command line is made
from these classes. An option that is `None` is automatic: `maf.flow` sets it when the rows are known.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any

from maf.errors import ConfigError
from maf.options import at_least, one_of_choices, option, positive, shares
from maf_serving.columns import ConditionColumn
from maf_serving.strict_json import parse_json, read_value
from maf_serving.table_formats import USUAL_CSV, CsvDialect
from maf_serving.time_parts import read_parts

ACTIVATIONS = ("relu", "elu", "gelu", "sigmoid", "silu", "softplus", "tanh")
TRANSFORMS = ("affine", "spline")
BASES = ("normal", "mixture")
ORDERS = ("reverse", "random", "same")
DTYPES = ("float32", "float64")
NULLS = ("auto", "state", "drop")
SWITCH = ("on", "off")
SCHEDULES = ("plateau", "cosine", "constant")
FAR_SIDES = ("straight", "odds")
BEFORE_THERE_WERE: dict[str, dict[str, Any]] = {
    "flow": {
        "bounded": [],
        "condition_bins": 0,
        "condition_projections": 0,
        "heavy_tailed": [],
        "logarithmic": [],
        "projected_columns": [],
        "regression": "off",
    },
    "training": {"column_shrinkage": 0.0, "most_weight_decay": 0.0},
}  # what a stored config without the keys means


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BoundedColumn:
    """An event column that has nothing below, or above, a value; raw units.

    Attributes:
      index: of the column.
      lower: the least value it can have; `None` for any.
      upper: the greatest; `None` for any. At least one of the two is there.
      unit: between two bounds their distance; of one, twice a usual distance from it.
      closest: what is at a bound is taken to be so far from it.
      margin: how far from the bounds draws stay.
      far_side: of one bound: `"straight"` leaves values far from it on their own scale, `"odds"` takes them to their
        logarithm, nearly.
    """

    index: int
    lower: float | None
    upper: float | None
    unit: float
    closest: float
    margin: float = 0.0
    far_side: str = option("straight", "", FAR_SIDES)

    def __post_init__(self) -> None:
        one_of_choices(self)
        positive(self, "unit", "closest")
        at_least(self, index=0, margin=0)
        if self.lower is None and self.upper is None:
            raise ConfigError("bounded has a column without lower and upper; expected one of them, or both")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FlowConfig:
    """A conditional masked autoregressive flow p(x | c), x with D event columns and c with C conditional ones.

        >>> FlowConfig(event_size=2, condition_size=1, hidden_units=(128, 128)).transform
        'spline'

    Attributes:
      event_size: D.
      condition_size: C; 0 gives an unconditional flow.
      input_orders: for each layer, the degree (1 to D) of each event column in its autoregressive order; `None` until
        `resolve` has derived them from `order`, so that a saved model never depends on a random generator.
      heavy_tailed: indices of the event columns that are modelled on an asinh scale; `None` until the rows are known.
      logarithmic: indices of those that are modelled on a log scale, and are positive; `None` as above.
      bounded: those that have bounds, none of which is logarithmic; `None` as above.
      number_columns: indices of the conditional columns that are numbers, the others being 0 or 1; `None`
        until the rows are known, and for all.
      projected_columns: indices of those that projections are of; `None` until the rows are known, and for all numbers.

    The other attributes say in their help texts what they are.
    """

    event_size: int
    condition_size: int = 0
    num_layers: int | None = option(None, "autoregressive layers in the chain")
    hidden_units: tuple[int, ...] = option((64, 64), "hidden units of each layer's autoregressive network")
    condition_units: tuple[int, ...] | None = option(None, "hidden units of the encoder of the condition; none: ''")
    condition_bins: int | None = option(None, "bins of the encoding of each conditional column; none: 0")
    condition_projections: int | None = option(
        None, "learnt projections of the condition, which its encoding has on logarithmic scales; none: 0"
    )
    regression: str = option(
        "on", "the condition's encoding has a linear prediction of each event column, where training starts", SWITCH
    )
    activation: str = option("relu", "activation of the hidden units", ACTIVATIONS)
    transform: str = option("spline", "transform of each layer; 'affine' is Gaussian for one event column", TRANSFORMS)
    num_bins: int | None = option(None, "bins of each spline")
    spline_range: float = option(5.0, "splines act on [-r, r], in standard deviations; beyond it they are the identity")
    log_scale_bound: float = option(5.0, "log-scales lie in (-b, b)")
    base: str = option("normal", "base distribution", BASES)
    mixture_components: int = option(8, "components of the base 'mixture'")
    order: str = option("reverse", "how the order of the event columns changes from layer to layer", ORDERS)
    dtype: str = option("float32", "floating-point type of the model", DTYPES)
    input_orders: tuple[tuple[int, ...], ...] | None = None
    heavy_tailed: tuple[int, ...] | None = None
    logarithmic: tuple[int, ...] | None = None
    bounded: tuple[BoundedColumn, ...] | None = None
    number_columns: tuple[int, ...] | None = None
    projected_columns: tuple[int, ...] | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """Indices of the conditional columns that are numbers."""
        return tuple(range(self.condition_size)) if self.number_columns is None else self.number_columns

    @property
    def num_numbers(self) -> int:
        """How many they are."""
        return len(self.numbers)

    def __post_init__(self) -> None:
        at_least(self, event_size=1, num_layers=1, num_bins=2, mixture_components=2)
        at_least(self, condition_size=0, condition_bins=0, condition_projections=0)
        positive(self, "spline_range", "log_scale_bound")
        one_of_choices(self)
        for field in ("hidden_units", "condition_units"):
            if any(units < 1 for units in getattr(self, field) or ()):
                raise ConfigError(f"{field} is {list(getattr(self, field))}; expected positive numbers")
        bounded = [column.index for column in self.bounded or ()]
        if len({*bounded, *(self.logarithmic or ())}) < len(bounded) + len(self.logarithmic or ()):
            raise ConfigError(f"logarithmic is {self.logarithmic} and bounded has {bounded}; expected each column once")
        for size, fields in (
            (self.event_size, {"heavy_tailed": self.heavy_tailed, "logarithmic": self.logarithmic, "bounded": bounded}),
            (
                self.condition_size,
                {"number_columns": self.number_columns, "projected_columns": self.projected_columns},
            ),
        ):
            for field, columns in fields.items():
                if any(not 0 <= column < size for column in columns or ()):
                    raise ConfigError(f"{field} is {tuple(columns or ())}; expected indices below {size}")
        if self.input_orders is not None and self.num_layers is None:
            raise ConfigError("input_orders came without num_layers; give both or none")
        if self.input_orders is not None:
            degrees = list(range(1, self.event_size + 1))
            if len(self.input_orders) != self.num_layers or any(sorted(o) != degrees for o in self.input_orders):
                raise ConfigError(
                    f"input_orders is {self.input_orders}; expected {self.num_layers} permutations of {degrees}"
                )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Where the rows come from and which columns they have.

        >>> DataConfig(data=("sales-*.parquet",), event=("price",), condition=("season",)).test_share
        0.1

    Attributes:
      data: Parquet or CSV files, or globs of them.
      event: names of the event columns.
      condition: names of the raw columns of the condition.
      csv: how files in CSV are written, those of test rows too.
      condition_columns: the same with vocabularies and nulls; `None` until the rows have been looked at.

    The other attributes say in their help texts what they are.
    """

    data: tuple[str, ...]
    event: tuple[str, ...]
    condition: tuple[str, ...] = ()
    csv: CsvDialect = USUAL_CSV
    test_data: tuple[str, ...] = option(
        (), "Parquet or CSV files of test rows, instead of a share of --input", metavar="FILES"
    )
    manifest: str | None = option(
        None, "sha256 of the files, as sha256sum writes it; compared before and after they are read", metavar="FILE"
    )
    validation_share: float = option(0.1, "share of the rows that early stopping looks at")
    test_share: float = option(0.1, "share of the rows held out for the test NLL; ignored with --test_input")
    split_by: str | None = option(
        None,
        "time:COLUMN, the last rows are test and those before them validation, or group:COLUMN, no group is in two "
        "splits; by chance without it",
        metavar="time:COLUMN|group:COLUMN",
    )
    weight: str | None = option(None, "column of row weights; a weight of 0 leaves its row out", metavar="COLUMN")
    max_dropped_share: float = option(0.05, "refuse the table if more than this share of rows has a missing value")
    dequantize: tuple[str, ...] = option(
        (), "uniform noise on event columns that repeat values", metavar="COLUMN=WIDTH,..."
    )
    lower_bound: tuple[str, ...] = option((), "values that event columns cannot be below", metavar="COLUMN=VALUE,...")
    upper_bound: tuple[str, ...] = option((), "values that event columns cannot be above", metavar="COLUMN=VALUE,...")
    categorical: tuple[str, ...] = option(
        (), "integer conditional columns that are categories; texts always are", metavar="COLUMNS"
    )
    date: tuple[str, ...] = option(
        (),
        "conditional columns of dates or timestamps, and what the model sees of them: hour, weekday, day, month, "
        "yearday, trend",
        metavar="COLUMN=PART,...",
    )
    max_categories: int = option(1_000, "most categories of a column, the most frequent; all others are one")
    min_category_rows: int = option(10, "training rows that a category needs to be one of its own")
    nulls: str = option(
        "auto",
        "null in a conditional column: 'state' of its own, 'drop' the row, or 'auto', a state from 20 training rows on",
        NULLS,
    )
    nullable: tuple[str, ...] = option(
        (),
        "conditional columns that may be null later, though hardly a training row is: null is trained as a state",
        metavar="COLUMNS",
    )
    condition_columns: tuple[ConditionColumn, ...] | None = None

    def __post_init__(self) -> None:
        if not self.data:
            raise ConfigError("data is empty; expected at least one Parquet or CSV file")
        if not self.event:
            raise ConfigError("event is empty; expected the name of at least one column")
        self._check_columns()
        at_least(self, max_categories=1, min_category_rows=1)
        one_of_choices(self)
        shares(self, "validation_share", "test_share", "max_dropped_share")
        if self.validation_share == 0 or self.validation_share + self.test_share >= 1:
            raise ConfigError(
                f"validation_share is {self.validation_share} and test_share {self.test_share}; "
                "expected some rows for validation, and some left for training"
            )
        by, _, column = ("time:-" if self.split_by is None else self.split_by).partition(":")
        if by not in {"time", "group"} or not column:
            raise ConfigError(f"split_by is {self.split_by!r}; expected time:COLUMN or group:COLUMN, as in group:store")
        for name, width in self.dequantization_widths.items():
            if name not in self.event or not 0 < width < math.inf:
                raise ConfigError(
                    f"dequantize has {name}={width:g}; expected one of the event columns {', '.join(self.event)} and a "
                    "width above 0"
                )
        self._check_bounds()

    def _check_bounds(self) -> None:
        for field, bounds in (("lower_bound", self.lower_bounds), ("upper_bound", self.upper_bounds)):
            for name, value in bounds.items():
                if name not in self.event or not math.isfinite(value):
                    raise ConfigError(
                        f"{field} has {name}={value:g}; expected one of the event columns {', '.join(self.event)} and "
                        "a finite value"
                    )
        for name in self.lower_bounds.keys() & self.upper_bounds.keys():
            lower, upper = self.lower_bounds[name], self.upper_bounds[name]
            if not lower < upper:
                raise ConfigError(
                    f"lower_bound has {name}={lower:g} and upper_bound {name}={upper:g}; expected the lower one below"
                )

    def _check_columns(self) -> None:
        columns = [*self.event, *self.condition]
        for name in columns:
            if columns.count(name) > 1:
                raise ConfigError(f"column {name!r} is named {columns.count(name)} times; name every column once")
        if self.weight is not None and (not self.weight or self.weight in columns):
            raise ConfigError(f"weight is {self.weight!r}; expected the name of a column that the model does not have")
        for name in self.date_parts.keys() & set(self.categorical):
            raise ConfigError(f"date and categorical both have {name!r}; expected one of them")
        for field, named in (("categorical", self.categorical), ("nullable", self.nullable), ("date", self.date_parts)):
            for name in named:
                if name not in self.condition:
                    raise ConfigError(
                        f"{field} has {name!r}; expected one of the conditional columns {', '.join(self.condition)}"
                    )

    @property
    def date_parts(self) -> dict[str, tuple[str, ...]]:
        """What the model sees of each conditional column that is a point in time, by name."""
        try:
            return read_parts(self.date)
        except ValueError as error:
            raise ConfigError(f"date {error}") from None

    @property
    def columns(self) -> tuple[ConditionColumn, ...]:
        """The raw columns of the condition; plain numbers until the rows have been looked at."""
        return self.condition_columns or tuple(ConditionColumn(name=name) for name in self.condition)

    @property
    def dequantization_widths(self) -> dict[str, float]:
        """Width of the uniform noise by event column; a column without noise is not there."""
        return _by_column("dequantize", self.dequantize, "COLUMN=WIDTH, as in rooms=1")

    @property
    def lower_bounds(self) -> dict[str, float]:
        """By event column that has one, the least value it can have."""
        return _by_column("lower_bound", self.lower_bound, "COLUMN=VALUE, as in price=0")

    @property
    def upper_bounds(self) -> dict[str, float]:
        """By event column that has one, the greatest value it can have."""
        return _by_column("upper_bound", self.upper_bound, "COLUMN=VALUE, as in share=1")


def _by_column(field: str, items: tuple[str, ...], expected: str) -> dict[str, float]:
    values = {}
    for item in items:
        name, _, value = item.rpartition("=")
        try:
            values[name] = float(value)
        except ValueError:
            raise ConfigError(f"{field} has {item!r}; expected {expected}") from None
    return values


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """How a flow is fitted by maximum likelihood.

    >>> TrainingConfig(max_epochs=20, seed=7).learning_rate_schedule
    'cosine'
    """

    batch_size: int | None = option(None, "rows of a minibatch")
    max_epochs: int | None = option(None, "most passes over the training rows")
    max_seconds: float | None = option(None, "seconds that training may take; the 'cosine' schedule is over by then")
    patience: int | None = option(None, "epochs without a better validation NLL before training stops")
    learning_rate: float = option(3e-3, "Adam's learning rate at the start")
    learning_rate_schedule: str = option(
        "cosine",
        "'plateau' divides by 3 after a third of the patience, 'cosine' falls to 0 over max_epochs",
        SCHEDULES,
    )
    gradient_clip_norm: float = option(5.0, "gradients are scaled down to this global norm")
    weight_decay: float | None = option(None, "share of a kernel taken off at each step, times the learning rate")
    most_weight_decay: float = option(
        0.0, "what overfits doubles the weight decay from epoch to epoch, up to this; never: 0"
    )
    column_shrinkage: float | None = option(None, "group lasso on conditional columns that show no relation")
    dropout: float | None = option(None, "share of the condition encoder's units left out at each step")
    unknown_share: float = option(
        0.1, "share of the rows that have some categories taken for unknown, nullable values for null, at each step"
    )
    weight_average: float = option(0.1, "the weights kept are a running mean over this share of the steps; none: 0")
    jit_compile: str = option("on", "compile the training step with XLA", SWITCH)
    checkpoint_seconds: float = option(30.0, "most seconds of work that a kill can lose")
    seed: int = option(0, "seed of the split, the initial weights and the shuffling")
    unrelated_columns: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        at_least(self, batch_size=1, max_epochs=1, patience=1, seed=0)
        at_least(self, weight_decay=0, most_weight_decay=0, column_shrinkage=0)
        shares(self, "dropout", "weight_average", "unknown_share")
        positive(self, "learning_rate", "gradient_clip_norm", "max_seconds")
        one_of_choices(self)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that decides what a run does: equal configurations on equal files give equal models.

    >>> data = DataConfig(data=("sales.parquet",), event=("price",), condition=("season",))
    >>> flow = FlowConfig(event_size=1, condition_size=1)
    >>> RunConfig(data=data, flow=flow, training=TrainingConfig(max_epochs=2)).training.seed
    0
    """

    data: DataConfig
    flow: FlowConfig
    training: TrainingConfig

    def to_json(self) -> str:
        """JSON text that `from_json` reads back to an equal configuration."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> RunConfig:
        """Reads what `to_json` wrote. Raises `ConfigError` on broken JSON, unknown or missing keys."""
        data = parse_json(text, "run's config", error=ConfigError)
        for name, values in BEFORE_THERE_WERE.items() if isinstance(data, Mapping) else ():
            if isinstance(data.get(name), Mapping):
                data[name] = {**values, **data[name]}
        config: RunConfig = read_value(cls, data, "config", error=ConfigError)
        return config
