"""The options of the scoring job."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from beam_jobs.options.endpoint_options import EndpointOptions, add_endpoint_flags, take_endpoint
from beam_jobs.options.flags import JobFlags, add_row_flags
from beam_jobs.options.job_options import JobOptions, absolute, check_choice, check_keep

if TYPE_CHECKING:
    from collections.abc import Sequence

ScoreSignature = Literal["log_prob", "inverse"]


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
        files = [(f"--endpoint_{name}", path) for name, path in tls.items()]
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
