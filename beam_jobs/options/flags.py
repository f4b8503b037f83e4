"""Command-line flags of the jobs: those they share, and how ours are told from Beam's."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from beam_jobs.errors import UsageError
from beam_jobs.options.endpoint_options import DEFAULT_MAX_ROWS, DEFAULT_RETRIES, DEFAULT_TIMEOUT, EndpointOptions
from beam_jobs.options.job_options import (
    COMPRESSIONS,
    DEFAULT_BATCH_SIZE,
    DEFAULT_CRPS_ROWS,
    DEFAULT_MAX_GROUPS,
    DEFAULT_MAX_REJECTED,
    INPUT_FORMATS,
    OUTPUT_FORMATS,
    EvaluateOptions,
    SampleOptions,
    ScoreOptions,
    SummarizeOptions,
    check_at_least,
)
from maf_serving.flags import CommandParser, Extend, add_csv_flags, add_out_of_range_flags, names, pairs, take_dialect
from maf_serving.tls import Tls

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMPRESSION_NAMES = tuple(dict.fromkeys(name for names in COMPRESSIONS.values() for name in names))
_COMPRESSION_HELP = "; ".join(f"{name}: {', '.join(names)}" for name, names in COMPRESSIONS.items()) + " (the first)"
_EPILOG = """Every other flag is a Beam pipeline option: --runner, --direct_num_workers, --temp_location, ...
Without --runner the job runs in this process. Rows that cannot be used go to _rejected-* with file, row and reason.
Nothing appears at --output before the job has succeeded."""


class JobFlags(CommandParser):
    """A parser with the flags that every job has; it takes its own flags and leaves Beam's."""

    def __init__(self, module: str, description: str, *, more: str = "") -> None:
        usage = f"%(prog)s --model DIR --input FILES {more}--output DIR [options] [options of Beam]"
        super().__init__(module, description, epilog=_EPILOG, usage=usage)
        add_job_flags(self)
        self.add_old_names({"--batch_size": "--rows_per_call"})

    def parse(self, arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """The values of our flags, and the flags left over for Beam.

        Raises:
          UsageError: a flag of ours is missing, misspelt, or has no valid value.
          SystemExit: after printing the help that was asked for.
        """
        known, beam_flags = self.parse_own_args(arguments)
        known.csv = take_dialect(vars(known))
        return known, beam_flags


def add_row_flags(parser: argparse.ArgumentParser) -> None:
    """Adds `--keep` and others for jobs that write rows, and those of Spark."""
    parser.add_argument(
        "--keep",
        default=(),
        type=names,
        metavar="COLUMNS",
        help="input columns to carry through, comma separated, or '*' for all",
    )
    parser.add_argument(
        "--num_shards",
        type=int,
        metavar="N",
        help="so many result files, of as many rows each: they are written once more (default: as workers write them)",
    )
    parser.add_argument(
        "--output_table",
        metavar="TABLE",
        help="bigquery:project.dataset.table, to load the result files into when all is done; needs --output gs://...",
    )
    add_out_of_range_flags(parser)
    group = parser.add_argument_group(
        "Apache Spark instead of Beam",
        "Spark reads --input: Parquet, or a table of its catalogue as table:NAME. Needs the extra spark, and Java.",
    )
    group.add_argument("--engine", choices=("beam", "spark"), default="beam", help="what runs the job (%(default)s)")
    group.add_argument("--master", metavar="URL", help="as of spark-submit: spark://host:7077, yarn, local[4], ...")
    group.add_argument(
        "--conf",
        dest="spark_conf",
        action=Extend,
        type=pairs,
        default=(),
        metavar="NAME=VALUE",
        help="a setting of Spark, by its name there; several times, or comma separated",
    )


def add_job_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `JobOptions`."""
    _add_input_flags(parser)
    _add_output_flags(parser)
    parser.add_argument(
        "--rows_per_call",
        dest="batch_size",
        type=int,
        default=DEFAULT_BATCH_SIZE,
        metavar="ROWS",
        help="rows that the model is given at a time (%(default)s)",
    )


def _add_input_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", required=True, metavar="DIR", help="exported version, or directory of versions (the newest); or URL")
    add(
        "--input",
        required=True,
        dest="input_patterns",
        action=Extend,
        type=names,
        nargs="+",
        default=(),
        metavar="FILES",
        help="Parquet, CSV, JSON Lines, Avro or TFRecord files: paths, globs or URLs, comma separated; or tables, "
        "bigquery:project.dataset.table",
    )
    add("--input_format", choices=INPUT_FORMATS, help="default: each file's by its extension")
    add_csv_flags(parser)
    add(
        "--manifest", metavar="FILE", help="sha256 of the input files, as sha256sum writes it; checked before and after"
    )
    add(
        "--rename",
        type=pairs,
        default=(),
        metavar="COLUMN=OTHER,...",
        help="where the input differs: the model's name of a column, and the input's",
    )
    for kind in ("event", "conditional"):  # as it was said before there was --rename
        add(f"--{kind}_columns", type=names, default=(), help=argparse.SUPPRESS)
    add(
        "--on_bad_file",
        choices=("fail", "reject"),
        default="fail",
        help="a damaged file fails the job (default); or what can be read of it is used and the rest rejected",
    )
    add(
        "--max_rejected",
        type=float,
        default=DEFAULT_MAX_REJECTED,
        metavar="SHARE",
        help="fail if a larger share of the rows, from 0 to 1, is rejected (%(default)s: next to all; 1: no limit)",
    )


def _add_output_flags(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--output", required=True, metavar="DIR", help="directory or URL to write; it must not exist")
    add("--output_format", choices=OUTPUT_FORMATS, default="parquet", help="default: %(default)s")
    add("--compression", choices=_COMPRESSION_NAMES, help=_COMPRESSION_HELP)
    add("--rows_per_file", type=int, metavar="ROWS", help="a worker starts another file after that many (no limit)")
    add(
        "--overwrite",
        dest="existing_output",
        action="store_const",
        const="replace",
        default="refuse",
        help="replace an earlier output directory once the job has succeeded",
    )


def parse_score_flags(arguments: Sequence[str]) -> tuple[ScoreOptions, list[str]]:
    """The job's own options, and the flags left over for Beam. Raises as `JobFlags.parse`."""
    known, beam_flags = score_flags().parse(arguments)
    endpoint = take_endpoint(known)
    return ScoreOptions(**vars(known), endpoint=endpoint), beam_flags


def score_flags() -> JobFlags:
    """The flags of the scoring job."""
    parser = JobFlags(
        "beam_jobs.score",
        """Writes log p(x | c), in nats, for every row of a table, with Apache Beam.

  %(prog)s --model models/sales --input 'new-*.parquet' --keep id --output out/scores
  %(prog)s --model models/sales --input new.csv --rename price=p,volume=v --output out/scores""",
    )
    add_row_flags(parser)
    parser.add_argument(
        "--with_inverse",
        dest="signature_name",
        action="store_const",
        const="inverse",
        default="log_prob",
        help="also write z, the row in base space, as columns z_<event column>",
    )
    add_endpoint_flags(parser)
    return parser


def parse_sample_flags(arguments: Sequence[str]) -> tuple[SampleOptions, list[str]]:
    """The job's own options, and the flags left over for Beam. Raises as `JobFlags.parse`."""
    known, beam_flags = sample_flags().parse(arguments)
    return SampleOptions(**vars(known)), beam_flags


def sample_flags() -> JobFlags:
    """The flags of the sampling job."""
    parser = JobFlags(
        "beam_jobs.sample",
        """Draws from p(x | c) for every row of a table of conditions, with Apache Beam. The same seed and rows give the
same draws, whatever the runner, the workers and the batch size.

  %(prog)s --model models/sales --input conditions.parquet --num_samples 10 --seed 7 --output out/samples""",
        more="--num_samples DRAWS --seed INTEGER ",
    )
    add = parser.add_argument
    add("--num_samples", type=int, required=True, metavar="DRAWS", help="draws for each row")
    add("--seed", type=int, required=True, metavar="INTEGER", help="another seed gives other draws")
    add_key_flag(parser)
    add_row_flags(parser)
    return parser


def add_key_flag(parser: argparse.ArgumentParser) -> None:
    """Adds `--key_column`, for jobs with a seed for each row."""
    parser.add_argument(
        "--key_column",
        metavar="COLUMN",
        help="column that identifies a row, whole numbers or text; its draws then follow it through any reordering "
        "(default: row number; with several files or a glob, also the name of the file from the last directory of "
        "--input without a wildcard on)",
    )


def parse_summarize_flags(arguments: Sequence[str]) -> tuple[SummarizeOptions, list[str]]:
    """The job's own options, and the flags left over for Beam. Raises as `JobFlags.parse`."""
    known, beam_flags = summarize_flags().parse(arguments)
    return SummarizeOptions(**vars(known)), beam_flags


def summarize_flags() -> JobFlags:
    """The flags of the summarizing job."""
    parser = JobFlags(
        "beam_jobs.summarize",
        """Writes what to expect of every row of a table of conditions, with Apache Beam: mean, standard deviation and
quantiles of each event column, as price_mean, price_stddev, price_q05 and so on. Of one event column they are exact.

  %(prog)s --model models/sales --input conditions.parquet --keep id --output out/expected""",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="INTEGER",
        help="of the draws that summaries of several event columns are made of (%(default)s)",
    )
    add_key_flag(parser)
    add_row_flags(parser)
    return parser


def parse_evaluate_flags(arguments: Sequence[str]) -> tuple[EvaluateOptions, list[str]]:
    """The job's own options, and the flags left over for Beam. Raises as `JobFlags.parse`."""
    known, beam_flags = evaluate_flags().parse(arguments)
    return EvaluateOptions(**vars(known)), beam_flags


def evaluate_flags() -> JobFlags:
    """The flags of the evaluation job."""
    parser = JobFlags(
        "beam_jobs.evaluate",
        """Measures how well p(x | c) describes the rows of a table, in one pass, with Apache Beam: NLL, quantiles of
log_prob, calibration and coverage of all rows, CRPS and intervals of a sample; as _summary.json and report.html.

  %(prog)s --model models/sales --input test.parquet --group_column region_id --output out/report""",
    )
    add_evaluation_flags(parser)
    parser.add_argument(
        "--weight",
        metavar="COLUMN",
        help="how much each row counts, 0 or more, in every figure; those of CRPS are sampled by it too",
    )
    return parser


def add_evaluation_flags(parser: argparse.ArgumentParser) -> None:
    """Adds those of groups and of CRPS."""
    add = parser.add_argument
    add("--group_column", metavar="COLUMN", help="statistics for each value of this column as well")
    add("--max_groups", type=int, default=DEFAULT_MAX_GROUPS, metavar="GROUPS", help="fail beyond (%(default)s)")
    add(
        "--crps_rows",
        type=int,
        default=DEFAULT_CRPS_ROWS,
        metavar="ROWS",
        help="rows at most, a random sample, whose event columns get CRPS and the coverage and width of intervals; a "
        "row costs about as much as a hundred others (%(default)s; 0: none)",
    )


def add_endpoint_flags(parser: CommandParser) -> None:
    """Adds the flags that `take_endpoint` reads."""
    group = parser.add_argument_group(
        "a model server instead of a SavedModel on the worker",
        "The contract of --model still says what the columns are.",
    )
    add = group.add_argument
    add("--grpc_target", metavar="HOST:PORT", help="gRPC of a TensorFlow Serving that scores")
    add("--model_name", metavar="NAME", help="name that the server has the model under")
    add("--version", type=int, metavar="N", help="default: the server's choice, its newest")
    add("--version_label", metavar="LABEL", help="of a version, such as stable")
    add("--rows_per_request", type=int, metavar="ROWS", help=f"at most ({DEFAULT_MAX_ROWS})")
    add("--timeout", type=float, metavar="SECONDS", help=f"of one request ({DEFAULT_TIMEOUT:g})")
    add("--attempts", type=int, metavar="N", help=f"tries of a batch, later and later ({DEFAULT_RETRIES + 1})")
    add("--endpoint_retries", type=int, help=argparse.SUPPRESS)  # tries after the first
    add("--rows_per_second", type=float, metavar="ROWS", help="of each worker process (no limit)")
    add("--root_certificates", metavar="PEM", help="whom to trust; TLS is used if one of these is given")
    add("--client_certificate", metavar="PEM", help="for a server that verifies its clients")
    add("--client_key", metavar="PEM", help="private key of --client_certificate")
    parser.add_old_names(
        {
            "--endpoint": "--grpc_target",
            "--endpoint_model_name": "--model_name",
            "--endpoint_version": "--version",
            "--endpoint_label": "--version_label",
            "--endpoint_max_rows": "--rows_per_request",
            "--endpoint_timeout": "--timeout",
            "--endpoint_rows_per_second": "--rows_per_second",
            "--endpoint_root_certificates": "--root_certificates",
            "--endpoint_client_certificate": "--client_certificate",
            "--endpoint_client_key": "--client_key",
        }
    )


_FIELDS = {
    "model_name": "model_name",
    "version": "version",
    "version_label": "version_label",
    "rows_per_request": "max_rows",
    "timeout": "timeout",
    "endpoint_retries": "retries",
    "rows_per_second": "rows_per_second",
}
_TLS_FIELDS = ("root_certificates", "client_certificate", "client_key")


def take_endpoint(flags: argparse.Namespace) -> EndpointOptions | None:
    """Removes the server's flags from what was parsed and makes options of them; `None` without `--grpc_target`.

    Raises:
      UsageError: a flag has no valid value, or is given without `--grpc_target`.
    """
    values = vars(flags)
    target, attempts = values.pop("grpc_target"), values.pop("attempts")
    fields = {name: value for name in _FIELDS if (value := values.pop(name)) is not None}
    tls = {name: value for name in _TLS_FIELDS if (value := values.pop(name)) is not None}
    if target is None:
        given = [*fields, *tls, *(["attempts"] if attempts is not None else [])]
        if given:
            names = ", ".join(f"--{name}" for name in given)
            raise UsageError(f"{names} came without --grpc_target; expected HOST:PORT of a server with it")
        return None
    if attempts is not None:
        check_at_least("--attempts", attempts, 1)
        fields["endpoint_retries"] = attempts - 1
    options = {"model_name": "", **{_FIELDS[name]: value for name, value in fields.items()}}
    return EndpointOptions(target=target, tls=Tls(**tls) if tls else None, **options)
