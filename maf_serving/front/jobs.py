"""Batch jobs in Python: the Beam pipelines of `maf-serving score`, `sample`, `summarize` and `evaluate`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from maf_serving.errors import UsageError, did_you_mean
from maf_serving.front.tables import column_names, open_table, table_paths, write_parquet
from maf_serving.quiet_tensorflow import LEVEL_VARIABLE, NOTHING
from maf_serving.strict_json import read_value
from maf_serving.table_formats import CsvDialect  # noqa: TC001  # `JobKeywords` is read when it is checked

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from beam_jobs.evaluation.results import EvaluateSummary
    from beam_jobs.jobs.sample import SampleSummary
    from beam_jobs.jobs.score import ScoreSummary, SummarizeSummary
    from beam_jobs.options.endpoint_options import EndpointOptions
    from maf_serving.flags import OnOutOfRange


class JobKeywords(TypedDict, total=False):
    """Options that the jobs share; `maf-serving score --help` says what they mean.

    >>> options: ms.JobKeywords = {"output_format": "csv", "overwrite": True}
    >>> ms.score("models/sales", "new-0.parquet", output="out/csv", **options).rows_read
    300
    """

    input_format: Literal["parquet", "csv", "jsonl", "avro", "tfrecord", "request_log"]
    csv: CsvDialect
    manifest: str
    rename: Mapping[str, str]
    on_bad_file: Literal["fail", "reject"]
    max_rejected: float
    rows_per_call: int
    output_format: Literal["parquet", "csv", "jsonl", "avro", "tfrecord"]
    compression: str
    rows_per_file: int
    overwrite: bool


def score(
    model: str | Path,
    table: Any,
    *,
    output: str | Path,
    keep: Sequence[str] | str = (),
    num_shards: int | None = None,
    output_table: str | None = None,
    with_inverse: bool = False,
    endpoint: EndpointOptions | None = None,
    engine: Literal["beam", "spark"] = "beam",
    master: str | None = None,
    on_out_of_range: OnOutOfRange = "count",
    beam_flags: Sequence[str] = (),
    **options: Unpack[JobKeywords],
) -> ScoreSummary:
    """Scores every row of files of any size with Apache Beam, as `maf-serving score` does.

        >>> summary = ms.score("models/sales", "new-*.parquet", output="out/scores", keep=["id"])
        >>> summary.rows_read == summary.rows_scored + summary.rows_rejected
        True

    Every row comes out once: scored, or rejected with its reason. The directory appears when all is done. For a table
    in memory `ms.load(model).log_prob(table)` gives the same without files.

    Args:
      model: a version directory, or a directory of versions, of which the newest is taken; or a URL of one.
      table: paths or globs of files, URLs, tables of BigQuery, one or several; or a table in memory, as `ms.train`
        takes it, which is written to a temporary Parquet file first, and read by workers of this machine.
      output: the directory to be made.
      keep: columns to carry through; `"*"` for all.
      num_shards: how many result files there are to be; by default what the workers write.
      output_table: a table of BigQuery to load the result into, `bigquery:project.dataset.table`.
      with_inverse: writes the row in base space, columns `z_<event column>`, too.
      endpoint: a model server that scores, instead of workers that load the model.
      engine: what runs the job: Beam, or Spark (extra `spark`, and Java), which reads Parquet, or a table of its
        catalogue as `"table:NAME"`. It is the session of Spark that there is, or a new one.
      master: of a new session of Spark, as of `spark-submit --master`; by default all cores of this machine.
      on_out_of_range: what becomes of rows whose condition is nothing like what training saw: "count" counts them in
        `out_of_range` of the summary, "name" adds a column of that name, "reject" rejects them.
      beam_flags: options of Beam as its commands take them, as in `["--runner=FlinkRunner"]`; by default the job runs
        on threads of this process.
      **options: see `JobKeywords`.

    Returns:
      What is written to `_summary.json`: counts, mean log-density in nats, the files.

    Raises:
      UsageError: something does not fit, seen before anything was started.
      JobError: the job failed; nothing is left at `output`.
    """
    from beam_jobs.jobs.score import score_table  # noqa: PLC0415  # Beam: seconds
    from beam_jobs.options.job_options import ScoreOptions  # noqa: PLC0415  # the packages above, when needed

    own: dict[str, Any] = {"signature_name": "inverse" if with_inverse else "log_prob", "endpoint": endpoint}
    own |= {"keep": column_names(keep), "num_shards": num_shards, "output_table": output_table}
    own |= {"engine": engine, "master": master, "on_out_of_range": on_out_of_range}
    with job_options(ScoreOptions, model, table, output, own, options, others=()) as asked:
        return score_table(asked, beam_options(beam_flags, engine))


def sample(
    model: str | Path,
    table: Any,
    *,
    output: str | Path,
    num_samples: int,
    seed: int,
    key_column: str | None = None,
    keep: Sequence[str] | str = (),
    num_shards: int | None = None,
    output_table: str | None = None,
    engine: Literal["beam", "spark"] = "beam",
    master: str | None = None,
    on_out_of_range: OnOutOfRange = "count",
    beam_flags: Sequence[str] = (),
    **options: Unpack[JobKeywords],
) -> SampleSummary:
    """Draws for every row of files of conditions with Apache Beam, as `maf-serving sample` does.

        >>> summary = ms.sample("models/sales", "new-*.parquet", output="out/samples", num_samples=3, seed=7)
        >>> summary.draws_written == 3 * summary.rows_scored
        True

    Args:
      model: as of `ms.score`.
      table: as of `ms.score`; the event columns need not be there.
      output: the directory to be made.
      num_samples: draws for each row.
      seed: of all draws together: the same seed and rows give the same draws.
      key_column: a column that says which row is which; its draws then follow it through any reordering.
      keep: columns to carry through to each draw; `"*"` for all.
      num_shards: as of `ms.score`.
      output_table: as of `ms.score`.
      engine: as of `ms.score`.
      master: as of `ms.score`.
      on_out_of_range: as of `ms.score`.
      beam_flags: as of `ms.score`.
      **options: see `JobKeywords`.

    Returns:
      What is written to `_summary.json`.

    Raises:
      UsageError: something does not fit, seen before anything was started.
      JobError: the job failed; nothing is left at `output`.
    """
    from beam_jobs.jobs.sample import sample_table  # noqa: PLC0415  # Beam: seconds
    from beam_jobs.options.job_options import SampleOptions  # noqa: PLC0415  # the packages above, when needed

    own: dict[str, Any] = {"num_samples": num_samples, "seed": seed, "key_column": key_column}
    own |= {"keep": column_names(keep), "num_shards": num_shards, "output_table": output_table}
    own |= {"engine": engine, "master": master, "on_out_of_range": on_out_of_range}
    with job_options(SampleOptions, model, table, output, own, options, others=(key_column,)) as asked:
        return sample_table(asked, beam_options(beam_flags, engine))


def summarize(
    model: str | Path,
    table: Any,
    *,
    output: str | Path,
    seed: int = 0,
    key_column: str | None = None,
    keep: Sequence[str] | str = (),
    num_shards: int | None = None,
    output_table: str | None = None,
    engine: Literal["beam", "spark"] = "beam",
    master: str | None = None,
    on_out_of_range: OnOutOfRange = "count",
    beam_flags: Sequence[str] = (),
    **options: Unpack[JobKeywords],
) -> SummarizeSummary:
    """Summarizes p(x | c) for every row of files of conditions with Apache Beam, as `maf-serving summarize` does.

        >>> summary = ms.summarize("models/sales", "new-*.parquet", output="out/expected", keep=["id"])
        >>> summary.quantile_levels
        (0.05, 0.25, 0.5, 0.75, 0.95)

    Writes mean, standard deviation and quantiles of each event column: `price_mean`, `price_stddev`, `price_q05` and so
    on; what they are, `Model.summarize` says, which gives the same for a table in memory.

    Args:
      model: as of `ms.score`.
      table: as of `ms.score`; the event columns need not be there.
      output: the directory to be made.
      seed: of the draws that summaries of several event columns are made of; without effect on one.
      key_column: as of `ms.sample`.
      keep: columns to carry through; `"*"` for all.
      num_shards: as of `ms.score`.
      output_table: as of `ms.score`.
      engine: as of `ms.score`.
      master: as of `ms.score`.
      on_out_of_range: as of `ms.score`.
      beam_flags: as of `ms.score`.
      **options: see `JobKeywords`.

    Returns:
      What is written to `_summary.json`.

    Raises:
      UsageError: something does not fit, or the model was exported without summaries; nothing was started.
      JobError: the job failed; nothing is left at `output`.
    """
    from beam_jobs.jobs.score import summarize_table  # noqa: PLC0415  # Beam: seconds
    from beam_jobs.options.job_options import SummarizeOptions  # noqa: PLC0415  # the packages above, when needed

    own: dict[str, Any] = {"seed": seed, "key_column": key_column}
    own |= {"keep": column_names(keep), "num_shards": num_shards, "output_table": output_table}
    own |= {"engine": engine, "master": master, "on_out_of_range": on_out_of_range}
    with job_options(SummarizeOptions, model, table, output, own, options, others=(key_column,)) as asked:
        return summarize_table(asked, beam_options(beam_flags, engine))


def evaluate(
    model: str | Path,
    table: Any,
    *,
    output: str | Path,
    group_column: str | None = None,
    max_groups: int = 100,
    crps_rows: int = 4096,
    weight: str | None = None,
    beam_flags: Sequence[str] = (),
    **options: Unpack[JobKeywords],
) -> EvaluateSummary:
    """Measures how well a model describes the rows of files, as `maf-serving evaluate` does, and writes a report.

        >>> summary = ms.evaluate("models/sales", "new-*.parquet", output="out/report", group_column="region")
        >>> summary.overall.rows == summary.rows_scored
        True
        >>> price, = summary.overall.columns
        >>> price.mean_crps < price.crps_without_conditions, [interval.level for interval in price.intervals]
        (True, [0.5, 0.9])
        >>> pathlib.Path("out/report/report.html").exists()
        True

    Args:
      model: as of `ms.score`.
      table: as of `ms.score`.
      output: the directory to be made.
      group_column: a column whose values get statistics of their own as well.
      max_groups: the job fails if it has more values.
      crps_rows: rows at most, a random sample, whose event columns are scored by CRPS and by the coverage and width of
        central intervals; 0 for none.
      weight: a column of how much each row counts, 0 or more.
      beam_flags: as of `ms.score`.
      **options: see `JobKeywords`.

    Returns:
      What is written to `_summary.json`: negative log-likelihood, calibration, coverage, CRPS, the verdict in words.

    Raises:
      UsageError: something does not fit, seen before anything was started.
      JobError: the job failed; nothing is left at `output`.
    """
    from beam_jobs.jobs.evaluate import evaluate_table  # noqa: PLC0415  # Beam: seconds
    from beam_jobs.options.job_options import EvaluateOptions  # noqa: PLC0415

    own: dict[str, Any] = {"group_column": group_column, "max_groups": max_groups, "crps_rows": crps_rows}
    own["weight"] = weight
    with job_options(EvaluateOptions, model, table, output, own, options, others=(group_column, weight)) as asked:
        return evaluate_table(asked, beam_options(beam_flags))


@contextlib.contextmanager
def job_options(
    kind: Any,
    model: str | Path,
    table: Any,
    output: str | Path,
    own: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    others: Sequence[str | None],
) -> Iterator[Any]:
    """The options of a job, and while the block runs the files that it reads. Raises `UsageError`."""
    read = _read(options)
    made = kind(model=str(model), input_patterns=table_paths(table) or ("table",), output=str(output), **own, **read)
    os.environ.setdefault(LEVEL_VARIABLE, NOTHING)  # or TensorFlow says a lot when the workers load it
    with in_files(made, table, others=others) as files:
        yield made if files is None else dataclasses.replace(made, input_patterns=files)


@contextlib.contextmanager
def in_files(options: Any, table: Any, *, others: Sequence[str | None]) -> Iterator[tuple[str, ...] | None]:
    """Files of the columns of a table in memory that the job reads, while the block runs; `None` of any other."""
    if table is None or table_paths(table) is not None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="maf-serving-") as directory:
        path = Path(directory) / "table.parquet"
        opened = open_table(table)
        columns = _columns(options, opened.names, [name for name in others if name is not None])
        opened.require(columns)
        write_parquet(opened.read(columns), path)
        yield (str(path),)


def _read(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the names that `JobOptions` has for them. Raises `UsageError` for an unknown name or a wrong type."""
    known = typing.get_type_hints(JobKeywords)
    read = {}
    for name, value in options.items():
        if name not in known:
            close = did_you_mean(name, known)
            hint = f"expected one of {', '.join(known)}" if close is None else f"did you mean {close}?"
            raise UsageError(f"a job has no option {name!r}; {hint}")
        read[name] = read_value(known[name], value, name, error=UsageError)
    if "rename" in read:
        read["rename"] = tuple(read["rename"].items())
    if "overwrite" in read:
        read["existing_output"] = "replace" if read.pop("overwrite") else "refuse"
    if "rows_per_call" in read:
        read["batch_size"] = read.pop("rows_per_call")
    return read


def _columns(options: Any, names: Sequence[str], others: Sequence[str]) -> list[str]:
    """The columns of a table in memory that the job reads."""
    from beam_jobs.model.saved_model import find_model_location  # noqa: PLC0415  # Beam: seconds

    kept = getattr(options, "keep", ())
    if kept == ("*",):
        return list(names)
    called = dict(options.rename)
    used = []
    for model in filter(None, (options.model, getattr(options, "baseline", None))):
        _, contract = find_model_location(model)
        event = () if hasattr(options, "seed") else contract.event_columns  # draws need the conditions alone
        names_of_model = (*event, *(each.name for each in contract.raw_condition_columns))
        used += [called.get(name, name) for name in names_of_model]
    return list(dict.fromkeys([*used, *kept, *others])) or list(names[:1])


def beam_options(flags: Sequence[str], engine: str = "beam") -> Any:
    """What Beam makes of its flags. Raises `UsageError` for flags with another engine."""
    if engine != "beam" and flags:
        raise UsageError(f"beam_flags came with engine={engine!r}: {', '.join(flags)}; expected them with Beam alone")
    from beam_jobs.runner.options import parse_beam_flags  # noqa: PLC0415  # Beam: seconds

    return parse_beam_flags(list(flags))
