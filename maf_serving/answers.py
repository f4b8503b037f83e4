"""What a model says of rows: the one core of batch jobs, of tables in Python, and of functions on Arrow batches.

    rows -- split_rows() --> usable rows -- asked() --> inputs of a call -> (the model) -- read() --> answers
                 |                                                                           |
                 +---------------------------------------------------------------------------+--> rejected rows

    RowQuestion    a signature asked once for each row: log_prob, inverse, forward, cdf, quantile, summarize
    DrawQuestion   draws for each row, in long form; see `draws.py`

A question knows the model's columns, and nothing of where the model is or of who asks. Beam's transforms and Spark's
tasks are these steps, with the model in between. `ask` is all of them in one call: as many answers as rows, null with a
reason where there is none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from maf_serving.arrow_columns import carry_through
from maf_serving.condition_range import OUT_OF_RANGE, join_names
from maf_serving.model_inputs import Arrays, ModelInputs, encode_rows, model_inputs
from maf_serving.rejection import RejectedRows, reject, split_outside
from maf_serving.row_seeds import draw_seeds
from maf_serving.validation import ScoreableRows, validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from maf_serving.arrow_columns import Floats, Mask
    from maf_serving.model_inputs import ContractProtocol
    from maf_serving.row_seeds import Identity

Run = Callable[[str, Arrays], Arrays]

REASON = "reason"
LOG_PROB = "log_prob"
Z_PREFIX = "z_"
ROWS_AT_A_TIME = 16_384
SUMMARIZE = "summarize"
NOT_FINITE = "not finite"
NULL_KEY = "null key"
NAN_LOG_PROB = "log_prob: NaN"
INFINITE_LOG_PROB = "log_prob: +infinite"
_TABLE = "the table"
OUT_OF_RANGE_FIELD = pa.field(OUT_OF_RANGE, pa.string(), nullable=False)
"""Of the columns in which a row is out of range, comma separated; empty for none."""


def split_rows(
    columns: pa.RecordBatch, *, rows: pa.Int64Array, file: str, inputs: ModelInputs, identity: Identity | None = None
) -> tuple[ScoreableRows | None, list[RejectedRows]]:
    """The rows that a question can be asked of, `None` if there are none, and those that it cannot.

    Args:
      columns: those of the model, and the column of keys, by their names, and any others.
      rows: the numbers of the rows in their file, from 0; int64 `[B]`, ascending.
      file: path of the file, or what else they are from.
      inputs: which columns the model takes.
      identity: what the rows' seeds are made of, where the question has any: a row without a key has none.

    Rows out of range are counted in `out_of_range` of what can be asked; or they have a column of that name there that
    says in which columns; or they are rejected: as the inputs say.
    """
    good, invalid = validate(columns, rows=rows, file=file, inputs=inputs)
    rejected = [] if invalid is None else [invalid]
    key = None if identity is None else identity.key_column
    if good is not None and key is not None and good.columns.column(key).null_count:
        null = good.columns.column(key).is_null()
        count = null.true_count
        rejected.append(reject(file, good.rows.filter(null), [f"{key}: {NULL_KEY}"] * count, {NULL_KEY: count}))
        good = good.filter(~null.to_numpy(zero_copy_only=False)) if count < len(good) else None
    if good is None or inputs.ranges is None:
        return good, rejected
    if inputs.ranges.then == "name":
        names = join_names(good.out_of_range, len(good))
        good = dataclasses.replace(good, columns=good.columns.append_column(OUT_OF_RANGE_FIELD, names))
    elif inputs.ranges.then == "reject" and good.out_of_range:
        good, outside = split_outside(good)
        rejected += [] if outside is None else [outside]
    return good, rejected


def name_outside(batch: pa.RecordBatch, inputs: ModelInputs) -> pa.StringArray:
    """In which columns each row `[B]` of a batch is out of range, comma separated; null for one that cannot be used."""
    good, _ = split_batch(batch, 0, inputs)
    names = np.full(batch.num_rows, None, object)
    if good is not None:
        names[good.rows.to_numpy()] = join_names(good.out_of_range, len(good)).to_pylist()
    return pa.array(names, pa.string())


class Asked(Protocol):
    """Rows, or draws, that something is asked of: `ScoreableRows` or `Draws`."""

    @property
    def file(self) -> str:
        """What they are from."""

    @property
    def rows(self) -> pa.Int64Array:
        """Their numbers `[B]` in it."""

    @property
    def columns(self) -> pa.RecordBatch:
        """Those of the input."""

    def __len__(self) -> int: ...


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a model has said of the rows, or draws, of a call.

    Attributes:
      columns: by name, values `[B]` of all that was asked.
      failed: where there is no answer, a mask `[B]`; `None` where there are all.
      rejected: those rows or draws, with their reasons; `None` where there are none.
    """

    columns: Mapping[str, npt.NDArray[Any]]
    failed: Mask | None = None
    rejected: RejectedRows | None = None

    def rows(self, asked: Asked, schema: pa.Schema, kept: pa.Schema) -> pa.RecordBatch:
        """The answers that there are, as rows of a schema: `file`, `row`, the columns, and what is kept."""
        place = {"file": lambda: pa.repeat(pa.scalar(asked.file, pa.string()), len(asked)), "row": lambda: asked.rows}
        arrays = []
        for field in schema:
            if field.name in kept.names:
                arrays.append(carry_through(asked.columns.column(field.name), field.type))
            elif field.name in self.columns:
                arrays.append(pa.array(self.columns[field.name]))
            else:
                arrays.append(place[field.name]())
        return self.without_failed(pa.RecordBatch.from_arrays(arrays, schema=schema))

    def without_failed(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Those of the rows `[B]` that have an answer."""
        return rows if self.failed is None else rows.filter(pa.array(~self.failed))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowQuestion:
    """A signature asked about each row.

    Attributes:
      signature_name: of the model.
      inputs: the columns that it is asked with.
      outputs: by name of its output, the columns that this becomes: one for an output `[B]`, D for one `[B, D]`.
        Without any, the rows are looked at and the signature is not run. Those of an output `[B, D, Q]` are Q for each
        of D.
      identity: what the rows' seeds are made of, where the signature takes a `seed`: it is that of their first draw.
      constants: by name of an input `[B]` that is the same for all rows, its value.
      rows_at_a_time: of one call, at most.
    """

    signature_name: str
    inputs: ModelInputs
    outputs: Mapping[str, tuple[str, ...]]
    identity: Identity | None = None
    constants: Mapping[str, float] = dataclasses.field(default_factory=dict)
    rows_at_a_time: int = ROWS_AT_A_TIME

    @property
    def answer_schema(self) -> pa.Schema:
        """Of an answer: the columns of the outputs, in the model's dtype; none of them null."""
        number = pa.from_numpy_dtype(self.inputs.dtype)
        names = [name for columns in self.outputs.values() for name in columns]
        return pa.schema([pa.field(name, number, nullable=False) for name in names])

    @property
    def schema(self) -> pa.Schema:
        """Of what `ask` gives: the columns of the outputs, and `reason`, text."""
        return pa.schema([*((field.name, field.type) for field in self.answer_schema), (REASON, pa.string())])

    def asked(self, rows: ScoreableRows) -> Iterator[ScoreableRows]:
        """The rows with all inputs of the signature but the encoded condition, so many at a time."""
        more: dict[str, npt.NDArray[Any]] = {
            name: np.full(len(rows), value, self.inputs.dtype) for name, value in self.constants.items()
        }
        if self.identity is not None:
            more["seed"] = draw_seeds(self.identity.keys(rows), np.zeros(len(rows), np.int64))
        if more:
            rows = dataclasses.replace(rows, inputs={**rows.inputs, **more})
        for start in range(0, len(rows), self.rows_at_a_time):
            yield rows.slice(start, self.rows_at_a_time)

    def read(self, asked: ScoreableRows, outputs: Arrays) -> Answered:
        """The outputs `[B, ...]` of the signature as columns.

        A density of zero is an answer: a log_prob of minus infinity is kept. NaN and plus infinity, from finite values,
        are failures of the model.
        """
        columns: dict[str, npt.NDArray[Any]] = {}
        for output, names in self.outputs.items():
            columns.update(zip(names, outputs[output].reshape(len(asked), len(names)).T, strict=True))
        if LOG_PROB in outputs:
            failed = is_failed(outputs[LOG_PROB])
        else:
            finite = [np.isfinite(values).reshape(len(asked), -1).all(axis=1) for values in outputs.values()]
            failed = ~np.logical_and.reduce(finite)
        if not failed.any():
            return Answered(columns=columns)
        return Answered(columns=columns, failed=failed, rejected=self._reject(asked, outputs, failed))

    def _reject(self, asked: ScoreableRows, outputs: Arrays, failed: Mask) -> RejectedRows | None:
        if LOG_PROB in outputs:
            return reject_failed(asked.file, asked.rows, outputs[LOG_PROB])
        rows = asked.rows.filter(pa.array(failed))
        return reject(asked.file, rows, [NOT_FINITE] * len(rows), {NOT_FINITE: len(rows)})

    def ask(self, batch: pa.RecordBatch, run: Run, *, first_row: int = 0) -> pa.RecordBatch:
        """The answers `[B]` of the rows `[B]` of a batch.

        A row that cannot be scored has null in every column but `reason`, which says why; it is null for the others.

        Args:
          batch: the model's columns, by name, and any others.
          run: runs a signature.
          first_row: number of the first row.
        """
        good, rejected = split_batch(batch, first_row, self.inputs, self.identity)
        reasons = Reasons(batch.num_rows, first_row)
        reasons.add(*rejected)
        number = np.dtype(self.inputs.dtype)
        columns = {name: np.zeros(batch.num_rows, number) for name in self.answer_schema.names}
        for asked in self.asked(good) if good is not None and self.outputs else ():
            answers = self.read(asked, run(self.signature_name, encode_rows(asked, run).inputs))
            reasons.add(answers.rejected)
            places = asked.rows.to_numpy() - first_row
            for name, values in answers.columns.items():
                columns[name][places] = values
        arrays = [pa.array(values, mask=reasons.missing) for values in columns.values()]
        return pa.RecordBatch.from_arrays([*arrays, reasons.column()], schema=self.schema)


def row_question(contract: ContractProtocol, signature_name: str, *, inputs: ModelInputs | None = None) -> RowQuestion:
    """The question that a signature answers: `log_prob`, `inverse`, `forward`, `cdf` or `conditional_cdf`.

    The columns of z are called `z_<event column>`. Raises `ContractError` if there is no such signature.

    Args:
      contract: of the model.
      signature_name: of the signature.
      inputs: the columns that it is asked with; `None` where the table has the model's own names.
    """
    inputs = inputs or model_inputs(contract, signature_name)
    outputs = answer_columns(signature_name, contract.event_columns)
    return RowQuestion(signature_name=signature_name, inputs=inputs, outputs=outputs)


def answer_columns(
    signature_name: str, event: tuple[str, ...], levels: Sequence[float] = ()
) -> Mapping[str, tuple[str, ...]]:
    """By name of an output of a signature, what its columns are called.

    Args:
      signature_name: of the signature.
      event: names of the event columns.
      levels: of the quantiles that are asked for, by `quantile` or `summarize`.
    """
    quantiles = tuple(f"{name}_{level_name(level)}" for name in event for level in levels)
    columns: dict[str, dict[str, tuple[str, ...]]] = {
        "log_prob": {LOG_PROB: (LOG_PROB,)},
        "inverse": {LOG_PROB: (LOG_PROB,), "z": tuple(f"{Z_PREFIX}{name}" for name in event)},
        "forward": {"x": event},
        "cdf": {"cdf": ("cdf",)},
        "conditional_cdf": {"conditional_cdf": tuple(f"cdf_{name}" for name in event)},
        "quantile": {"x": quantiles},
        SUMMARIZE: {
            "mean": tuple(f"{name}_mean" for name in event),
            "stddev": tuple(f"{name}_stddev" for name in event),
            "quantiles": quantiles,
        },
    }
    return columns[signature_name]


def summary_question(
    contract: ContractProtocol,
    *,
    identity: Identity,
    inputs: ModelInputs | None = None,
    event_columns: tuple[str, ...] = (),
) -> RowQuestion:
    """The question that `summarize` answers: `price_mean`, `price_stddev`, `price_q05` and so on of each event column.

    Args:
      contract: of the model; raises `ContractError` if it has no such signature.
      identity: of the rows' seeds; without effect on one event column, whose summary is exact.
      inputs: as of `row_question`.
      event_columns: what the event columns are called in the answers; empty for their own names.
    """
    inputs = inputs or model_inputs(contract, SUMMARIZE)
    event = event_columns or contract.event_columns
    levels = contract.answers.quantile_levels if contract.answers else ()
    num_draws = contract.answers.num_draws if contract.answers else None
    return RowQuestion(
        signature_name=SUMMARIZE,
        inputs=inputs,
        outputs=answer_columns(SUMMARIZE, event, levels),
        identity=identity,
        # an exact summary is some 400 points a row
        rows_at_a_time=max(1, 4 * ROWS_AT_A_TIME // num_draws) if num_draws else ROWS_AT_A_TIME // 16,
    )


def quantile_question(contract: ContractProtocol, level: float) -> RowQuestion:
    """The question that `quantile` answers for one level: the column `price_q90`. Raises as `summary_question` does."""
    inputs = model_inputs(contract, "quantile")  # of one event column
    outputs = answer_columns("quantile", contract.event_columns, [level])
    constants = {"probability": level}
    return RowQuestion(signature_name="quantile", inputs=inputs, outputs=outputs, constants=constants)


def level_name(level: float) -> str:
    """What the quantile of a level is called: the digits behind the point, two at least.

    >>> [level_name(level) for level in (0.05, 0.5, 0.975)]
    ['q05', 'q50', 'q975']
    """
    return f"q{f'{level:.9f}'[2:].rstrip('0'):0<2}"


def is_failed(log_prob: Floats) -> Mask:
    """Where the model has failed: log_prob `[B]` is NaN or plus infinity, from finite values.

    A density of zero is an answer: minus infinity is none of them.
    """
    failed: Mask = np.isnan(log_prob) | np.isposinf(log_prob)
    return failed


def reject_failed(file: str, rows: pa.Int64Array, log_prob: Floats) -> RejectedRows | None:
    """The rows `[B]` of a file for which the model has failed, if there are any."""
    failed = is_failed(log_prob)
    if not failed.any():
        return None
    reasons = [NAN_LOG_PROB if np.isnan(value) else INFINITE_LOG_PROB for value in log_prob[failed]]
    kinds = {reason: reasons.count(reason) for reason in set(reasons)}
    return reject(file, rows.filter(pa.array(failed)), reasons, kinds)


class Reasons:
    """Why rows of a batch have no answer, by their place in it.

    Attributes:
      missing: where there is none, a mask `[B]`.
    """

    def __init__(self, rows: int, first_row: int) -> None:
        self._first_row = first_row
        self._texts = np.full(rows, None, object)
        self.missing = np.zeros(rows, bool)

    def add(self, *rejected: RejectedRows | None) -> None:
        """Those of some rows."""
        for each in rejected:
            if each is not None:
                places = each.table["row"].to_numpy() - self._first_row
                self.missing[places] = True
                self._texts[places] = each.table[REASON].to_pylist()

    def texts(self, repeats: int) -> npt.NDArray[Any]:
        """The reasons `[B repeats]`, each so many times; `None` where there is none."""
        return np.repeat(self._texts, repeats)

    def column(self) -> pa.StringArray:
        """The reasons `[B]`; null where there is none."""
        return pa.array(self._texts, pa.string()) if self.missing.any() else pa.nulls(len(self._texts), pa.string())


def split_batch(
    batch: pa.RecordBatch, first_row: int, inputs: ModelInputs, identity: Identity | None = None
) -> tuple[ScoreableRows | None, list[RejectedRows]]:
    """See `split_rows`, of rows with consecutive numbers."""
    rows = pa.array(np.arange(first_row, first_row + batch.num_rows))
    return split_rows(batch, rows=rows, file=_TABLE, inputs=inputs, identity=identity)
