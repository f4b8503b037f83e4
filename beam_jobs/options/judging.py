"""Options and flags of the jobs that judge: a model by another, and today's rows by those of training."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from beam_jobs.errors import UsageError
from beam_jobs.options.flags import JobFlags, add_evaluation_flags
from beam_jobs.options.job_options import EvaluateOptions, JobOptions, Place, absolute_path, parse_place
from maf_serving.flags import Extend, names

if TYPE_CHECKING:
    from collections.abc import Sequence

MODEL, BASELINE = "model", "baseline"
SIDES = (MODEL, BASELINE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CompareOptions(EvaluateOptions):
    """What to compare, and on which rows; see `EvaluateOptions` for the rest. `model` is the one that is judged.

    Attributes:
      baseline: what it is compared with: a version directory, or a directory of versions.
    """

    baseline: str

    def __post_init__(self) -> None:
        # `super()` without arguments looks for the class from before `slots` made another.
        super(CompareOptions, self).__post_init__()
        if self.event_columns or self.conditional_columns:
            raise UsageError("--event_columns or --conditional_columns came; expected --rename, for two models")
        if self.weight is not None:
            raise UsageError(f"weight is {self.weight!r}; a comparison counts rows alike: expected none")

    def places(self) -> list[tuple[str, Place]]:
        """See `JobOptions.places`."""
        return [*super(CompareOptions, self).places(), ("--baseline", parse_place(self.baseline))]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DriftOptions(JobOptions):
    """Whose rows are compared with those of training, and what matters; see `JobOptions` for the rest.

    Attributes:
      max_ks, max_psi: distances up to which a column has not drifted.
      max_share_change: by how much its share of nulls, unknown or outlying values may change.
      baseline_patterns: paths or globs of earlier rows, the validation rows say, whose NLL today's is compared with row
        by row; none for no such comparison.
      key_column: the column that says which row of the one is which of the other; needed with `baseline_patterns`.
      max_nll_change: a difference of the NLL of pairs, in nats, up to which it has not drifted.
      baseline_inputs: what `baseline_patterns` mean; made of them.
    """

    max_ks: float = 0.05
    max_psi: float = 0.1
    max_share_change: float = 0.01
    baseline_patterns: tuple[str, ...] = ()
    key_column: str | None = None
    max_nll_change: float = 0.05
    baseline_inputs: tuple[Place, ...] = dataclasses.field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super(DriftOptions, self).__post_init__()  # see `CompareOptions`
        for name in ("max_ks", "max_psi", "max_share_change", "max_nll_change"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise UsageError(f"--{name} is {value:g}; expected a number of at least 0")
        if not all(self.baseline_patterns):
            patterns = ",".join(self.baseline_patterns)
            raise UsageError(f"--baseline_input is {patterns!r}; expected paths or globs, comma separated")
        if bool(self.baseline_patterns) != (self.key_column is not None):
            came, lacks = (
                ("baseline_input", "key_column") if self.baseline_patterns else ("key_column", "baseline_input")
            )
            raise UsageError(f"--{came} came without --{lacks}; expected both: earlier rows, and what pairs them")
        object.__setattr__(self, "baseline_inputs", tuple(map(parse_place, self.baseline_patterns)))

    def places(self) -> list[tuple[str, Place]]:
        """See `JobOptions.places`."""
        return [*super(DriftOptions, self).places(), *(("--baseline_input", place) for place in self.baseline_inputs)]

    def with_absolute_paths(self) -> DriftOptions:
        """See `JobOptions.with_absolute_paths`."""
        options = super(DriftOptions, self).with_absolute_paths()
        return dataclasses.replace(options, baseline_patterns=tuple(map(absolute_path, self.baseline_patterns)))


def parse_compare_flags(arguments: Sequence[str]) -> tuple[CompareOptions, list[str]]:
    """The job's own options, and the flags left over for Beam. Raises as `JobFlags.parse`."""
    known, beam_flags = compare_flags().parse(arguments)
    return CompareOptions(**vars(known)), beam_flags


def compare_flags() -> JobFlags:
    """The flags of the comparison."""
    parser = JobFlags(
        "beam_jobs.compare",
        """Says whether a model is better than another on the rows of a table, in one pass, with Apache Beam: NLL
row by row and its noise, CRPS, calibration and latency of both; as _summary.json and report.html. Status 3: worse.

  %(prog)s --model models/sales/8 --baseline models/sales/7 --input test.parquet --output out/7-and-8""",
        more="--baseline DIR ",
    )
    parser.add_argument(
        "--baseline",
        required=True,
        metavar="DIR",
        help="what --model is compared with: a version, or a directory of versions, with the same event columns; the "
        "table needs the columns of both",
    )
    add_evaluation_flags(parser)
    return parser


def parse_drift_flags(arguments: Sequence[str]) -> tuple[DriftOptions, list[str]]:
    """The job's own options, and the flags left over for Beam. Raises as `JobFlags.parse`."""
    known, beam_flags = drift_flags().parse(arguments)
    return DriftOptions(**vars(known)), beam_flags


def drift_flags() -> JobFlags:
    """The flags of the comparison with training."""
    parser = JobFlags(
        "beam_jobs.drift",
        """Says whether the rows of a table are like those that the model was trained on, in one pass, with Apache Beam:
each column and the NLL, beyond what is chance; as _summary.json and report.html. Exit status 3: drift.

  %(prog)s --model models/sales --input 'today-*.parquet' --output out/drift""",
    )
    add = parser.add_argument
    add(
        "--max_ks", type=float, default=0.05, metavar="KS", help="Kolmogorov-Smirnov distance of no drift (%(default)s)"
    )
    add(
        "--max_psi", type=float, default=0.1, metavar="PSI", help="population stability index of no drift (%(default)s)"
    )
    add(
        "--max_share_change",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="change of the share of nulls, unknown or outlying values that is no drift (%(default)s)",
    )
    add(
        "--baseline_input",
        dest="baseline_patterns",
        action=Extend,
        type=names,
        nargs="+",
        default=(),
        metavar="FILES",
        help="earlier rows of the same things, such as the validation rows, as --input: the NLL is compared with "
        "theirs row by row as well, where --key_column is the same",
    )
    add("--key_column", metavar="COLUMN", help="column that identifies a row, in both tables; whole numbers or text")
    add(
        "--max_nll_change",
        type=float,
        default=0.05,
        metavar="NATS",
        help="mean difference of the NLL of a key's two rows that is no drift (%(default)s)",
    )
    return parser
