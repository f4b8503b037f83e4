"""What a report is asked for, and its command line. No TensorFlow in here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from maf.errors import ConfigError
from maf_serving.flags import CommandParser, Extend, names

DESCRIPTION = """Writes a report of a finished run: one self-contained HTML page with training curves, test NLL beside
simple baselines, calibration, pictures of p(x | c), and how to serve the model.

  %(prog)s --run runs/demo
  %(prog)s --run runs/demo --test_input 'test-*.parquet' --output demo.html"""
MAX_ROWS = 50_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What to report on.

    Attributes:
      run: directory of a finished run.
      test: files or globs of test rows; none for those that the run itself held out.
      output: the page to write; `None` for `report.html` in the run directory.
      exact_entropy: the conditional entropy of the data in nats, where it is known: no model's NLL can be below it.
      max_rows: most test rows that are looked at; of more, a random sample.
      seed: of that sample and of the model's draws.
    """

    run: Path
    test: tuple[str, ...] = ()
    output: Path | None = None
    exact_entropy: float | None = None
    max_rows: int = MAX_ROWS
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("max_rows", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if self.exact_entropy is not None and not math.isfinite(self.exact_entropy):
            raise ConfigError(f"exact_entropy is {self.exact_entropy}; expected a number of nats")
        if self.page.is_dir():
            raise ConfigError(f"output {self.page} is a directory; expected a file, as in '{self.page}/report.html'")

    @property
    def page(self) -> Path:
        """The file to write."""
        return self.run / "report.html" if self.output is None else self.output


def parse_options(argv: Sequence[str] | None = None) -> ReportOptions:
    """Parses the command line. Raises `UsageError` for a wrong flag, `ConfigError` for a bad value."""
    parser = CommandParser("maf.report", DESCRIPTION)
    parser.add_argument("--run", required=True, type=Path, metavar="DIR", help="run directory of maf-serving train")
    parser.add_argument(
        "--test_input",
        dest="test",
        action=Extend,
        type=names,
        nargs="+",
        default=(),
        metavar="FILES",
        help="Parquet or CSV files of test rows, or globs of them; by default the rows that the run held out",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="page to write; by default report.html in the run directory"
    )
    parser.add_argument(
        "--exact_entropy", type=float, metavar="NATS", help="the conditional entropy of the data, where it is known"
    )
    parser.add_argument(
        "--max_rows",
        type=int,
        default=MAX_ROWS,
        metavar="N",
        help=f"look at this many test rows at most, a random sample of more (default {MAX_ROWS})",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the sample and of draws (default 0)")
    parser.add_old_names({"--test": "--test_input"})
    return ReportOptions(**vars(parser.parse_args(argv)))
