"""The contract of an exported model: which columns go in, which tensors come out.

`assets.extra/contract.json` travels with every exported version. Batch workers and serving tools read it
through this module, which needs no more than the standard library and `maf_serving`: no TensorFlow, no model code.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from maf_serving.columns import CONDITION_KINDS, ConditionColumn, encoded_columns
from maf_serving.errors import ContractError
from maf_serving.strict_json import parse_dataclass
from maf_serving.training_profile import ColumnProfile, TrainingProfile

__all__ = [
    "BY_COLUMN",
    "CONDITION_KINDS",
    "CONTRACT_PATH",
    "DTYPES",
    "IN_RANGE",
    "ONE_COLUMN",
    "PREDICT_METHOD_NAME",
    "REGRESS_METHOD_NAME",
    "SERVING_DEFAULT",
    "SEVERAL_COLUMNS",
    "WARM",
    "Answers",
    "ConditionColumn",
    "Contract",
    "ContractError",
    "Signature",
    "TensorSpec",
    "TrainingSummary",
    "check_column_names",
    "encoded_columns",
    "find_version",
    "is_version",
    "list_versions",
    "read_contract",
]

CONTRACT_PATH = "assets.extra/contract.json"
PREDICT_METHOD_NAME = "tensorflow/serving/predict"
REGRESS_METHOD_NAME = "tensorflow/serving/regress"
DTYPES = ("float32", "float64")
SERVING_DEFAULT = "serving_default"
IN_RANGE = "in_range"
ONE_COLUMN = ("cdf", "quantile", "summarize")
SEVERAL_COLUMNS = ("conditional_cdf", "summarize")
WARM = ("log_prob", SERVING_DEFAULT, "sample_with_seed")  # what a server prepares before it takes requests
BY_COLUMN = {
    "log_prob_columns": "log_prob",
    "sample_columns": "sample_with_seed",
    "summarize_columns": "summarize",
    "cdf_columns": "cdf",
    "quantile_columns": "quantile",
    "in_range_columns": "in_range",
}
"""By name of a signature that takes and gives a tensor for each column, the one that does the same with vectors."""
_NUMBERS = re.compile(r"\[\s+((?:(?:null|[-+.\deE]+),?\s+)+)\]")  # over several lines: those of a text are escaped


@dataclasses.dataclass(frozen=True, slots=True)
class TensorSpec:
    """Type and shape of one named input or output; `None` in `shape` is the number of rows B."""

    dtype: str
    shape: tuple[int | None, ...]

    def __post_init__(self) -> None:
        if not self.shape or self.shape[0] is not None:
            raise ContractError(
                f"tensor shape {list(self.shape)} must start with null, the number of rows, so that it can be batched"
            )


@dataclasses.dataclass(frozen=True, slots=True)
class Signature:
    """One named function of the SavedModel: its inputs and outputs by name, and its TF Serving method."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str = PREDICT_METHOD_NAME


