"""The command `python -m beam_jobs.sample`: draws from p(x | c) for every row of conditions."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from beam_jobs.command import run_job_command
from beam_jobs.options.flags import parse_sample_flags, sample_flags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_jobs.jobs.sample import SampleJob
    from beam_jobs.options.job_options import SampleOptions
    from beam_jobs.sources.source import Source


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a failed job, 2 for usage."""
    return run_job_command(arguments, parse=parse_sample_flags, flags=sample_flags, plan=_plan)


def _plan(options: SampleOptions, sources: tuple[Source, ...] | None = None) -> SampleJob:
    from beam_jobs.jobs.sample import plan_sample  # noqa: PLC0415  # Beam and Arrow: see `run_job_command`

    return plan_sample(options, sources)


if __name__ == "__main__":
    sys.exit(main())
