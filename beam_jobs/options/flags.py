"""Command-line flags of the jobs: those they share, and how ours are told from Beam's."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from beam_jobs.options.job_options import (
    COMPRESSIONS,
    DEFAULT_BATCH_SIZE,
    INPUT_FORMATS,
    OUTPUT_FORMATS,
)
from maf_serving.flags import CommandParser, Extend, names, pairs

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
        return self.parse_own_args(arguments)


def add_row_flags(parser: argparse.ArgumentParser) -> None:
    """Adds `--keep`, `--num_shards` and `--output_table`, for jobs that write rows."""
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
        default=1.0,
        metavar="SHARE",
        help="fail if a larger share of the rows, from 0 to 1, is rejected (default: 1, no limit)",
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
