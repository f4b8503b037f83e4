"""The command `python -m beam_jobs.evaluate`: how well p(x | c) describes the rows of a table."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from beam_jobs.command import run_job_command
from beam_jobs.options.flags import evaluate_flags, parse_evaluate_flags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beam_jobs.jobs.evaluate import EvaluateJob
    from beam_jobs.options.job_options import EvaluateOptions


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a failed job, 2 for usage."""
    return run_job_command(arguments, parse=parse_evaluate_flags, flags=evaluate_flags, plan=_plan)


def _plan(options: EvaluateOptions) -> EvaluateJob:
    from beam_jobs.jobs.evaluate import plan_evaluate  # noqa: PLC0415  # Beam and Arrow: see `run_job_command`

    return plan_evaluate(options)


if __name__ == "__main__":
    sys.exit(main())
