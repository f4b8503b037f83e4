"""A model as a function on Arrow record batches, for whatever engine reads the data: Spark, Ray, Dask, DuckDB, Polars.

    record batches -> BatchFunction -> the kept columns, the answers, `reason`: a row for each row (for each draw)

It is pickled with its question, the place of the model and nothing of the model itself, which each process loads when
the first batch comes.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa

from maf_serving import spark
from maf_serving.answers import REASON, RowQuestion, Run, row_question, summary_question
from maf_serving.draws import DrawQuestion
from maf_serving.errors import JobError, UsageError, did_you_mean
from maf_serving.front.tables import of_size, open_table
from maf_serving.model_inputs import model_inputs
from maf_serving.quiet_tensorflow import import_quietly
from maf_serving.row_seeds import NoIdentity, RowIdentity, check_key_column
from maf_serving.saved_model import LoadedModel, load_once
from maf_serving.validation import check_columns

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from export.contract import Contract

Verb = Literal["score", "inverse", "summarize", "sample"]
_BATCH = "the batch"
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "score": (),
    "inverse": (),
    "summarize": ("seed", "key_column"),
    "sample": ("num_samples", "seed", "key_column"),
}


class BatchFunction:
    """What `Model.batch_function` gives: an iterator of record batches in, an iterator of record batches out.

        >>> fn = ms.load("models/sales").batch_function("score", keep=["id"])
        >>> batch = pa.record_batch({"id": [1, 2], "price": [9.5, None], "season": [1.0, 2.0], "region": ["n", "s"]})
        >>> [answers.column_names for answers in fn(iter([batch]))]
        [['id', 'log_prob', 'reason']]
        >>> fn(batch)["reason"].to_pylist()
        [None, 'price: null']

    A single table is answered by a table of its kind: `pyarrow.Table`, record batch, DataFrame of pandas or Polars.
    Rows come out in their order, a row for each, or `num_samples` draws for each; those that cannot be used are null
    but for what is kept and for `reason`.

    It can be pickled: another process loads the model from the same path or URL, once, with its first batch. Threads
    may share it.

    Attributes:
      model: path or URL of the version.
      threads: of TensorFlow in each process that loads the model; `None` for one for each core.
    """

    def __init__(
        self,
        question: RowQuestion | DrawQuestion,
        *,
        model: str,
        keep: Sequence[str] = (),
        input_schema: Any = None,
        threads: int | None = None,
        run: Run | None = None,
    ) -> None:
        """See `Model.batch_function`.

        Args:
          question: what is asked.
          model: path or URL of the version.
          keep: columns to carry through; `["*"]` for all.
          input_schema: of the batches, where it is known.
          threads: see the class.
          run: runs a signature, in this process alone.
        """
        self.model = model
        self.threads = threads
        self._question = question
        self._keep = tuple(keep)
        if input_schema is not None and not isinstance(input_schema, pa.Schema):
            input_schema = spark.to_arrow_schema(input_schema)
        self._input_schema: pa.Schema | None = input_schema
        self._sent_as: str | None = None
        self._run = run
        if input_schema is not None:
            self._kept(input_schema)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_run": None}

    @property
    def schema(self) -> pa.Schema:
        """Of the batches that come out: what is kept, `draw` for draws, the answers, `reason`.

        Raises:
          UsageError: columns are kept whose types nobody has said.
        """
        if self._input_schema is None and self._keep:
            raise UsageError(
                f"the types of {', '.join(self._keep)}, to be kept, are known when a batch comes; "
                "give batch_function() the input_schema to know them before"
            )
        return self._schema(self._kept(self._input_schema) if self._input_schema is not None else pa.schema([]))

    @property
    def spark_schema(self) -> Any:
        """The same as Spark's `StructType`: `df.mapInArrow(fn, fn.spark_schema)`. Raises `UsageError` as `schema`."""
        return spark.to_spark_schema(self.schema)

    def sent_to(self, session: Any) -> BatchFunction:
        """The same function, for workers of Spark that cannot read the model's path: it is sent to them, once.

        Args:
          session: of Spark.
        """
        sent = BatchFunction(
            self._question,
            model=self.model,
            keep=self._keep,
            input_schema=self._input_schema,
            threads=self.threads,
            run=self._run,
        )
        sent._sent_as = spark.send_directory(session, self.model)
        return sent

    def __call__(self, batches: Any) -> Any:
        """The answers to the rows of record batches, as they come; or to a table.

        Raises:
          UsageError: a column is missing, or cannot hold what the model takes; or a kept one is called like an answer.
          JobError: the model is not to be found in this process.
        """
        if isinstance(batches, pa.RecordBatch):
            answers = list(self._answer([batches]))
            return pa.concat_batches(
                answers or [pa.RecordBatch.from_pylist([], self._schema(self._kept(batches.schema)))]
            )
        if isinstance(batches, pa.RecordBatchReader) or hasattr(batches, "__next__"):
            return self._answer(batches)
        if isinstance(batches, (list, tuple)):
            return self._answer(iter(batches))
        opened = open_table(batches)
        reader = opened.read(opened.names)
        kept = self._kept(reader.schema)
        table = pa.Table.from_batches(self._answer(reader), schema=self._schema(kept))
        return opened.table(table, rows_each=getattr(self._question, "num_samples", 1))

    def _answer(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        question, schema, kept = self._question, None, pa.schema([])
        run = self._run or load_once(self.model, self._load).run
        for batch in of_size(batches, question.rows_at_a_time):
            if schema is None:
                kept = self._kept(batch.schema)
                schema = self._schema(kept)
            answers = question.ask(batch, run)
            columns = dict(zip(answers.schema.names, answers.columns, strict=True))
            index = columns["row"] if isinstance(question, DrawQuestion) else None
            for field in kept:
                column = batch.column(field.name).cast(field.type)
                columns[field.name] = column if index is None else column.take(index)
            yield pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)

    def _kept(self, schema: pa.Schema) -> pa.Schema:
        """The columns to carry through, of batches of that schema. Raises `UsageError` if these do not serve."""
        check_columns(schema, self._question.inputs, where=_BATCH)
        key = self._question.identity.key_column if self._question.identity else None
        if key is not None and key not in schema.names:
            raise UsageError(f"{_BATCH} has no column {key!r}, of the keys; it has: {', '.join(schema.names)}")
        if key is not None:
            check_key_column(key, schema.field(key).type, asker="key_column")
        names = schema.names if self._keep == ("*",) else self._keep
        own = self._schema(pa.schema([])).names
        for name in names:
            if name in own:
                raise UsageError(f"keep names {name}, as an answer is called; rename it")
            if name not in schema.names:
                close = did_you_mean(name, schema.names)
                hint = "" if close is None else f"did you mean {close!r}? "
                raise UsageError(f"{_BATCH} has no column {name!r}; {hint}it has: {', '.join(schema.names)}")
        return pa.schema([schema.field(name).with_nullable(nullable=True) for name in names])

    def _schema(self, kept: pa.Schema) -> pa.Schema:
        own = [field.with_nullable(nullable=True) for field in self._question.answer_schema]
        return pa.schema([*kept, *own, pa.field(REASON, pa.string())])

    def _load(self) -> LoadedModel:
        import_quietly()
        with self._directory() as directory:
            return LoadedModel.load(directory, threads=self.threads)

    def _directory(self) -> AbstractContextManager[str]:
        if "://" in self.model:
            from beam_jobs.model.saved_model import ModelLocation  # noqa: PLC0415  # Beam: seconds

            return ModelLocation.at(self.model).local_copy()
        if Path(self.model).is_dir():
            return contextlib.nullcontext(self.model)
        if self._sent_as is not None:
            return contextlib.nullcontext(spark.sent_directory(self._sent_as))
        more = ", or fn.sent_to(spark)" if "pyspark" in sys.modules else ""
        raise JobError(
            f"there is no model {self.model} on this machine; expected a path that every worker can read, a URL{more}"
        )