@dataclasses.dataclass(frozen=True, slots=True)
class TrainingSummary:
    """How the model was trained. NLL: mean negative log-likelihood in nats, in raw units of the event columns.

        >>> training = read_contract("models/sales").training
        >>> training.training_rows > training.validation_rows, training.validation_nll < 3
        (True, True)

    Attributes:
      training_rows, validation_rows, test_rows: sizes of the splits.
      epochs: passes over the training rows.
      validation_nll, test_nll: of the exported weights; `None` where there were no test rows.
      dequantization: by event column, the width w of its uniform noise: the model's density is that of the column plus
        noise in `[-w/2, w/2)`, in training and in the NLLs. Columns without are not in it.
      profile: what training saw of each column; `None` of a run that was trained before there was one.
      lower_bounds, upper_bounds: by event column that has one, the least and the greatest value it can have: no draw is
        beyond, and a row that is has no density.
    """

    training_rows: int
    validation_rows: int
    test_rows: int
    epochs: int
    validation_nll: float
    test_nll: float | None = None
    dequantization: Mapping[str, float] = dataclasses.field(default_factory=dict)
    profile: TrainingProfile | None = None
    lower_bounds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    upper_bounds: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Answers:
    """What a version answers beside densities and draws: `cdf`, `quantile`, `conditional_cdf` and `summarize`.

    Attributes:
      quantile_levels: levels of the Q quantiles of `summarize`, ascending.
      num_draws: draws of each row that `summarize` is made of; `None` where it is exact, for one event column.
      rounded_to: by event column that was trained with noise, the width w of that: values are answered rounded to
        multiples of w.
      left_out: by name of a signature that the version cannot have, why.
    """

    quantile_levels: tuple[float, ...]
    num_draws: int | None = None
    rounded_to: Mapping[str, float] = dataclasses.field(default_factory=dict)
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Contract:
    """What a caller of an exported model has to know.

        >>> contract = read_contract("models/sales")
        >>> contract.event_columns, contract.dtype
        (('price',), 'float32')
        >>> contract.signatures["log_prob"].outputs["log_prob"].shape
        (None,)

    Attributes:
      event_columns: names of the D columns of `x`, in order.
      conditional_columns: names of the C columns of `conditional_input`, in order; empty for an unconditional model.
      dtype: `"float32"` or `"float64"`, of every floating-point input and output but those of `regress`, which TF
        Serving wants in float32, and raw columns: those of the signatures by column are float64, and so are the
        `numbers` of `encode_condition` if one of `condition_columns` has an offset or is a point in time.
      signatures: by signature name.
      toolkit_version: version of this package that wrote the export.
      tensorflow_version: version of TensorFlow that wrote the export.
      training: how the model was trained, or `None` where that is not known (a model brought by its owner).
      condition_columns: the raw columns of the condition, in order, where a category, a point in time, or a
        column with nulls or an offset, is among them; `conditional_columns` then names what they are encoded to.
        Empty: `conditional_columns` are the raw columns themselves, all plain numbers.
      answers: how `summarize` and its like answer; `None` for a version that was exported without them.
      tensor_names: by event column and raw column of the condition, what the signatures of `BY_COLUMN` call its tensor:
        as the column, where TensorFlow takes such a name. Empty for a version that was exported without them.
    """

    event_columns: tuple[str, ...]
    conditional_columns: tuple[str, ...]
    dtype: str
    signatures: Mapping[str, Signature]
    toolkit_version: str
    tensorflow_version: str
    training: TrainingSummary | None = None
    condition_columns: tuple[ConditionColumn, ...] = ()
    answers: Answers | None = None
    tensor_names: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_column_names(self.event_columns, self.conditional_columns)
        if self.condition_columns:
            check_column_names(self.event_columns, [column.name for column in self.condition_columns])
            encoded = encoded_columns(self.condition_columns)
            if encoded != self.conditional_columns:
                raise ContractError(
                    f"conditional_columns is {', '.join(self.conditional_columns)}; expected {', '.join(encoded)}, "
                    "what condition_columns are encoded to"
                )
        profile = self.training.profile if self.training else None
        if profile is not None:
            _check_profile("event", profile.event, [ConditionColumn(name=name) for name in self.event_columns])
            _check_profile("condition", profile.condition, self.raw_condition_columns)
        if self.dtype not in DTYPES:
            raise ContractError(f"dtype is {self.dtype!r}; expected one of {', '.join(DTYPES)}")

    @property
    def event_size(self) -> int:
        """D, the number of event columns."""
        return len(self.event_columns)

    @property
    def condition_size(self) -> int:
        """C, the number of conditional columns; 0 for an unconditional model."""
        return len(self.conditional_columns)

    @property
    def raw_condition_columns(self) -> tuple[ConditionColumn, ...]:
        """The raw columns of the condition, in order: `condition_columns`, or a plain number for each column."""
        return self.condition_columns or tuple(ConditionColumn(name=name) for name in self.conditional_columns)

    @property
    def event_bounds(self) -> Mapping[str, tuple[float | None, float | None]]:
        """Least and greatest value by event column that has bounds, with room for the noise that it had in training."""
        if self.training is None:
            return {}
        lower, upper, widths = self.training.lower_bounds, self.training.upper_bounds, self.training.dequantization
        room = {name: 0.5 * widths.get(name, 0.0) for name in (*lower, *upper)}
        return {
            name: (
                lower[name] - half if name in lower else None,
                upper[name] + half if name in upper else None,
            )
            for name, half in room.items()
        }

    def signature(self, name: str) -> Signature:
        """The signature of that name; raises `ContractError` saying why there is none, or which there are."""
        if name not in self.signatures:
            raise ContractError(f"the model has no signature {name!r}{self._why_not(name)}")
        return self.signatures[name]

    def _why_not(self, name: str) -> str:
        by_column, name = name in BY_COLUMN, BY_COLUMN.get(name, name)
        if name == IN_RANGE and (self.training is None or self.training.profile is None or not self.condition_size):
            return ": it knows no ranges of its condition, since it has none, or was trained without remembering them"
        if name not in (*ONE_COLUMN, *SEVERAL_COLUMNS) and not by_column:
            return f"; it has {', '.join(self.signatures)}"
        if self.answers is None or (by_column and not self.tensor_names):
            return (
                f": version {self.toolkit_version} of maf-serving exported it, which knew no such thing; export it "
                "again with `maf-serving export`"
            )
        if name not in (*ONE_COLUMN, *SEVERAL_COLUMNS):
            return f"; it has {', '.join(self.signatures)}"
        expected = "one event column" if name in ONE_COLUMN else "several event columns"
        return f": {self.answers.left_out.get(name, f'it is of {expected}, and the model has {self.event_size}')}"

    def to_json(self) -> str:
        """JSON text that `from_json` reads back to an equal contract."""
        data = dataclasses.asdict(self)
        if not self.condition_columns:
            del data["condition_columns"]  # readers that know no such key read all that has no need of it
        for bounds in ("lower_bounds", "upper_bounds"):
            if self.training is not None and not data["training"][bounds]:
                del data["training"][bounds]
        for column in data.get("condition_columns", ()):
            for name in [name for name in ("offset", "parts") if not column[name]]:
                del column[name]
        if self.answers is None:
            del data["answers"]
        if not self.tensor_names:
            del data["tensor_names"]
        if self.training is not None and self.training.profile is None:
            del data["training"]["profile"]
        elif self.training is not None and self.training.profile is not None:
            data["training"]["profile"] = self.training.profile.to_data()
        text = json.dumps(data, indent=2, allow_nan=False)
        return _NUMBERS.sub(lambda numbers: f"[{' '.join(numbers[1].split())}]", text) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Contract:
        """Reads what `to_json` wrote. Raises `ContractError` on broken JSON, missing, unknown or mistyped keys."""
        return parse_dataclass(cls, text, "contract", error=ContractError)


