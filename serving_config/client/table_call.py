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

from maf_serving.answers import LOG_PROB, NOT_FINITE, OUT_OF_RANGE_FIELD, SUMMARIZE, Answered, RowQuestion, split_rows
from maf_serving.arrow_columns import carry_through
from maf_serving.command import say, when_interrupted
from maf_serving.condition_range import OUT_OF_RANGE
from maf_serving.draws import DrawQuestion, Draws
from maf_serving.model_inputs import ModelInputs, encode_rows
from maf_serving.rejection import RejectedRows, reject
from maf_serving.row_seeds import RowIdentity
from maf_serving.table_files import TableFile
from maf_serving.table_formats import Damage
from maf_serving.validation import ScoreableRows, check_columns
from serving_config.client.client import ROWS_PER_SUMMARY, Client
from serving_config.client.options import ALL_COLUMNS, CallOptions
from serving_config.client.retry import RetryPolicy
from serving_config.client.table_columns import find_inputs, resolve_columns, row_questions
from serving_config.client.table_output import TableOutput, open_output
from serving_config.errors import JobError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from serving_config.client.served_columns import ServedColumns

_REQUESTS_PER_BATCH = 4  # of each connection, so that none waits long for the others at the end of a batch
ROW = "row"


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
        batch_rows = max(1, options.rows_per_request * options.concurrency * _REQUESTS_PER_BATCH // options.num_samples)
        call = _plan(options, table, client, batch_rows)
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
    return CallResult(rows=call.rows, rejected=call.rejected, kinds=call.kinds, out_of_range=call.out_of_range)


@dataclasses.dataclass(frozen=True, slots=True)
class CallResult:
    """What became of the rows of a file.

    Attributes:
      rows: how many there are.
      rejected: how many of them have no answer. A row whose draws are rejected has one.
      kinds: how many rows or draws were rejected for which kind of reason.
      out_of_range: by column, how many rows are nothing like what training saw.
    """

    rows: int
    rejected: int
    kinds: Counter[str]
    out_of_range: Counter[str]


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


def _plan(options: CallOptions, table: TableFile, client: Client, batch_rows: int) -> _Call:
    """Which columns are read, and how, so many rows at a time. Raises `UsageError` if they do not fit."""
    times = {each.name for each in table.schema if pa.types.is_timestamp(each.type) or pa.types.is_date(each.type)}
    columns = resolve_columns(options, table.schema.names, note=say, client=client, times=times)
    inputs = find_inputs(options, columns, lambda *names: _dtype(client, *names))
    untyped = () if table.is_typed else table.schema.names
    check_columns(table.schema, inputs, where=str(table.path), untyped=untyped, lookalikes=table.lookalikes)
    names = table.schema.names if options.keep == ALL_COLUMNS else list(options.keep)
    asked = [*names, *([] if options.key_column is None else [options.key_column])]
    missing = [name for name in asked if name not in table.schema.names]
    if missing:
        raise UsageError(
            f"{table.path} lacks the column(s) {', '.join(missing)}; it has {', '.join(table.schema.names)}"
        )
    as_text = options.output_path is None or options.output_path.suffix.lower() == ".csv"
    kept = pa.schema([(name, _kept_type(table, name, inputs, as_text=as_text)) for name in names])
    if inputs.ranges is not None and inputs.ranges.then == "name":
        if OUT_OF_RANGE in (*names, *inputs.names):
            raise UsageError(f"--out_of_range adds a column {OUT_OF_RANGE}, and the file has one; rename it")
        kept = kept.append(OUT_OF_RANGE_FIELD)
    seed = options.seed
    if seed is None:
        seed = secrets.randbits(63) if options.operation == "sample" else 0
    identity = RowIdentity(seed=seed, key_column=options.key_column)
    questions: Sequence[RowQuestion | DrawQuestion]
    if options.operation == "sample":
        draws = DrawQuestion(
            inputs=inputs,
            event_columns=columns.event,
            num_samples=options.num_samples,
            identity=identity,
            kept=kept,
            draws_at_a_time=batch_rows * options.num_samples,
        )
        questions = [draws]
    else:
        questions = row_questions(options, columns, inputs, identity, batch_rows)
    call = _Call(
        options=options,
        table=table,
        client=client,
        inputs=inputs,
        served=columns.served,
        questions=questions,
        identity=identity,
        kept=kept,
    )
    both = [name for name in names if name in call.added.names]
    if both:
        raise UsageError(f"--keep names {', '.join(both)}, which {options.operation} writes itself; leave it out")
    return call


def _dtype(client: Client, signature_name: str, input_name: str) -> str:
    """The precision of the model, as the server says it."""
    return client.metadata().signature(signature_name).inputs[input_name].dtype


def _kept_type(table: TableFile, name: str, inputs: ModelInputs, *, as_text: bool) -> pa.DataType:
    if table.is_typed:
        return table.exact.field(name).type
    kind = inputs.kinds.get(name)
    if kind is not None:
        return {"number": pa.float64(), "integer": pa.int64()}.get(kind, pa.string())
    return pa.string() if as_text else table.exact.field(name).type


@dataclasses.dataclass(slots=True, kw_only=True)
class _Call:
    options: CallOptions
    table: TableFile
    client: Client
    inputs: ModelInputs
    served: ServedColumns | None
    questions: Sequence[RowQuestion | DrawQuestion]
    identity: RowIdentity
    kept: pa.Schema
    rows: int = 0
    rejected: int = 0
    kinds: Counter[str] = dataclasses.field(default_factory=Counter)
    out_of_range: Counter[str] = dataclasses.field(default_factory=Counter)

    def read(self, batch_rows: int) -> Iterator[ScoreableRows | RejectedRows]:
        """The rows of the file. Raises `JobError` if it cannot be read to its end."""
        key = self.options.key_column
        columns: dict[str, str | pa.DataType] = {
            field.name: field.type for field in self.kept if field != OUT_OF_RANGE_FIELD
        }
        columns |= {} if key is None or key in columns else {key: pa.string()}
        columns |= self.inputs.kinds
        for part in self.table.rows(columns, batch_rows=batch_rows):
            if isinstance(part, Damage):
                raise JobError(f"{part.file} cannot be read from row {part.first_row} (from 0): {part.reason}")
            self.rows += len(part)
            if isinstance(part, RejectedRows):
                yield part
                continue
            good, bad = split_rows(
                part.columns, rows=part.rows, file=part.file, inputs=self.inputs, identity=self.identity
            )
            yield from bad
            if good is not None:
                self.out_of_range.update({name: int(mask.sum()) for name, mask in good.out_of_range.items()})
                yield good

    def reject(self, rejected: RejectedRows, output: TableOutput) -> None:
        """Writes rows that have no answer."""
        self.rejected += len(rejected)
        self.kinds.update(rejected.kinds)
        self.out_of_range.update(rejected.out_of_range)
        output.write_rejected(rejected.table)

    @property
    def added(self) -> pa.Schema:
        """What a row of answers holds beside the columns that are kept."""
        own = [field for question in self.questions for field in question.answer_schema]
        return pa.schema([(ROW, pa.int64()), *((field.name, field.type) for field in own if field not in self.kept)])

    def answer(self, rows: ScoreableRows, output: TableOutput) -> None:
        """Asks the server about rows, and writes what it says: of draws, all of the first row, then of the second."""
        encoded = self.served.rows(rows) if self.served is not None else encode_rows(rows, self.client.predict)
        told = [self._ask(question, encoded) for question in self.questions]
        asked = told[0][0]
        answers = _merged(asked, [each for _, each in told])
        if answers.rejected is not None:
            if isinstance(asked, ScoreableRows):
                self.reject(answers.rejected, output)
            else:  # a row whose draws are rejected has been answered
                self.kinds.update(answers.rejected.kinds)
                output.write_rejected(answers.rejected.table)
        carried = [carry_through(asked.columns.column(field.name), field.type) for field in self.kept]
        values = (answers.columns[name] for name in self.added.names[1:])
        added = [asked.rows, *(pa.array(np.ascontiguousarray(value)) for value in values)]
        names = [*self.kept.names, *self.added.names]
        output.write(answers.without_failed(pa.RecordBatch.from_arrays([*carried, *added], names=names)))

    def _ask(self, question: Any, rows: ScoreableRows) -> tuple[ScoreableRows | Draws, Answered]:
        """What is asked of encoded rows, all at once, and what the server says."""
        (asked,) = question.asked(rows)
        name = question.signature_name
        most = ROWS_PER_SUMMARY if name == SUMMARIZE else None
        if self.served is None or not isinstance(question, DrawQuestion):
            return asked, question.read(asked, self.client.predict(name, asked.inputs, rows_per_request=most))
        drawn = self.client.predict(self.served.signature_name(name), asked.inputs)
        return asked, question.read(asked, {"x": self.served.points(drawn), LOG_PROB: drawn[LOG_PROB]})

    def finish(self, output: TableOutput) -> None:
        """Writes an empty table if nothing was written. Raises `JobError` if too many rows were rejected."""
        if not output.begun:
            output.write(pa.RecordBatch.from_pylist([], pa.schema([*self.kept, *self.added])))
        if self.rejected > self.options.max_rejected * self.rows:
            output.keep_rejected_alone()
            raise JobError(
                f"{self.rejected:,} of {self.rows:,} rows ({self.rejected / self.rows:.2%}) were rejected; "
                f"--max_rejected allows {self.options.max_rejected:.2%}{output.left}"
            )


def _merged(asked: ScoreableRows | Draws, answers: Sequence[Answered]) -> Answered:
    """The answers to several questions about the same rows; a row that lacks one of them has none."""
    if len(answers) == 1:
        return answers[0]
    columns = {name: values for each in answers for name, values in each.columns.items()}
    masks = [each.failed for each in answers if each.failed is not None]
    if not masks:
        return Answered(columns=columns)
    failed = np.logical_or.reduce(masks)
    rows = asked.rows.filter(pa.array(failed))
    rejected = reject(asked.file, rows, [NOT_FINITE] * len(rows), {NOT_FINITE: len(rows)})
    return Answered(columns=columns, failed=failed, rejected=rejected)


def say_rejected(options: CallOptions, result: CallResult) -> None:
    """A line on standard error for rows out of range, and one for those without an answer, if there are any."""
    outside = ", ".join(f"{name} {count:,}" for name, count in result.out_of_range.items() if count)
    if outside:
        say(f"out of range: {outside}: values unlike all that training saw, of {result.rows:,} rows")
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
