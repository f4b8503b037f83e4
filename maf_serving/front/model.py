"""An exported model in this process: tables in, tables out, by the names of the raw columns."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from maf_serving.answers import LOG_PROB, REASON, ROWS_AT_A_TIME, DrawQuestion, RowQuestion, Run, row_question
from maf_serving.errors import UsageError
from maf_serving.front.tables import InputTable, of_size, open_table
from maf_serving.model_inputs import model_inputs
from maf_serving.quiet_tensorflow import import_quietly
from maf_serving.saved_model import LoadedModel
from maf_serving.validation import check_columns

if TYPE_CHECKING:
    from export.contract import Contract

SAMPLE = "sample_with_seed"


class Model:
    """p(x | c) in this process, asked about tables by the names of their columns.

        >>> model = ms.load("models/sales")
        >>> model
        Model(event=['price'], condition=['season', 'region'])
        >>> new = {"price": [9.5, 20.0, None], "season": [1.0, 2.0, 2.0], "region": ["north", None, "south"]}
        >>> len(model.log_prob(new))
        3
        >>> model.check(new).to_pylist()
        [None, None, 'price: null']

    A table is a DataFrame of pandas or Polars, an Arrow table or reader, anything with Arrow's PyCapsule interface, or
    a mapping from names to columns. It holds the columns that the model was trained on, as they are: text, categories,
    nulls; others do no harm. What comes back is of the same kind: a pandas DataFrame or Series with the index of the
    rows, a Polars one, or an Arrow table.

    **Rows in are rows out.** A row that cannot be scored, because a value is null, NaN, infinite or no number where the
    model needs one, has null (NaN in pandas) at its place; `check` says why. A category that the model does not know is
    scored as its `<other>`. Only a column that is missing, or of a type that cannot serve, is an error.

    Rows are answered some ten thousand at a time, so that memory beside the table and the answers does not grow with
    them, and with all cores. Threads may share a model.

    Attributes:
      contract: what the model promises: its columns, signatures, and how it was trained.
    """

    def __init__(self, contract: Contract, run: Run) -> None:
        """See `ms.load`.

        Args:
          contract: of the model.
          run: runs one of its signatures, by its name, on arrays.
        """
        self.contract = contract
        self._run = run

    def __repr__(self) -> str:
        return f"{type(self).__name__}(event={[*self.event_columns]}, condition={[*self.condition_columns]})"

    @property
    def event_columns(self) -> tuple[str, ...]:
        """Names of the columns of x, what the density is of."""
        return self.contract.event_columns

    @property
    def condition_columns(self) -> tuple[str, ...]:
        """Names of the raw columns of the condition; none for an unconditional model."""
        return tuple(column.name for column in self.contract.raw_condition_columns)

    def log_prob(self, table: Any) -> Any:
        """Log-densities log p(x | c) of the rows, in nats and in raw units of the event columns.

            >>> model = ms.load("models/sales")
            >>> model.log_prob({"price": [9.5], "season": [1.0], "region": ["north"]}).type
            DataType(float)

        Args:
          table: with the event columns and those of the condition; see `Model`.

        Returns:
          A value for each row, in the model's precision: a Series called `log_prob`, or a `pyarrow.ChunkedArray`. Minus
          infinity is an answer, a density of zero; null is none.

        Raises:
          UsageError: a column is missing, or cannot hold what the model takes.
        """
        opened = open_table(table)
        answers = self._ask(opened, row_question(self.contract, "log_prob"))
        return opened.column(answers.column(LOG_PROB), LOG_PROB)

    def check(self, table: Any) -> Any:
        """Why rows have no answer: a text for each such row, null for all others.

            >>> model = ms.load("models/sales")
            >>> model.check({"price": ["9.5", "cheap"], "season": [1, None], "region": ["north", "east"]}).to_pylist()
            [None, "price: not a number: 'cheap'"]

        Of a table without the event columns it says which rows cannot be drawn for. The model is run: a log-density
        that is no number is a reason too.

        Returns:
          A Series called `reason`, or a `pyarrow.ChunkedArray`.

        Raises:
          UsageError: as `log_prob` does.
        """
        opened = open_table(table)
        if set(self.event_columns).isdisjoint(opened.names):
            inputs = model_inputs(self.contract, SAMPLE)
            question = RowQuestion(signature_name=SAMPLE, inputs=inputs, outputs={})
        else:
            question = row_question(self.contract, "log_prob")
        return opened.column(self._ask(opened, question).column(REASON), REASON)

    def inverse(self, table: Any) -> Any:
        """Where the rows lie in base space, and their log-densities: `log_prob`, and `z_<event column>` for each.

            >>> model = ms.load("models/sales")
            >>> model.inverse({"price": [9.5], "season": [1.0], "region": ["north"]}).column_names
            ['log_prob', 'z_price']

        If the model is right, the z of many rows are distributed as its base distribution is: standard normal, by
        default.

        Raises:
          UsageError: as `log_prob` does.
        """
        return self._answer_columns(table, "inverse")

    def forward(self, table: Any) -> Any:
        """The event columns of points in base space, which are columns `z_<event column>`; the opposite of `inverse`.

            >>> model = ms.load("models/sales")
            >>> model.forward({"z_price": [0.0], "season": [1.0], "region": ["north"]}).column_names
            ['price']

        Raises:
          UsageError: as `log_prob` does.
        """
        return self._answer_columns(table, "forward")

    def sample(
        self, table: Any = None, *, num_samples: int = 1, seed: int | None = None, keep: Sequence[str] = ()
    ) -> Any:
        """Draws from p(x | c) for each row of conditions, in long form.

            >>> model = ms.load("models/sales")
            >>> draws = model.sample({"season": [1.0, 2.0], "region": ["north", "south"]}, num_samples=2, seed=7)
            >>> draws.column_names
            ['row', 'draw', 'price', 'log_prob']
            >>> draws.column("row").to_pylist(), draws.column("draw").to_pylist()
            ([0, 0, 1, 1], [0, 1, 0, 1])

        Draw n of row i depends on the seed, i, n and the row's condition alone: it is the same whatever `num_samples`,
        and the same that `ms.sample`, `maf-serving sample` and the client give for the same rows and seed, to float
        tolerance.

        Args:
          table: with the columns of the condition; see `Model`. Of an unconditional model any table, for as many rows,
            or none for one.
          num_samples: draws for each row.
          seed: of all draws together; `None` for one that nobody knows.
          keep: columns of the table to carry through to each draw; `["*"]` for all.

        Returns:
          `num_samples` rows for each row of the table, those of a row together: `row`, from 0, `draw`, from 0, what is
          kept, the event columns and `log_prob` (nats). The drawn columns are null where the row cannot be used, see
          `check`, or the draw is not finite. A pandas DataFrame has the index of the rows, repeated.

        Raises:
          UsageError: as `log_prob` does; or a kept column is called like one of the draws'.
        """
        if num_samples < 1:
            raise UsageError(f"num_samples is {num_samples}; expected at least 1")
        inputs = model_inputs(self.contract, SAMPLE)
        if table is None and inputs.names:
            raise UsageError(f"sample() got no table; the model needs one with {', '.join(inputs.names)}")
        opened = open_table({"row": [0]} if table is None else table)
        question = DrawQuestion(
            inputs=inputs,
            event_columns=self.event_columns,
            num_samples=num_samples,
            seed=secrets.randbits(63) if seed is None else seed,
            kept=pa.schema([]),
        )
        kept = list(opened.names if list(keep) == ["*"] else keep)
        taken = [name for name in kept if name in question.schema.names]
        if taken:
            raise UsageError(f"keep names {', '.join(taken)}, as a column of the draws is called; rename it")
        draws = self._ask(opened, question, kept=kept)
        return opened.table(draws, rows_each=num_samples)

    def _answer_columns(self, table: Any, signature_name: str) -> Any:
        opened = open_table(table)
        answers = self._ask(opened, row_question(self.contract, signature_name))
        return opened.table(answers.drop_columns([REASON]))

    def _ask(self, table: InputTable, question: RowQuestion | DrawQuestion, *, kept: Sequence[str] = ()) -> pa.Table:
        """The answers to all rows, in chunks."""
        columns = list(dict.fromkeys([*question.inputs.names, *kept]))
        columns = columns or list(table.names[:1])  # something has to say how many rows there are
        table.require(columns)
        reader = table.read(columns)
        check_columns(reader.schema, question.inputs, where="the table")
        rows = ROWS_AT_A_TIME
        if isinstance(question, DrawQuestion):
            rows = max(1, rows // question.num_samples)
            question = dataclasses.replace(question, kept=pa.schema([reader.schema.field(name) for name in kept]))
        answers: list[pa.RecordBatch] = []
        first_row = 0
        for batch in of_size(reader, rows):
            answers.append(question.ask(batch, self._run, first_row=first_row))
            first_row += batch.num_rows
        return pa.Table.from_batches(answers, schema=question.schema)


def load(model: str | Path) -> Model:
    """Loads an exported model into this process, from its SavedModel alone: neither TFP nor training code is needed.

        >>> model = ms.load("models/sales")
        >>> model.contract.event_columns
        ('price',)

    Takes seconds, most of them to import TensorFlow.

    Args:
      model: a version directory, or a directory of versions, of which the newest is taken; or a URL (`gs://`, `s3://`)
        of one, which is copied to this machine first.

    Raises:
      UsageError: there is no such model, or its contract cannot be read.
    """
    if "://" in str(model):
        from beam_jobs.model.saved_model import find_model_location  # noqa: PLC0415  # the packages above, when needed

        location, contract = find_model_location(str(model))
        import_quietly()
        with location.local_copy() as directory:
            return Model(contract, LoadedModel.load(directory).run)
    from export.contract import find_version, read_contract  # noqa: PLC0415  # the packages above, when needed

    version_dir = find_version(model)
    contract = read_contract(version_dir)
    import_quietly()
    return Model(contract, LoadedModel.load(version_dir).run)
