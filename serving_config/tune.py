"""The command `python -m serving_config.tune`, `maf-serving tune`: batching parameters from measurements."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from maf_serving.command import run_command, show
from serving_config.tuning.options import TuneOptions, parse_tune

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a latency that cannot be kept, 2 for usage."""
    return run_command(lambda: _tune(parse_tune(sys.argv[1:] if arguments is None else arguments)))


def _tune(options: TuneOptions) -> None:
    # numpy and protobuf are loaded after the flags are read, and TensorFlow in the measuring processes alone.
    from serving_config.tuning.measurement import find_model, measure  # noqa: PLC0415
    from serving_config.tuning.proposal import HEADER, format_proposal, format_timing, propose, write_parameters  # noqa: PLC0415

    version_dir = find_model(options.model)
    show(f"{options.signature_name} of {version_dir} on {options.cores} core(s)\n\n{HEADER}")
    timings = []
    for timing in measure(str(version_dir), options):
        show(format_timing(timing))
        timings.append(timing)
    proposal = propose(timings, latency_ms=options.latency_ms)
    show(f"\n{format_proposal(proposal, latency_ms=options.latency_ms)}")
    if options.output is not None:
        write_parameters(options.output, proposal.batching)
        show(f"\nwritten: {options.output}")


if __name__ == "__main__":
    sys.exit(main())
