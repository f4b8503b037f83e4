"""How the commands run: flags in, a directory out, and errors as one line.

Heavy modules are imported after the flags have been read, so that `--help` and a misspelt flag answer at once.
"""

from __future__ import annotations

import itertools
import logging
import sys
from typing import TYPE_CHECKING, Any, TypeVar

from beam_jobs.errors import SubmittedError
from beam_jobs.runner.logs import configure_logs
from maf_serving import command
from maf_serving.errors import MafServingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beam_jobs.jobs.job import Job
    from beam_jobs.options.flags import JobFlags
    from beam_jobs.options.job_options import JobOptions

Options = TypeVar("Options", bound="JobOptions")
_LOG_LEVEL_FLAG = "--default_sdk_harness_log_level"


def run_command(
    arguments: Sequence[str] | None,
    *,
    parse: Callable[[Sequence[str]], tuple[Options, list[str]]],
    flags: Callable[[], JobFlags],
    plan: Callable[[Options], Job[Any]],
) -> int:
    """Runs a command and returns its exit status: 0, 1 for a failed job, 2 for usage.

    Args:
      arguments: of the command line, or `None` for those of this process.
      parse: makes options of them, and leaves Beam's flags.
      flags: those of the command.
      plan: makes a job of the options; imports what it needs.
    """

    def run() -> str:
        try:
            options, beam_flags = parse(sys.argv[1:] if arguments is None else arguments)
            return _run(options, beam_flags, flags().flags(), plan)
        except MafServingError as error:
            logging.getLogger(__name__).info("the job did not complete", exc_info=error)
            raise

    return command.run_command(run)


def _run(
    options: Options, beam_flags: Sequence[str], own_flags: Sequence[str], plan: Callable[[Options], Job[Any]]
) -> str:
    """Runs the job and returns what to print."""
    configure_logs(_log_level(beam_flags))
    from beam_jobs.jobs.running import prepare_job, publish_job, run_staged  # noqa: PLC0415
    from beam_jobs.runner.options import parse_beam_flags  # noqa: PLC0415  # Beam and Arrow: see the module's docstring
    from beam_jobs.runner.submission import Submission  # noqa: PLC0415

    pipeline_options = parse_beam_flags(beam_flags, own_flags=own_flags)
    job, staged = prepare_job(plan, options, pipeline_options)
    submission = Submission()

    def clean_up(number: int) -> str:
        told = submission.interrupt(number)
        if not submission.goes_on:
            staged.discard()
        return told

    try:
        with command.when_interrupted(clean_up):
            summary = run_staged(job, staged, pipeline_options, submission)
        with command.unwinding(f"{options.output} is whole, as it was or as it is to be"):
            publish_job(summary, staged, job.plan.options)
    except SubmittedError as submitted:
        return str(submitted)
    except BaseException:
        if not submission.goes_on:
            staged.discard()
        raise
    text: str = summary.to_text(options.output).rstrip("\n")
    return text if options.output_table is None else f"{text}\nloaded into   {options.output_table}"


def _log_level(beam_flags: Sequence[str]) -> str | None:
    """The value of Beam's flag, before Beam has been imported: its import is logged already."""
    for flag, following in itertools.pairwise([*beam_flags, ""]):
        name, _, value = flag.partition("=")
        if name == _LOG_LEVEL_FLAG:
            return value or following or None
    return None
