"""Apache Spark instead of Beam: Spark reads, each of its tasks takes the steps that a worker of Beam takes.

    files, tables -> DataFrame -> mapInArrow(SparkTask) -> a Tally of each task -> the driver, which publishes
                                        |
                                        +-> files of the task, in the staging directory

A task whose executor is lost is run again, and writes other files. Only files whose names reach the driver, in the
tally of a task that has ended, are published: every row comes out once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow as pa

from beam_jobs.errors import JobError, UsageError
from beam_jobs.jobs.summary import Tally
from beam_jobs.model.saved_model import ModelLocation, SavedModelHandler
from beam_jobs.options.job_options import Files, absolute_path, is_elsewhere
from beam_jobs.output.table_format import TableFormat
from beam_jobs.output.writing import WriteRejected, WriteRows
from beam_jobs.rows import CountOdd, ToAnswers
from beam_jobs.sources.source import InputFile, Source
from maf_serving import spark
from maf_serving.answers import split_rows
from maf_serving.draws import DrawQuestion
from maf_serving.saved_model import load_once
from maf_serving.table_formats import USUAL_CSV, InputBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beam_jobs.jobs.sample import SampleJob
    from beam_jobs.jobs.score import ScoreJob
    from beam_jobs.options.job_options import RowOptions
    from maf_serving.answers import RowQuestion
    from maf_serving.draws import Draws
    from maf_serving.model_inputs import ModelInputs
    from maf_serving.validation import ScoreableRows

TABLE = "table:"
_FILE, _ROW = "__maf_serving_file", "__maf_serving_row"
_TALLY = "tally"
# Options that say how Beam reads and writes, and what they are where nobody has given them.
_OF_BEAM: dict[str, tuple[Any, ...]] = {
    "input_format": (None, "parquet"),
    "csv": (USUAL_CSV,),
    "manifest": (None,),
    "on_bad_file": ("fail",),
    "num_shards": (None,),
    "output_table": (None,),
    "endpoint": (None,),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SparkFile(Source):
    """A file that Spark reads; see `Source`.

    Attributes:
      schema: of all of them together.
      pattern: what it was found by, a path or a URL.
    """

    schema: pa.Schema
    pattern: str = ""

    def inspect(self) -> InputFile:
        """Its columns. Spark itself splits it."""
        return InputFile(path=self.path, schema=self.schema, units=())

    @property
    def pattern_text(self) -> str:
        """See `Source.pattern_text`."""
        return self.pattern


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SparkTable(Source):
    """A table of Spark's catalogue; see `Source`."""

    has_positions: ClassVar[bool] = False
    schema: pa.Schema

    def inspect(self) -> InputFile:
        """Its columns."""
        return InputFile(path=self.path, schema=self.schema, units=())


class SparkEngine:
    """A session of Spark, and what a job reads with it.

    Attributes:
      sources: the input files, or the table.
    """

    def __init__(self, session: Any, options: RowOptions) -> None:
        """See `start_engine`."""
        self._session = session
        self._frame, self.sources = _find_inputs(session, options)

    def run(self, job: ScoreJob | SampleJob, directory: str) -> Tally:
        """Runs the tasks of a job, which write to that directory; the sum of what became of every row.

        Raises:
          JobError: a task has failed, as often as Spark allows.
        """
        plan, context = job.plan, self._session.sparkContext
        location = plan.model.location
        here = not is_elsewhere(location.path) and context.master.startswith("local[")
        sent = None if here or location.files is not None else spark.send_directory(self._session, location.path)
        task = SparkTask(
            question=job.question,
            inputs=plan.model.inputs,
            schema=job.schema,
            kept=plan.carried,
            prefix=job.prefix,
            directory=directory,
            table_format=TableFormat.of(plan.options),
            model=location,
            sent_as=sent,
            table=None if all(each.has_positions for each in self.sources) else self.sources[0].path,
            threads=int(context.getConf().get("spark.task.cpus", "1")),
        )
        place = [] if task.table else [f"_metadata.file_path AS {_FILE}", f"_metadata.row_index AS {_ROW}"]
        columns = [f"`{name.replace('`', '``')}`" for name in plan.read_plan.columns]
        batch_size = str(plan.options.batch_size)
        with _setting(self._session, "spark.sql.execution.arrow.maxRecordsPerBatch", batch_size), spark.quiet():
            # something has to say how many rows there are
            rows = self._frame.selectExpr(*(columns or ["1 AS one"]), *place)
            try:
                told = rows.mapInArrow(task, f"{_TALLY} string").collect()
            except Exception as error:  # of Py4J, of PySpark
                raise JobError(f"Spark has given up: {spark.spark_reason(error)}") from error
        return sum((Tally.from_json(each[_TALLY]) for each in told), Tally())

    def cancel(self) -> None:
        """Ends the tasks that run."""
        self._session.sparkContext.cancelAllJobs()