def make_question(
    contract: Contract, verb: Verb, *, num_samples: int | None, seed: int | None, key_column: str | None
) -> RowQuestion | DrawQuestion:
    """What a verb asks of each row. Raises `UsageError` if an argument is missing, or is not the verb's."""
    given = {"num_samples": num_samples, "seed": seed, "key_column": key_column}
    if verb not in _ARGUMENTS:
        raise UsageError(f"batch_function() got {verb!r}; expected one of {', '.join(_ARGUMENTS)}")
    for name, value in given.items():
        if value is not None and name not in _ARGUMENTS[verb]:
            raise UsageError(f"batch_function({verb!r}) got {name}={value!r}, which it has no use for; leave it out")
    if verb == "sample":
        return _draw_question(contract, 1 if num_samples is None else num_samples, seed, key_column)
    if verb == "summarize":
        seed = 0 if seed is None else seed
        identity = NoIdentity(seed=seed) if key_column is None else RowIdentity(seed=seed, key_column=key_column)
        return summary_question(contract, identity=identity)
    return row_question(contract, "log_prob" if verb == "score" else "inverse")


def _draw_question(contract: Contract, num_samples: int, seed: int | None, key_column: str | None) -> DrawQuestion:
    if num_samples < 1:
        raise UsageError(f"num_samples is {num_samples}; expected at least 1")
    if seed is None or key_column is None:
        raise UsageError(
            "batch_function('sample') needs a seed and a key_column: rows in batches have no numbers, and two runs are "
            "to give a row the same draws"
        )
    return DrawQuestion(
        inputs=model_inputs(contract, DrawQuestion.signature_name),
        event_columns=contract.event_columns,
        num_samples=num_samples,
        identity=RowIdentity(seed=seed, key_column=key_column),
        kept=pa.schema([]),
    )
