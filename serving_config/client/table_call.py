"""The rows of a table through a served model, a few requests at a time, in constant memory.

    TableFile -> validate -> Client -> scored.parquet
                     |          |
                     +----------+----> scored.rejected.parquet

Every row of the input comes out once: answered, with its number, or rejected, with its number and the reason that a
batch job gives for it. Which columns go in is found in `table_columns.py`.
"""

from __future__ import annotations

import dataclasses
import secrets
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from maf_serving.answers import LOG_PROB, NOT_FINITE, RowQuestion, is_failed, reject_failed
from maf_serving.arrow_columns import carry_through
from maf_serving.command import say, when_interrupted
from maf_serving.draws import ask_for_draws
from maf_serving.model_inputs import CONDITIONAL_INPUT, ModelInputs, encode_rows
from maf_serving.rejection import RejectedRows, reject
from maf_serving.row_seeds import Words, draw_seeds, row_keys, row_keys_of_values
from maf_serving.table_files import TableFile
from maf_serving.table_formats import Damage
from maf_serving.validation import ScoreableRows, check_columns, validate
from serving_config.client.client import ROWS_PER_SUMMARY, Client
from serving_config.client.options import ALL_COLUMNS, CallOptions
from serving_config.client.retry import RetryPolicy
from serving_config.client.table_columns import Columns, resolve_columns, row_questions
from serving_config.client.table_output import TableOutput, open_output
from serving_config.errors import JobError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maf_serving.arrow_columns import Mask
    from serving_config.client.transport import Arrays

_REQUESTS_PER_BATCH = 4  # of each connection, so that none waits long for the others at the end of a batch
ROW = "row"
NULL_KEY = "null key"