@contextlib.contextmanager
def start_engine(options: RowOptions) -> Iterator[SparkEngine]:
    """Spark while the block runs: the session that there is, or a new one, which ends with it.

    Raises:
      UsageError: Spark cannot be started, has no such input, or lacks an option that was given.
    """
    for name, usual in _OF_BEAM.items():
        if getattr(options, name, usual[0]) not in usual:
            raise UsageError(
                f"--{name} came with --engine spark; Spark reads Parquet and tables itself, and its tasks load the "
                f"model and write files as they come: leave out --{name}, or take --engine beam"
            )
    session, is_new = spark.start_spark(options.master, dict(options.spark_conf))
    try:
        yield SparkEngine(session, options)
    finally:
        if is_new:
            session.stop()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SparkTask:
    """What a task of Spark does with the record batches of its part of the input. It gives one row: its `Tally`.

    Attributes:
      question: what is asked of each row.
      inputs: the columns that the model takes.
      schema: of the result.
      kept: columns of the input in it.
      prefix: of the result files.
      directory: where they are written.
      table_format: how.
      model: the version.
      sent_as: what it is called where Spark has sent it to; `None` if it was not.
      table: the name of the table that is read; `None` for files.
      threads: of TensorFlow.
    """

    question: RowQuestion | DrawQuestion
    inputs: ModelInputs
    schema: pa.Schema
    kept: pa.Schema
    prefix: str
    directory: str
    table_format: TableFormat
    model: ModelLocation
    sent_as: str | None
    table: str | None
    threads: int

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Checks, asks and writes."""
        steps = _Steps(self)
        try:
            for part in self._parts(batches):
                steps.take(part)
            tally = steps.finish()
        except BaseException:
            steps.abandon()
            raise
        yield pa.RecordBatch.from_pydict({_TALLY: [tally.to_json()]})

    def location(self) -> ModelLocation:
        """Where the model is on this worker."""
        if self.sent_as is None or Path(self.model.path).is_dir():
            return self.model
        return ModelLocation(path=spark.sent_directory(self.sent_as))

    def _parts(self, batches: Iterator[pa.RecordBatch]) -> Iterator[InputBatch]:
        """The rows of each file, with their numbers in it; those of a table with numbers that no other row has."""
        if self.table is not None:
            from pyspark import TaskContext  # noqa: PLC0415  # on a worker

            context = TaskContext.get()
            first = (
                0 if context is None else context.partitionId()
            ) << 33  # as Spark's own `monotonically_increasing_id`
            for batch in batches:
                rows = pa.array(np.arange(first, first + batch.num_rows))
                yield InputBatch(file=self.table, rows=rows, columns=batch)
                first += batch.num_rows
            return
        for batch in batches:
            files, rows = batch.column(_FILE), batch.column(_ROW)
            columns = batch.drop_columns([_FILE, _ROW])
            names = files.dictionary_encode()
            changes = np.flatnonzero(np.diff(names.indices.to_numpy())) + 1
            for start, stop in itertools.pairwise([0, *changes.tolist(), batch.num_rows]):
                if start < stop:
                    yield InputBatch(
                        file=_path(files[start].as_py()),
                        rows=rows.slice(start, stop - start),
                        columns=columns.slice(start, stop - start),
                    )


class _Steps:
    """The steps of Beam's workers, one after the other, as one bundle."""

    def __init__(self, task: SparkTask) -> None:
        where = (task.directory, task.table_format)
        name = task.question.signature_name
        self._task = task
        self._handler = SavedModelHandler(task.location(), signature_name=name, threads=task.threads)
        self._model = load_once(task.model.path, self._handler.load_model)
        self._to_answers = ToAnswers(task.question, task.schema, task.kept)
        self._count_odd = CountOdd()
        self._write = WriteRows(task.directory, task.prefix, task.schema, task.table_format)
        self._refuse = WriteRejected(*where)
        draws = isinstance(task.question, DrawQuestion)
        self._fail = WriteRejected(*where, counted_as="draws_rejected" if draws else "rows_rejected")
        self._steps = (self._count_odd, self._write, self._refuse, self._fail)
        for step in self._steps:
            step.start_bundle()
        self._tally = Tally()

    def take(self, part: InputBatch) -> None:
        """All that becomes of some rows of a file."""
        task = self._task
        good, rejected = split_rows(
            part.columns, rows=part.rows, file=part.file, inputs=task.inputs, identity=task.question.identity
        )
        self._tally += Tally(rows_read=len(part), rows_used=0 if good is None else len(good))
        for each in rejected:
            self._refuse.process(each)
        if good is not None:
            self._count_odd.process(good)
            for asked in task.question.asked(good):
                self._ask(asked)

    def _ask(self, asked: ScoreableRows | Draws) -> None:
        for result in self._handler.run_inference(asked, self._model):
            for answers in self._to_answers.process(result):
                if isinstance(answers, pa.RecordBatch):
                    self._write.process(answers)
                else:
                    self._fail.process(answers.value)

    def finish(self) -> Tally:
        """Completes the files; what became of all rows."""
        return sum((each.value for step in self._steps for each in step.finish_bundle()), self._tally)

    def abandon(self) -> None:
        """Closes the files of a task that has failed."""
        for step in (self._write, self._refuse, self._fail):
            step.teardown()


