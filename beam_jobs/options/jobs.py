"""The options of the three jobs, as values and as command-line flags. Neither Beam nor Arrow is loaded here."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from beam_jobs.options.endpoint_options import EndpointOptions, add_endpoint_flags, take_endpoint
from beam_jobs.options.flags import JobFlags, add_row_flags
from beam_jobs.options.job_options import JobOptions, absolute, check_at_least, check_choice, check_keep

if TYPE_CHECKING:
    from collections.abc import Sequence

ScoreSignature = Literal["log_prob", "inverse"]
DEFAULT_MAX_GROUPS = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ScoreOptions(JobOptions):
    """What to score; see `JobOptions` for the rest.

    Attributes:
      keep: input columns to carry through to the scored rows, unchanged in type; `("*",)` is all of them.
      signature_name: the signature to run: `log_prob`, or `inverse`, which gives the base-space values as well.
      endpoint: a model server to run it, instead of workers that load the model; `model` is read for its contract.
    """

    keep: tuple[str, ...] = ()
    signature_name: ScoreSignature = "log_prob"
    endpoint: EndpointOptions | None = None

    def __post_init__(self) -> None:
        # `super()` without arguments looks for the class from before `slots` made another.
        super(ScoreOptions, self).__post_init__()
        check_keep(self.keep)
        check_choice("signature_name", self.signature_name, ("log_prob", "inverse"))

    def places(self) -> list[tuple[str, str]]:
        """See `JobOptions.places`. With a model server, workers do not read the model."""
        places = super(ScoreOptions, self).places()
        if self.endpoint is None:
            return places
        tls = self.endpoint.tls.files() if self.endpoint.tls else {}
        files = [(f"--{name}", path) for name, path in tls.items()]
        return [each for each in places if each[0] != "--model"] + files

    def with_absolute_paths(self) -> ScoreOptions:
        """See `JobOptions.with_absolute_paths`."""
        options = super(ScoreOptions, self).with_absolute_paths()
        if options.endpoint is None or options.endpoint.tls is None:
            return options
        endpoint = dataclasses.replace(options.endpoint, tls=options.endpoint.tls.moved(absolute))
        return dataclasses.replace(options, endpoint=endpoint)


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
