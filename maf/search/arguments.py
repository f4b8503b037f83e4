"""The command line of `python -m maf.search`. No TensorFlow in here."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maf.arguments import add_config_options, make_config
from maf.errors import ConfigError
from maf_serving.flags import CommandParser

if TYPE_CHECKING:
    from maf.config import RunConfig

DESCRIPTION = """Trains many configurations on a table, judges them by validation rows, and keeps the run of the best.

  %(prog)s --input train.parquet --event y --condition c0,c1 --time_budget 1800 --output search/demo
  maf-serving export --run search/demo/best --model models/demo

The first trial has the default settings, those after it change one of them at a time, then several around what was
good. A trial replaces the best one if its gain on the validation rows is more than noise. Where rows are few, each
trial is trained on several splits and judged by the validation rows of all; the run that is kept is that of the first
split. An option of the flow or the training that is given here is kept as it is in every trial. The same command goes
on where a search was cut short."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SearchArguments:
    """What a search is asked for.

    Attributes:
      output: directory of the search.
      config: what every trial has in common.
      fixed: names of the options that were given.
      time_budget: seconds of training, those before an interruption included.
      max_trials: most trials.
      folds: in how many splits each trial is trained; `None` for a number that the rows decide.
    """

    output: Path
    config: RunConfig
    fixed: frozenset[str]
    time_budget: float
    max_trials: int
    folds: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.time_budget < math.inf:
            raise ConfigError(f"time_budget is {self.time_budget:g}; expected seconds, more than 0")
        if self.max_trials < 1:
            raise ConfigError(f"max_trials is {self.max_trials}; expected at least 1")
        if self.folds is not None and self.folds < 1:
            raise ConfigError(f"folds is {self.folds}; expected at least 1")
        if (self.folds or 1) > 1 and self.config.data.split_by is not None:
            raise ConfigError(
                f"folds is {self.folds} with --split_by {self.config.data.split_by}; other folds are drawn row by row: "
                "leave --folds out"
            )


def parse_search(argv: Sequence[str] | None = None) -> SearchArguments:
    """Parses the command line. Raises `UsageError` for a wrong flag, `ConfigError` for a bad value."""
    parser = CommandParser(
        "maf.search",
        DESCRIPTION,
        usage="%(prog)s --input FILES --event COLUMNS [--condition COLUMNS] --output DIR [options]",
        argument_default=argparse.SUPPRESS,
    )
    group = parser.add_argument_group("the search")
    group.add_argument("--output", required=True, type=Path, metavar="DIR", help="trials, and the best run")
    group.add_argument("--time_budget", type=float, default=1800.0, metavar="SECONDS", help="(default 1800)")
    group.add_argument("--max_trials", type=int, default=100, metavar="N", help="(default 100)")
    group.add_argument(
        "--folds",
        type=int,
        default=None,
        metavar="N",
        help="splits in which each trial is trained, to be judged by the validation rows of all (default: 5 below "
        "3,000 training rows, else 1, and with --split_by)",
    )
    add_config_options(parser)
    values = vars(parser.parse_args(argv))
    own = {name: values.pop(name) for name in ("output", "time_budget", "max_trials", "folds")}
    return SearchArguments(config=make_config(values, "--output DIR"), fixed=frozenset(values), **own)
