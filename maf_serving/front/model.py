"""An exported model in this process: tables in, tables out, by the names of the raw columns."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from maf_serving.answers import (
    LOG_PROB,
    REASON,
    ROWS_AT_A_TIME,
    RowQuestion,
    Run,
    name_outside,
    quantile_question,
    row_question,
    summary_question,
)
from maf_serving.condition_range import OUT_OF_RANGE, ranges_for
from maf_serving.draws import DrawQuestion
from maf_serving.errors import UsageError
from maf_serving.front.tables import InputTable, column_names, of_size, open_table
from maf_serving.model_inputs import conditions_alone, model_inputs
from maf_serving.row_seeds import RowIdentity
from maf_serving.validation import check_columns

if TYPE_CHECKING:
    from export.contract import Contract
    from maf_serving.front.batch_function import BatchFunction, Verb

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
      location: path or URL of the exported version; `None` for a run that is not exported.
    """

    def __init__(self, contract: Contract, run: Run, *, location: str | None = None) -> None:
        """See `ms.load`.

        Args:
          contract: of the model.
          run: runs one of its signatures, by its name, on arrays.
          location: path or URL of the exported version; `None` if there is none.
        """
        self.contract = contract
        self.location = location
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

    def out_of_range(self, table: Any) -> Any:
        """In which columns of the condition each row is nothing like what training saw: the model can only guess there.

            >>> model = ms.load("models/sales")
            >>> model.out_of_range({"season": [2.0, 1e6], "region": ["north", "north"]}).to_pylist()
            ['', 'season']

        A number is, beyond those of training by a hundredth of their range, or beside the one of a constant column; a
        category, if training saw none that the model does not know; a null, if it saw none. The model is not run.

        Args:
          table: with the columns of the condition; see `Model`.

        Returns:
          A Series called `out_of_range`, or a `pyarrow.ChunkedArray`: names, comma separated, empty for none; null for
          a row that the model cannot take.

        Raises:
          UsageError: as `log_prob` does, or the model knows no ranges: it has no condition, or none that it was trained
            on here.
        """
        inputs = model_inputs(self.contract, SAMPLE if SAMPLE in self.contract.signatures else "log_prob")
        ranges = ranges_for(inputs.ranges, "name", model=str(self.location or "this model"))
        inputs = conditions_alone(dataclasses.replace(inputs, ranges=ranges))
        opened = open_table(table)
        opened.require(inputs.names)
        reader = opened.read(list(inputs.names))
        check_columns(reader.schema, inputs, where="the table")
        names = [name_outside(batch, inputs) for batch in of_size(reader, ROWS_AT_A_TIME)]
        return opened.column(pa.chunked_array(names, pa.string()), OUT_OF_RANGE)

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

    def summarize(self, table: Any = None, *, seed: int = 0) -> Any:
        """What to expect of each row of conditions: mean, standard deviation and quantiles of each event column.

            >>> model = ms.load("models/sales")
            >>> summary = model.summarize({"season": [1.0, 2.0], "region": ["north", None]})
            >>> summary.column_names
            ['price_mean', 'price_stddev', 'price_q05', 'price_q25', 'price_q50', 'price_q75', 'price_q95']

        The levels are those that the model was exported with. Of one event column all is exact: the integral and the
        inverse of the flow itself. Of several it is that of evenly spread draws, 1,024 by default, whose number the
        export has chosen: a mean is off by less than a standard deviation over the root of that.

        Args:
          table: with the columns of the condition; see `Model`. Of an unconditional model any table, for as many rows,
            or none for one.
          seed: of the draws; row i depends on it, on i and the row's condition alone.

        Raises:
          UsageError: as `log_prob` does, or the model was exported without summaries.
        """
        question = summary_question(self.contract, identity=RowIdentity(seed=seed))
        opened = self._conditions(table, question, "summarize")
        return opened.table(self._ask(opened, question).drop_columns([REASON]))

    def quantile(self, table: Any, levels: float | Sequence[float]) -> Any:
        """The values that are not exceeded with these probabilities, of a model of one event column; exact.

            >>> model = ms.load("models/sales")
            >>> model.quantile({"season": [1.0], "region": ["north"]}, [0.1, 0.9]).column_names
            ['price_q10', 'price_q90']

        Args:
          table: with the columns of the condition; as in `summarize`.
          levels: probabilities between 0 and 1, the same for all rows.

        Raises:
          UsageError: as `log_prob` does; a level is none; or the model has several event columns.
        """
        wanted = [levels] if isinstance(levels, (int, float)) else list(levels)
        for level in wanted:
            if not 0 < level < 1:
                raise UsageError(f"quantile() got the level {level}; expected probabilities between 0 and 1")
        questions = [quantile_question(self.contract, level) for level in dict.fromkeys(wanted)]
        if not questions:
            raise UsageError("quantile() got no levels; expected some, such as [0.1, 0.9]")
        opened = self._conditions(table, questions[0], "quantile")
        columns = list(questions[0].inputs.names) or list(opened.names[:1])
        opened.require(columns)
        again = open_table(opened.read(columns).read_all())  # for each level, of what may be read once
        answers = [self._ask(again, question).drop_columns([REASON]) for question in questions]
        return opened.table(pa.Table.from_arrays([a.column(0) for a in answers], [a.column_names[0] for a in answers]))

    def cdf(self, table: Any) -> Any:
        """How likely a value of at most the row's is: `cdf` for each row, of a model of one event column; exact.

            >>> model = ms.load("models/sales")
            >>> model.cdf({"price": [-100.0, 100.0], "season": [1.0, 1.0], "region": ["north", "north"]}).to_pylist()
            [0.0, 1.0]

        Of several event columns it is `cdf_<event column>` for each: the shares of the columns of base space that lie
        below the row, each given those before it. If the model is right, those of many rows are independent and
        uniform. They are the probabilities of each event column given those before it (Rosenblatt's transform) where
        all layers have the columns in their own order, as with `order="same"`; else they belong to no single column.

        Raises:
          UsageError: as `log_prob` does, or the model was exported without it.
        """
        opened = open_table(table)
        if len(self.event_columns) > 1:
            return self._answer_columns(table, "conditional_cdf")
        return opened.column(self._ask(opened, row_question(self.contract, "cdf")).column("cdf"), "cdf")

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
            identity=RowIdentity(seed=secrets.randbits(63) if seed is None else seed),
            kept=pa.schema([]),
        )
        kept = list(opened.names if list(keep) == ["*"] else keep)
        taken = [name for name in kept if name in question.schema.names and name != REASON]
        if taken:
            raise UsageError(f"keep names {', '.join(taken)}, as a column of the draws is called; rename it")
        draws = self._ask(opened, question, kept=kept)
        return opened.table(draws.remove_column(draws.num_columns - 1), rows_each=num_samples)

    def batch_function(
        self,
        verb: Verb,
        *,
        keep: Sequence[str] = (),
        num_samples: int | None = None,
        seed: int | None = None,
        key_column: str | None = None,
        input_schema: Any = None,
        threads: int | None = None,
    ) -> BatchFunction:
        """The model as a function on record batches, to be used in a pipeline of Spark, Ray, Dask, DuckDB or your own.

            >>> model = ms.load("models/sales")
            >>> fn = model.batch_function("sample", num_samples=2, seed=7, key_column="id", keep=["id"])
            >>> batch = pa.record_batch({"id": [5], "season": [1.0], "region": ["north"]})
            >>> fn(batch).schema.names
            ['id', 'draw', 'price', 'log_prob', 'reason']

        Rows are checked, encoded, seeded and rejected as in batch jobs, and answered in their order. See
        `BatchFunction` for what it takes and gives. Two calls give the same for a row.

        Args:
          verb: `"score"` for log-densities; `"inverse"` for those and the rows in base space; `"summarize"`; or
            `"sample"` for draws in long form.
          keep: columns to carry through; `["*"]` for all.
          num_samples: of `"sample"`, draws for each row; 1 by default.
          seed: of `"sample"`, which needs one; of `"summarize"`, 0 by default.
          key_column: of whole numbers or text, that says which row is which: the draws of a row depend on it, on the
            seed and the row's condition. `"sample"` needs one, since rows in batches have no numbers. Without one,
            `"summarize"` has the same seed for all rows, so that equal conditions have equal summaries.
          input_schema: what the batches will be: an Arrow schema, or a DataFrame of Spark or its schema. Then
            `fn.schema` knows the types of what is kept, and columns that do not serve are refused now.
          threads: of TensorFlow in each process that loads the model; by default one for each core.

        Raises:
          UsageError: the model is not exported, or an argument does not fit.
        """
        from maf_serving.front.batch_function import BatchFunction, make_question  # noqa: PLC0415  # seldom asked for

        if self.location is None:
            raise UsageError("batch_function() needs an exported model, for other processes to load; see ms.export")
        question = make_question(self.contract, verb, num_samples=num_samples, seed=seed, key_column=key_column)
        return BatchFunction(
            question,
            model=self.location,
            keep=column_names(keep),
            input_schema=input_schema,
            threads=threads,
            run=self._run,
        )

    def _conditions(self, table: Any, question: RowQuestion, name: str) -> InputTable:
        if table is None and question.inputs.names:
            raise UsageError(f"{name}() got no table; the model needs one with {', '.join(question.inputs.names)}")
        return open_table({"row": [0]} if table is None else table)

    def _answer_columns(self, table: Any, signature_name: str) -> Any:
        opened = open_table(table)
        answers = self._ask(opened, row_question(self.contract, signature_name))
        return opened.table(answers.drop_columns([REASON]))

    def _ask(
        self,
        table: InputTable,
        question: RowQuestion | DrawQuestion,
        *,
        kept: Sequence[str] = (),
    ) -> pa.Table:
        """The answers to all rows, in chunks."""
        columns = list(dict.fromkeys([*question.inputs.names, *kept]))
        columns = columns or list(table.names[:1])  # something has to say how many rows there are
        table.require(columns)
        reader = table.read(columns)
        check_columns(reader.schema, question.inputs, where="the table")
        if isinstance(question, DrawQuestion):
            question = dataclasses.replace(question, kept=pa.schema([reader.schema.field(name) for name in kept]))
        answers: list[pa.RecordBatch] = []
        first_row = 0
        for batch in of_size(reader, question.rows_at_a_time):
            answers.append(question.ask(batch, self._run, first_row=first_row))
            first_row += batch.num_rows
        return pa.Table.from_batches(answers, schema=question.schema)
