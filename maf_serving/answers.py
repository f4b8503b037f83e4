"""What a model says of the rows of Arrow batches: as many answers as rows, null with a reason where there is none.

    RowQuestion    a signature asked once for each row: log_prob, inverse, forward, cdf, quantile, summarize
    DrawQuestion   draws for each row, in long form: row, draw, the event columns, log_prob

Both validate, encode and seed as batch jobs do. A question knows the model's columns and nothing of where the model is:
`run` takes the name of a signature and its inputs, and gives its outputs, like `LoadedModel.run`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from maf_serving.draws import ask_for_draws
from maf_serving.model_inputs import Arrays, ModelInputs, encode_rows, model_inputs
from maf_serving.rejection import reject, reject_failed
from maf_serving.row_seeds import draw_seeds, row_keys
from maf_serving.validation import ScoreableRows, validate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from maf_serving.arrow_columns import Mask
    from maf_serving.model_inputs import ContractProtocol
    from maf_serving.rejection import RejectedRows

Run = Callable[[str, Arrays], Arrays]

REASON = "reason"
LOG_PROB = "log_prob"
ROWS_AT_A_TIME = 16_384
NOT_FINITE = "not finite"
_TABLE = "the table"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowQuestion:
    """A signature asked about each row.

    Attributes:
      signature_name: of the model.
      inputs: the columns that it is asked with.
      outputs: by name of its output, the columns that this becomes: one for an output `[B]`, D for one `[B, D]`.
        Without any, the rows are looked at and the signature is not run. Those of an output `[B, D, Q]` are Q for each
        of D.
      seed: of the rows' seeds, where the signature takes a `seed`: that of row i is the seed of its first draw.
      constants: by name of an input `[B]` that is the same for all rows, its value.
    """

    signature_name: str
    inputs: ModelInputs
    outputs: Mapping[str, tuple[str, ...]]
    seed: int | None = None
    constants: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def schema(self) -> pa.Schema:
        """Of the answers: the columns of the outputs, in the model's dtype, and `reason`, text."""
        number = pa.from_numpy_dtype(self.inputs.dtype)
        names = [name for columns in self.outputs.values() for name in columns]
        return pa.schema([*((name, number) for name in names), (REASON, pa.string())])

    def ask(self, batch: pa.RecordBatch, run: Run, *, first_row: int = 0) -> pa.RecordBatch:
        """The answers `[B]` of the rows `[B]` of a batch.

        A row that cannot be scored has null in every column but `reason`, which says why; it is null for the others.

        Args:
          batch: the model's columns, by name, and any others.
          run: runs a signature.
          first_row: number of the first row.
        """
        good, bad = _split(batch, first_row, self.inputs)
        reasons = _Reasons(batch.num_rows, first_row)
        reasons.add(bad)
        columns: dict[str, pa.Array] = {}
        if good is not None and self.outputs:
            encoded = encode_rows(good, run)
            outputs = run(self.signature_name, {**encoded.inputs, **self._more_inputs(good)})
            reasons.add(_failed(good, outputs))
            places = good.rows.to_numpy() - first_row
            for output, names in self.outputs.items():
                values = outputs[output].reshape(len(good), len(names))
                for name, column in zip(names, values.T, strict=True):
                    columns[name] = _spread(column, places, reasons.missing)
        arrays = [
            columns.get(field.name, pa.nulls(batch.num_rows, field.type)) if field.name != REASON else reasons.column()
            for field in self.schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _more_inputs(self, good: ScoreableRows) -> dict[str, npt.NDArray[Any]]:
        more: dict[str, npt.NDArray[Any]] = {
            name: np.full(len(good), value, self.inputs.dtype) for name, value in self.constants.items()
        }
        if self.seed is not None:
            more["seed"] = draw_seeds(row_keys(self.seed, good.rows.to_numpy()), np.zeros(len(good), np.int64))
        return more


def row_question(contract: ContractProtocol, signature_name: str) -> RowQuestion:
    """The question that a signature answers: `log_prob`, `inverse`, `forward`, `cdf` or `conditional_cdf`.

    The columns of z are called `z_<event column>`, as batch jobs call them. Raises `ContractError` if there is none.
    """
    event = contract.event_columns
    base = tuple(f"z_{name}" for name in event)
    outputs: dict[str, dict[str, tuple[str, ...]]] = {
        "log_prob": {LOG_PROB: (LOG_PROB,)},
        "inverse": {LOG_PROB: (LOG_PROB,), "z": base},
        "forward": {"x": event},
        "cdf": {"cdf": ("cdf",)},
        "conditional_cdf": {"conditional_cdf": tuple(f"cdf_{name}" for name in event)},
    }
    inputs = model_inputs(contract, signature_name)
    return RowQuestion(signature_name=signature_name, inputs=inputs, outputs=outputs[signature_name])


def summary_question(contract: ContractProtocol, levels: Sequence[float], seed: int) -> RowQuestion:
    """The question that `summarize` answers: `price_mean`, `price_stddev`, `price_q05` and so on of each event column.

    Args:
      contract: of the model; raises `ContractError` if it has no such signature.
      levels: those of the model's quantiles.
      seed: of the rows' seeds; without effect on one event column, whose summary is exact.
    """
    event = contract.event_columns
    outputs = {
        "mean": tuple(f"{name}_mean" for name in event),
        "stddev": tuple(f"{name}_stddev" for name in event),
        "quantiles": tuple(f"{name}_{level_name(level)}" for name in event for level in levels),
    }
    inputs = model_inputs(contract, "summarize")
    return RowQuestion(signature_name="summarize", inputs=inputs, outputs=outputs, seed=seed)


def quantile_question(contract: ContractProtocol, level: float) -> RowQuestion:
    """The question that `quantile` answers for one level: the column `price_q90`. Raises as `summary_question` does."""
    inputs = model_inputs(contract, "quantile")  # of one event column
    (event,) = contract.event_columns
    outputs = {"x": (f"{event}_{level_name(level)}",)}
    constants = {"probability": level}
    return RowQuestion(signature_name="quantile", inputs=inputs, outputs=outputs, constants=constants)


def level_name(level: float) -> str:
    """What the quantile of a level is called: the digits behind the point, two at least.

    >>> [level_name(level) for level in (0.05, 0.5, 0.975)]
    ['q05', 'q50', 'q975']
    """
    return f"q{f'{level:.9f}'[2:].rstrip('0'):0<2}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DrawQuestion:
    """Draws for each row of conditions.

    Attributes:
      inputs: the columns of the condition.
      event_columns: names of the columns of a draw.
      num_samples: S, draws for each row.
      seed: of the whole table of draws: draw n of row i depends on it, on i, n and the row's condition alone.
      kept: columns of the input to carry through, with their types.
    """

    inputs: ModelInputs
    event_columns: tuple[str, ...]
    num_samples: int
    seed: int
    kept: pa.Schema

    @property
    def schema(self) -> pa.Schema:
        """Of the draws: `row`, `draw`, what is kept, the event columns and `log_prob`."""
        number = pa.from_numpy_dtype(self.inputs.dtype)
        drawn = [(name, number) for name in (*self.event_columns, LOG_PROB)]
        return pa.schema([("row", pa.int64()), ("draw", pa.int64()), *self.kept, *drawn])

    def ask(self, batch: pa.RecordBatch, run: Run, *, first_row: int = 0) -> pa.RecordBatch:
        """The draws `[B S]` for the rows `[B]` of a batch, those of a row together.

        A draw for a row that cannot be used, and one that is not finite, has null in the drawn columns.
        """
        good, _ = _split(batch, first_row, self.inputs)
        draws = batch.num_rows * self.num_samples
        x = np.zeros((draws, len(self.event_columns)), self.inputs.dtype)
        log_prob = np.zeros(draws, self.inputs.dtype)
        missing = np.ones(draws, bool)
        if good is not None:
            keys = row_keys(self.seed, good.rows.to_numpy())
            for asked in ask_for_draws(good, keys, num_samples=self.num_samples, max_draws=ROWS_AT_A_TIME):
                outputs = run("sample_with_seed", encode_rows(asked, run).inputs)
                places = (asked.rows.to_numpy() - first_row) * self.num_samples + asked.numbers
                x[places], log_prob[places] = outputs["x"], outputs[LOG_PROB]
                missing[places] = ~(np.isfinite(outputs["x"]).all(axis=1) & np.isfinite(outputs[LOG_PROB]))
        index, numbers = np.divmod(np.arange(draws), self.num_samples)
        kept = [batch.column(field.name).cast(field.type).take(pa.array(index)) for field in self.kept]
        drawn = [pa.array(column, mask=missing) for column in (*x.T, log_prob)]
        return pa.RecordBatch.from_arrays(
            [pa.array(index + first_row), pa.array(numbers), *kept, *drawn], schema=self.schema
        )


class _Reasons:
    """Why rows have no answer, by their place in the batch."""

    def __init__(self, rows: int, first_row: int) -> None:
        self._first_row = first_row
        self._texts = np.full(rows, None, object)
        self.missing = np.zeros(rows, bool)

    def add(self, rejected: RejectedRows | None) -> None:
        if rejected is not None:
            places = rejected.table["row"].to_numpy() - self._first_row
            self.missing[places] = True
            self._texts[places] = rejected.table[REASON].to_pylist()

    def column(self) -> pa.StringArray:
        return pa.array(self._texts, pa.string()) if self.missing.any() else pa.nulls(len(self._texts), pa.string())


def _split(
    batch: pa.RecordBatch, first_row: int, inputs: ModelInputs
) -> tuple[ScoreableRows | None, RejectedRows | None]:
    rows = pa.array(np.arange(first_row, first_row + batch.num_rows))
    return validate(batch, rows=rows, file=_TABLE, inputs=inputs)


def _failed(good: ScoreableRows, outputs: Arrays) -> RejectedRows | None:
    """The rows on which the model has failed, by the log-density where it gives one."""
    if LOG_PROB in outputs:
        return reject_failed(good.file, good.rows, outputs[LOG_PROB])
    finite = [np.isfinite(values).reshape(len(good), -1).all(axis=1) for values in outputs.values()]
    failed = ~np.logical_and.reduce(finite)
    if not failed.any():
        return None
    rows = good.rows.filter(pa.array(failed))
    return reject(good.file, rows, [NOT_FINITE] * len(rows), {NOT_FINITE: len(rows)})


def _spread(values: npt.NDArray[Any], places: npt.NDArray[np.int64], missing: Mask) -> pa.Array:
    """`values` at their places among all rows, null where `missing`."""
    spread = np.zeros(len(missing), values.dtype)
    spread[places] = values
    return pa.array(spread, mask=missing if missing.any() else None)
