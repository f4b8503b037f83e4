"""The command `python -m beam_jobs.compare`: whether a model is better than another on the rows of a table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from beam_jobs.command import run_job_command
from beam_jobs.options.judging import compare_flags, parse_compare_flags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_jobs.jobs.compare import CompareJob
    from beam_jobs.options.judging import CompareOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a failed job, 2 for usage, 3 for a model that is worse."""
    return run_job_command(arguments, parse=parse_compare_flags, flags=compare_flags, plan=_plan)


def _plan(options: CompareOptions) -> CompareJob:
    from beam_jobs.jobs.compare import plan_compare  # noqa: PLC0415  # Beam and Arrow: see `run_job_command`

    return plan_compare(options)


if __name__ == "__main__":
    sys.exit(main())
