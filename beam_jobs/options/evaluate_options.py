"""The options of the evaluation job."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from beam_jobs.options.flags import JobFlags
from beam_jobs.options.job_options import JobOptions, check_at_least

if TYPE_CHECKING:
    from collections.abc import Sequence

DEFAULT_MAX_GROUPS = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateOptions(JobOptions):
    """What to evaluate on; see `JobOptions` for the rest.

    Attributes:
      group_column: the input column whose values get statistics of their own as well, or `None`.
      max_groups: the job fails if that column has more values.
    """

    group_column: str | None = None
    max_groups: int = DEFAULT_MAX_GROUPS

    def __post_init__(self) -> None:
        super(EvaluateOptions, self).__post_init__()  # see `ScoreOptions`
        check_at_least("--max_groups", self.max_groups, 1)


def parse_evaluate_flags(arguments: Sequence[str]) -> tuple[EvaluateOptions, list[str]]:
    """The job's own options, and the flags left over for Beam. Raises as `JobFlags.parse`."""
    known, beam_flags = evaluate_flags().parse(arguments)
    return EvaluateOptions(**vars(known)), beam_flags


def evaluate_flags() -> JobFlags:
    """The flags of the evaluation job."""
    parser = JobFlags(
        "beam_jobs.evaluate",
        """Measures how well p(x | c) describes the rows of a table, in one pass, with Apache Beam: NLL, quantiles of
log_prob, calibration and coverage, as _summary.json and report.html.

  %(prog)s --model models/sales --input test.parquet --group_column region_id --output out/report""",
    )
    add = parser.add_argument
    add("--group_column", metavar="COLUMN", help="statistics for each value of this column as well")
    add("--max_groups", type=int, default=DEFAULT_MAX_GROUPS, metavar="GROUPS", help="fail beyond (%(default)s)")
    return parser
