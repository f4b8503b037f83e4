"""The command `python -m beam_jobs.score`, `maf-serving score`: log p(x | c) for every row of a table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from beam_jobs.command import run_job_command
from beam_jobs.options.flags import parse_score_flags, score_flags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_jobs.jobs.score import ScoreJob
    from beam_jobs.options.job_options import ScoreOptions
    from beam_jobs.sources.source import Source


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a failed job, 2 for usage."""
    return run_job_command(arguments, parse=parse_score_flags, flags=score_flags, plan=_plan)


def _plan(options: ScoreOptions, sources: tuple[Source, ...] | None = None) -> ScoreJob:
    from beam_jobs.jobs.score import plan_score  # noqa: PLC0415  # Beam and Arrow: see `run_job_command`

    return plan_score(options, sources)


if __name__ == "__main__":
    sys.exit(main())
