"""The options of the scoring job, as a value and as command-line flags. Standard library alone: `--help` is instant."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
from typing import TYPE_CHECKING, Literal, NoReturn

from beam_jobs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

INPUT_FORMATS = ("parquet", "csv")
ALL_COLUMNS = ("*",)
_NEAR_MISS = 0.8  # similar enough for a typing error, and to none of Beam's own flags
DEFAULT_BATCH_SIZE = 16384
ExistingOutput = Literal["refuse", "replace"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions:
    """What to score, with which model, and where to put the result.

    Attributes:
      model: a version directory, or a directory of versions (the newest is taken).
      input_patterns: paths or globs of the files to score.
      output: directory to be created.
      input_format: one of `INPUT_FORMATS`, or `None` to tell each file's format by its extension.
      keep: input columns to carry through to the scored rows, unchanged in type; `("*",)` is all of them.
      batch_size: rows per Arrow batch, and so per call of the model.
      existing_output: what to do if `output` exists: refuse to start, or replace it when the job has succeeded.
    """

    model: str
    input_patterns: tuple[str, ...]
    output: str
    input_format: str | None = None
    keep: tuple[str, ...] = ()
    batch_size: int = DEFAULT_BATCH_SIZE
    existing_output: ExistingOutput = "refuse"

    def __post_init__(self) -> None:
        if not self.input_patterns or not all(self.input_patterns):
            raise UsageError(f"--input is {','.join(self.input_patterns)!r}; expected paths or globs, comma separated")
        if self.input_format is not None and self.input_format not in INPUT_FORMATS:
            raise UsageError(f"--input_format is {self.input_format!r}; expected one of {', '.join(INPUT_FORMATS)}")
        if self.batch_size < 1:
            raise UsageError(f"--batch_size is {self.batch_size}; expected at least 1")
        if not all(self.keep) or len(set(self.keep)) < len(self.keep):
            raise UsageError(f"--keep is {','.join(self.keep)!r}; expected column names, comma separated, each once")
        if "*" in self.keep and self.keep != ALL_COLUMNS:
            raise UsageError(f"--keep is {','.join(self.keep)!r}; expected either '*' or column names")


def parse_score_flags(arguments: Sequence[str]) -> tuple[ScoreOptions, list[str]]:
    """The job's own options, and the flags left over for Beam.

    Raises:
      UsageError: a flag of ours is missing, misspelt, or has no valid value.
      SystemExit: after printing the help that was asked for.
    """
    for argument in arguments:
        _refuse_near_miss(argument)
    known, beam_flags = _parser().parse_known_args(list(arguments))
    return ScoreOptions(**vars(known)), beam_flags


def flag_names() -> list[str]:
    """The job's own flags, with their dashes."""
    return [name for action in _parser()._actions for name in action.option_strings]


def _refuse_near_miss(argument: str) -> None:
    name = argument.partition("=")[0]
    own = flag_names()
    close = difflib.get_close_matches(name, own, n=1, cutoff=_NEAR_MISS)
    if name.startswith("--") and name not in own and close:
        raise UsageError(f"unknown argument {argument!r}; did you mean {close[0]}?")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m beam_jobs.score",
        description="Writes log p(x | c), in nats, for every row of a table, with Apache Beam.",
        epilog="Every other flag is a Beam pipeline option: --runner, --direct_num_workers, --temp_location, ... "
        "Without --runner the job runs in this process. Rows that cannot be scored go to rejected-*.parquet "
        "with the reason; rows read = scored + rejected. Nothing appears at --output before the job has succeeded.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", required=True, metavar="DIR", help="exported version, or directory of versions (the newest)")
    add(
        "--input",
        required=True,
        dest="input_patterns",
        type=_names,
        metavar="FILES",
        help="Parquet or CSV files: paths or globs, comma separated",
    )
    add("--output", required=True, metavar="DIR", help="directory to write; it must not exist")
    add("--input_format", choices=INPUT_FORMATS, help="default: by extension (.parquet, .pq, .csv, .csv.gz)")
    add(
        "--keep",
        default=(),
        type=_names,
        metavar="COLUMNS",
        help="input columns to carry through, comma separated, or '*' for all",
    )
    add("--batch_size", type=int, default=DEFAULT_BATCH_SIZE, metavar="ROWS", help="default: %(default)s")
    add(
        "--overwrite",
        dest="existing_output",
        action="store_const",
        const="replace",
        default="refuse",
        help="replace an earlier output directory once the job has succeeded",
    )
    return parser


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))