def _check_profile(role: str, profiles: Sequence[ColumnProfile], columns: Sequence[ConditionColumn]) -> None:
    came, expected = ([(each.name, each.kind) for each in of] for of in (profiles, columns))
    if came != expected:
        raise ContractError(
            f"training.profile.{role} is of {_in_words(came)}; expected {_in_words(expected)}, the columns themselves"
        )


def _in_words(columns: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in columns) or "nothing"


def check_column_names(event_columns: Sequence[str], conditional_columns: Sequence[str]) -> None:
    """Raises `ContractError` unless there is an event column and every name is a text that occurs once."""
    if not event_columns:
        raise ContractError("event_columns is empty; expected the name of at least one column")
    columns = [*event_columns, *conditional_columns]
    for name in columns:
        if not isinstance(name, str) or not name:
            raise ContractError(f"column name {name!r} is not a name; expected a text of at least one character")
    for name, count in collections.Counter(columns).items():
        if count > 1:
            raise ContractError(f"column {name!r} is named {count} times; name every column once")


def read_contract(model: str | Path) -> Contract:
    """What an exported model promises: its columns, signatures, versions of the tools, and how it was trained.

        >>> contract = ms.read_contract("models/sales")
        >>> contract.event_columns, contract.dtype
        (('price',), 'float32')
        >>> [column.name for column in contract.raw_condition_columns]
        ['season', 'region']

    Args:
      model: a version directory, or a directory of versions, of which the newest is taken.

    Raises:
      ContractError: a `UsageError`: there is none, or its contract is missing or cannot be read.
    """
    directory = Path(model)
    if not (directory / CONTRACT_PATH).exists() and (not directory.is_dir() or list_versions(directory)):
        directory = find_version(directory)
    path = directory / CONTRACT_PATH
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ContractError(
            f"{path} cannot be read ({error.strerror}); expected a version written by `maf-serving export`"
        ) from error
    except UnicodeDecodeError as error:
        raise ContractError(f"{path}: the contract is not JSON: {error}") from error
    try:
        return Contract.from_json(text)
    except ContractError as error:
        raise ContractError(f"{path}: {error}") from error


def list_versions(model_base: str | Path) -> list[int]:
    """Version numbers under a model's base directory, ascending. Only plain integers count, as in TF Serving."""
    return [int(directory.name) for directory in _version_dirs(Path(model_base))]


def is_version(name: str) -> bool:
    """Whether a directory of that name is a version to TF Serving: decimal digits alone."""
    return name.isascii() and name.isdigit()


def find_version(model: str | Path) -> Path:
    """The version directory that `model` means: itself, or the newest version in it if it is a base directory.

    Raises `ContractError` if `model` does not exist or holds no version.
    """
    path = Path(model)
    if (path / "saved_model.pb").is_file():
        return path
    if not path.is_dir():
        raise ContractError(
            f"model {str(model)!r} does not exist; expected a version directory, or a directory of versions"
        )
    versions = _version_dirs(path)
    if not versions:
        raise ContractError(
            f"model {str(model)!r} holds no saved_model.pb and no version; expected directories 1, 2, ... in it"
        )
    return versions[-1]


def _version_dirs(base: Path) -> list[Path]:
    entries = base.iterdir() if base.is_dir() else []
    return sorted((e for e in entries if is_version(e.name) and e.is_dir()), key=lambda e: int(e.name))
