"""The options of the sampling job."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from beam_jobs.options.flags import JobFlags, add_row_flags
from beam_jobs.options.job_options import JobOptions, check_at_least, check_keep

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SampleOptions(JobOptions):
    """What to draw; see `JobOptions` for the rest.

    Attributes:
      num_samples: draws for each row of conditions.
      seed: of the whole table of draws: the same seed and the same rows give the same draws.
      key_column: the input column that says which row is which; without it, the row number does, and among several
        files, or ones that a glob finds, the name of the file too.
      keep: input columns to carry through to each draw, unchanged in type; `("*",)` is all of them.
    """

    num_samples: int
    seed: int
    key_column: str | None = None
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super(SampleOptions, self).__post_init__()  # see `ScoreOptions`
        check_at_least("--num_samples", self.num_samples, 1)
        from maf_serving.row_seeds import check_seed  # noqa: PLC0415  # numpy: --help must not wait for it

        check_seed(self.seed)
        check_keep(self.keep)


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
    add(
        "--key_column",
        metavar="COLUMN",
        help="column that identifies a row, whole numbers or text; its draws then follow it through any reordering "
        "(default: row number; with several files or a glob, also the name of the file from the last directory of "
        "--input without a wildcard on)",
    )
    add_row_flags(parser)
    return parser
