"""The command `python -m beam_jobs.drift`: whether the rows of a table are like those of training."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from beam_jobs.command import run_job_command
from beam_jobs.options.judging import drift_flags, parse_drift_flags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_jobs.jobs.drift import DriftJob
    from beam_jobs.options.judging import DriftOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a failed job, 2 for usage, 3 for drift."""
    return run_job_command(arguments, parse=parse_drift_flags, flags=drift_flags, plan=_plan)


def _plan(options: DriftOptions) -> DriftJob:
    from beam_jobs.jobs.drift import plan_drift  # noqa: PLC0415  # Beam and Arrow: see `run_job_command`

    return plan_drift(options)


if __name__ == "__main__":
    sys.exit(main())