def call_table(options: CallOptions) -> CallResult:
    """Writes the answers for every row that the model can take, and the other rows with their reasons.

    Raises:
      UsageError: columns are missing, or nobody said which they are.
      JobError: a file cannot be read or written, or more rows were rejected than are allowed.
      ServingError: the server refused, or could not be reached.
    """
    if options.input_path is None:
        raise UsageError("--input is missing; expected a Parquet or CSV file")
    table = TableFile(options.input_path, options.csv)
    with open_client(options) as client:
        call = _plan(options, table, client)
        batch_rows = max(1, options.rows_per_request * options.concurrency * _REQUESTS_PER_BATCH // options.num_samples)
        with (
            open_output(options.output_path) as output,
            when_interrupted(lambda _: output.discard()),
            tqdm(total=table.num_rows, unit="row", unit_scale=True, disable=not sys.stderr.isatty()) as bar,
        ):
            for part in call.read(batch_rows):
                if isinstance(part, RejectedRows):
                    call.reject(part, output)
                else:
                    call.answer(part, output)
                bar.n = call.rows
                bar.refresh()
            call.finish(output)
    return CallResult(rows=call.rows, rejected=call.rejected, kinds=call.kinds)


@dataclasses.dataclass(frozen=True, slots=True)
class CallResult:
    """What became of the rows of a file.

    Attributes:
      rows: how many there are.
      rejected: how many of them have no answer. A row whose draws are rejected has one.
      kinds: how many rows or draws were rejected for which kind of reason.
    """

    rows: int
    rejected: int
    kinds: Counter[str]


def open_client(options: CallOptions) -> Client:
    """The client that the options describe."""
    return Client(
        options.model_spec.name,
        rest_url=options.server.rest_url,
        grpc_target=options.server.grpc_target,
        version=options.model_spec.version,
        version_label=options.model_spec.version_label,
        tls=options.server.tls,
        rows_per_request=options.rows_per_request,
        concurrency=options.concurrency,
        timeout=options.server.timeout,
        retry=RetryPolicy(attempts=options.server.attempts),
    )


def _plan(options: CallOptions, table: TableFile, client: Client) -> _Call:
    """Which columns are read, and how. Raises `UsageError` if they do not fit."""
    columns = resolve_columns(options, table.schema.names, note=say, ask=client.metadata)
    questions = row_questions(options, columns, lambda *names: _dtype(client, *names))
    inputs = questions[0].inputs
    untyped = () if table.is_typed else table.schema.names
    check_columns(table.schema, inputs, where=str(table.path), untyped=untyped, lookalikes=table.lookalikes)
    names = table.schema.names if options.keep == ALL_COLUMNS else list(options.keep)
    asked = [*names, *([] if options.key_column is None else [options.key_column])]
    missing = [name for name in asked if name not in table.schema.names]
    if missing:
        raise UsageError(
            f"{table.path} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.schema.names)}"
        )
    draw = ["draw"] if options.operation == "sample" else []
    added = [ROW, *draw, *(name for question in questions for group in question.outputs.values() for name in group)]
    both = [name for name in names if name in added]
    if both:
        raise UsageError(f"--keep names {', '.join(both)}, which {options.operation} writes itself; leave it out")
    as_text = options.output_path is None or options.output_path.suffix.lower() == ".csv"
    kept = pa.schema([(name, _kept_type(table, name, inputs, as_text=as_text)) for name in names])
    return _Call(
        options=options, table=table, client=client, columns=columns, inputs=inputs, questions=questions, kept=kept
    )


def _dtype(client: Client, signature_name: str, input_name: str) -> str:
    """The precision of the model, as the server says it."""
    return client.metadata().signature(signature_name).inputs[input_name].dtype


def _kept_type(table: TableFile, name: str, inputs: ModelInputs, *, as_text: bool) -> pa.DataType:
    if table.is_typed:
        return table.exact.field(name).type
    kind = inputs.categories.get(name, "number") if name in inputs.names else None
    if kind is not None:
        return {"number": pa.float64(), "integer": pa.int64(), "string": pa.string()}[kind]
    return pa.string() if as_text else table.exact.field(name).type


@dataclasses.dataclass(slots=True, kw_only=True)
class _Call:
    options: CallOptions
    table: TableFile
    client: Client
    columns: Columns
    inputs: ModelInputs
    questions: list[RowQuestion]
    kept: pa.Schema
    rows: int = 0
    rejected: int = 0
    kinds: Counter[str] = dataclasses.field(default_factory=Counter)

    def read(self, batch_rows: int) -> Iterator[ScoreableRows | RejectedRows]:
        """The rows of the file. Raises `JobError` if it cannot be read to its end."""
        key = self.options.key_column
        columns: dict[str, str | pa.DataType] = {field.name: field.type for field in self.kept}
        columns |= {} if key is None or key in columns else {key: pa.string()}
        columns |= {name: self.inputs.categories.get(name, "number") for name in self.inputs.names}
        for part in self.table.rows(columns, batch_rows=batch_rows):
            if isinstance(part, Damage):
                raise JobError(f"{part.file} cannot be read from row {part.first_row} (from 0): {part.reason}")
            self.rows += len(part)
            if isinstance(part, RejectedRows):
                yield part
                continue
            good, bad = validate(part.columns, rows=part.rows, file=part.file, inputs=self.inputs)
            if bad is not None:
                yield bad
            if good is not None:
                yield good

    def reject(self, rejected: RejectedRows, output: TableOutput) -> None:
        """Writes rows that have no answer."""
        self.rejected += len(rejected)
        self.kinds.update(rejected.kinds)
        output.write_rejected(rejected.table)

    def answer(self, rows: ScoreableRows, output: TableOutput) -> None:
        """Asks the server about rows, and writes what it says."""
        key = self.options.key_column
        if key is not None and rows.columns.column(key).null_count:
            null = rows.columns.column(key).is_null()
            count = null.true_count
            reasons = [f"{key}: {NULL_KEY}"] * count
            self.reject(reject(rows.file, rows.rows.filter(null), reasons, {NULL_KEY: count}), output)
            rows = rows.filter(~null.to_numpy(zero_copy_only=False))
        if self.options.operation == "sample":
            self._draw(rows, output)
        else:
            self._compute(rows, output)

    def finish(self, output: TableOutput) -> None:
        """Writes an empty table if nothing was written. Raises `JobError` if too many rows were rejected."""
        if not output.begun:
            names = list(dict.fromkeys([*self.kept.names, *self.inputs.names]))
            types = [(name, self.kept.field(name).type if name in self.kept.names else pa.null()) for name in names]
            arrays = {name: np.empty((0, len(group))) for name, group in self.inputs.columns.items()}
            if self.inputs.condition:
                arrays[CONDITIONAL_INPUT] = np.empty((0, len(self.columns.conditional)))
            nothing = pa.RecordBatch.from_pylist([], pa.schema(types))
            rows = ScoreableRows(file="", rows=pa.array([], pa.int64()), inputs=arrays, columns=nothing)
            self._draw(rows, output) if self.options.operation == "sample" else self._compute(rows, output)
        if self.rejected > self.options.max_rejected * self.rows:
            output.keep_rejected_alone()
            raise JobError(
                f"{self.rejected:,} of {self.rows:,} rows ({self.rejected / self.rows:.2%}) were rejected; "
                f"--max_rejected allows {self.options.max_rejected:.2%}{output.left}"
            )

    def _compute(self, rows: ScoreableRows, output: TableOutput) -> None:
        encoded = self._encoded(rows)
        named: Arrays = {}
        for question in self.questions:
            outputs = self._ask(question, encoded)
            for name, group in question.outputs.items():
                named |= dict(zip(group, outputs[name].reshape(len(rows), len(group)).T, strict=True))
        failed, rejected = _find_failed(rows, named)
        if rejected is not None:
            self.reject(rejected, output)
            rows, named = rows.filter(~failed), {name: values[~failed] for name, values in named.items()}
        output.write(self._join(rows.columns, {ROW: rows.rows, **named}))

    def _ask(self, question: RowQuestion, rows: ScoreableRows) -> Arrays:
        """The outputs of the question's signature for encoded rows."""
        inputs: dict[str, Any] = dict(rows.inputs)
        for name, value in question.constants.items():
            inputs[name] = np.full(len(rows), value, question.inputs.dtype)
        if self.options.operation != "summarize":
            return self.client.predict(question.signature_name, inputs)
        inputs["seed"] = draw_seeds(self._keys(rows), np.zeros(len(rows), np.int64))
        return self.client.predict(question.signature_name, inputs, rows_per_request=ROWS_PER_SUMMARY)

    def _draw(self, rows: ScoreableRows, output: TableOutput) -> None:
        """The draws of a batch: all of the first row, then all of the second."""
        keys = self._keys(rows)
        count = max(1, len(rows) * self.options.num_samples)
        encoded = self._encoded(rows)
        asked = list(
            ask_for_draws(encoded, keys, num_samples=self.options.num_samples, max_draws=count, kept=self.kept.names)
        )
        inputs: dict[str, Any] = {**encoded.inputs, "seed": np.empty(0, np.int64)}
        numbers, columns, places = np.empty(0, np.int64), encoded.columns, rows.rows
        if asked:
            (draws,) = asked
            inputs, numbers, columns, places = dict(draws.inputs), draws.numbers, draws.columns, draws.rows
        drawn = self.client.predict(self.questions[0].signature_name, inputs)
        served = self.columns.served
        x, log_prob = drawn["x"] if served is None else served.points(drawn), drawn["log_prob"]
        finite = np.isfinite(x).all(axis=1) & np.isfinite(log_prob)
        if not finite.all():
            reasons = [f"draw {number}: {NOT_FINITE}" for number in numbers[~finite]]
            self.kinds[NOT_FINITE] += len(reasons)
            output.write_rejected(
                reject(rows.file, places.filter(pa.array(~finite)), reasons, {NOT_FINITE: len(reasons)}).table
            )
        event = dict(zip(self.columns.event, x.T, strict=True))
        joined = self._join(columns, {ROW: places, "draw": numbers, **event, "log_prob": log_prob})
        output.write(joined.filter(pa.array(finite)))

    def _keys(self, rows: ScoreableRows) -> Words:
        if self.options.seed is None:
            seed = secrets.randbits(63) if self.options.operation == "sample" else 0
            return row_keys(seed, rows.rows.to_numpy())
        if self.options.key_column is None:
            return row_keys(self.options.seed, rows.rows.to_numpy())
        values = rows.columns.column(self.options.key_column).cast(pa.string())
        return row_keys_of_values(self.options.seed, values.to_pylist())

    def _encoded(self, rows: ScoreableRows) -> ScoreableRows:
        if self.columns.served is not None:
            return self.columns.served.rows(rows)
        return encode_rows(rows, self.client.predict)

    def _join(self, columns: pa.RecordBatch, values: dict[str, Any]) -> pa.RecordBatch:
        carried = [carry_through(columns.column(field.name), field.type) for field in self.kept]
        added = [
            value if isinstance(value, pa.Array) else pa.array(np.ascontiguousarray(value)) for value in values.values()
        ]
        return pa.RecordBatch.from_arrays([*carried, *added], names=[*self.kept.names, *values])


def _find_failed(rows: ScoreableRows, named: Arrays) -> tuple[Mask, RejectedRows | None]:
    """Where the model has given no number, a mask `[B]`, and these rows with their reasons if there are any."""
    if LOG_PROB in named:
        return is_failed(named[LOG_PROB]), reject_failed(rows.file, rows.rows, named[LOG_PROB])
    failed = ~np.logical_and.reduce([np.isfinite(values) for values in named.values()])
    count = int(failed.sum())
    if not count:
        return failed, None
    return failed, reject(rows.file, rows.rows.filter(pa.array(failed)), [NOT_FINITE] * count, {NOT_FINITE: count})


def say_rejected(options: CallOptions, result: CallResult) -> None:
    """A line on standard error for rows without an answer, if there are any."""
    if not result.kinds:
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(result.kinds.items()))
    path = TableOutput(options.output_path).rejected_path
    where = "name an --output to have them beside it" if path is None else str(path)
    say(f"rejected: {result.rejected:,} of {result.rows:,} rows ({kinds}): {where}")


def format_status(options: CallOptions) -> str:
    """Asks the server and returns the table, newest version first."""
    with open_client(options) as client:
        statuses = client.model_status()
    lines = [f"{options.model_spec} at {options.server}", "version  state      error"]
    for each in statuses:
        told = "" if each.error_code == "OK" else f"{each.error_code}: {each.error_message}"
        lines.append(f"{each.version:>7}  {each.state:<9}  {told}".rstrip())
    return "\n".join(lines)