def _find_inputs(session: Any, options: RowOptions) -> tuple[Any, tuple[Source, ...]]:
    """All rows, and where they are from. Raises `UsageError`."""
    names = options.input_patterns
    tables = [name.removeprefix(TABLE) for name in names if name.startswith(TABLE)]
    if tables and len(names) > 1:
        raise UsageError(
            f"--input {','.join(names)}: --engine spark reads files, or one table; expected one or the other"
        )
    if tables:
        frame = _read(names[0], lambda: session.table(tables[0]))
        return frame, (SparkTable(path=names[0], schema=_schema(frame)),)
    patterns = [absolute_path(name) for name in names]
    found: dict[str, str] = {}
    for name, pattern in zip(names, patterns, strict=True):
        for url in _read(name, lambda pattern=pattern: session.read.parquet(pattern)).inputFiles():
            earlier = found.setdefault(_path(url), pattern)
            if earlier != pattern:
                raise UsageError(f"--input: {_path(url)} is found by {earlier} and by {pattern}; expected it once")
    frame = _read(",".join(names), lambda: session.read.parquet(*patterns))
    if not found:
        raise UsageError(f"--input {','.join(names)} is empty; expected files of Parquet")
    return frame, tuple(_file(path, pattern, _schema(frame)) for path, pattern in sorted(found.items()))


def _file(path: str, pattern: str, schema: pa.Schema) -> SparkFile:
    # Files on this machine are looked up again at the end; what others hold, Spark alone may be able to.
    found_by = None if "://" in path else Files(pattern)
    if found_by is not None and Path(pattern).is_dir():
        pattern = f"{pattern.rstrip('/')}/**"
    return SparkFile(path=path, found_by=found_by, pattern=pattern, schema=schema)


def _read(name: str, read: Any) -> Any:
    with spark.quiet():
        try:
            return read()
        except Exception as error:  # of Py4J, of PySpark
            raise UsageError(f"--input {name} cannot be read by Spark: {spark.spark_reason(error)}") from error


def _schema(frame: Any) -> pa.Schema:
    try:
        return spark.to_arrow_schema(frame)
    except Exception as error:
        raise UsageError(f"the input has a column that Spark cannot hand to Python: {error}") from error


def _path(url: str) -> str:
    """What a batch job calls a file that Spark names by its URL, in which characters are escaped."""
    return unquote(urlsplit(url).path) if url.startswith("file:") else unquote(url)


@contextlib.contextmanager
def _setting(session: Any, name: str, value: str) -> Iterator[None]:
    """While the block runs, the session has that value."""
    earlier = session.conf.get(name)
    session.conf.set(name, value)
    try:
        yield
    finally:
        session.conf.set(name, earlier)
