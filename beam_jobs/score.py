"""The command `python -m beam_jobs.score`: flags in, a scored directory out.

Heavy modules are imported after the flags have been read, so that `--help` and a misspelt flag answer at once.
"""

from __future__ import annotations

import itertools
import logging
import sys
from typing import TYPE_CHECKING

from beam_jobs.errors import BatchJobError
from beam_jobs.options import ScoreOptions, flag_names, parse_score_flags
from beam_jobs.quiet_logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOG_LEVEL_FLAG = "--default_sdk_harness_log_level"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 1 for a failed job, 2 for usage."""
    try:
        options, beam_flags = parse_score_flags(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.write(_score(options, beam_flags))
    except BatchJobError as error:
        logging.getLogger(__name__).info("the job did not complete", exc_info=error)
        sys.stderr.write(f"error: {error}\n")
        return error.exit_status
    return 0


def _score(options: ScoreOptions, beam_flags: Sequence[str]) -> str:
    """Runs the job and returns what to print."""
    configure_logs(_log_level(beam_flags))
    from beam_jobs import beam_options, scoring  # noqa: PLC0415  # Beam and Arrow: see the module's docstring
    from beam_jobs.interruption import exit_when_interrupted  # noqa: PLC0415
    from beam_jobs.staging import StagedOutput  # noqa: PLC0415

    pipeline_options = beam_options.parse_beam_flags(beam_flags, own_flags=flag_names())
    plan = scoring.plan_score(options)
    staged = StagedOutput(options.output, existing=options.existing_output)
    try:
        with exit_when_interrupted(staged.discard):
            summary = scoring.run_score(plan, staged, pipeline_options)
        staged.publish(summary.to_json())
    except BaseException:
        staged.discard()
        raise
    return summary.to_text(options.output)


def _log_level(beam_flags: Sequence[str]) -> str | None:
    """The value of Beam's flag, before Beam has been imported: its import is logged already."""
    for flag, following in itertools.pairwise([*beam_flags, ""]):
        name, _, value = flag.partition("=")
        if name == _LOG_LEVEL_FLAG:
            return value or following or None
    return None


if __name__ == "__main__":
    sys.exit(main())
