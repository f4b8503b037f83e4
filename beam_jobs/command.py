"""How the commands run: flags in, a directory out, and errors as one line.

Heavy modules are imported after the flags have been read, so that `--help` and a misspelt flag answer at once. What
Beam and TensorFlow say on stderr is kept off the terminal, where the command reports errors itself.
"""

from __future__ import annotations

import io
import itertools
import logging
import os
import sys
import threading
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from beam_jobs.errors import SubmittedError, UsageError
from beam_jobs.options.job_options import RowOptions
from maf_serving import command
from maf_serving.errors import MafServingError
from maf_serving.quiet_tensorflow import LEVEL_VARIABLE, NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beam_jobs.jobs.job import Job
    from beam_jobs.jobs.summary import Summary
    from beam_jobs.options.flags import JobFlags
    from beam_jobs.options.job_options import JobOptions

Options = TypeVar("Options", bound="JobOptions")
_LOG_LEVEL_FLAG = "--default_sdk_harness_log_level"


def run_job_command(
    arguments: Sequence[str] | None,
    *,
    parse: Callable[[Sequence[str]], tuple[Options, list[str]]],
    flags: Callable[[], JobFlags],
    plan: Callable[..., Job[Any]],
) -> int:
    """Runs a command and returns its exit status: 0, 1 for a failed job, 2 for usage, or what its summary says.

    Args:
      arguments: of the command line, or `None` for those of this process.
      parse: makes options of them, and leaves Beam's flags.
      flags: those of the command.
      plan: makes a job of the options; imports what it needs.
    """

    def run() -> int:
        try:
            options, beam_flags = parse(sys.argv[1:] if arguments is None else arguments)
            return _run(options, beam_flags, flags().flags(), plan)
        except MafServingError as error:
            logging.getLogger(__name__).info("the job did not complete", exc_info=error)
            raise

    return command.run_command(run)


def _run(options: Options, beam_flags: Sequence[str], own_flags: Sequence[str], plan: Callable[..., Job[Any]]) -> int:
    """Runs the job, prints its summary, and returns the exit status."""
    configure_logs(_log_level(beam_flags))
    from beam_jobs.jobs.running import prepare_job, publish_job, run_on_spark, run_staged  # noqa: PLC0415
    from beam_jobs.runner.options import parse_beam_flags  # noqa: PLC0415  # Beam and Arrow: see the module's docstring
    from beam_jobs.runner.submission import Submission  # noqa: PLC0415

    if isinstance(options, RowOptions) and options.engine == "spark":
        if beam_flags:
            raise UsageError(
                f"unexpected argument {beam_flags[0]!r}; --engine spark has no options of Beam: expected flags of this "
                "command (see --help), and --conf for settings of Spark"
            )
        return _tell(run_on_spark(plan, options), options.output)
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
        return command.show(str(submitted))
    except BaseException:
        if not submission.goes_on:
            staged.discard()
        raise
    return _tell(summary, options.output)


def _tell(summary: Summary, output: str) -> int:
    return command.show(summary.to_text(output).rstrip("\n")) or summary.exit_status


def _log_level(beam_flags: Sequence[str]) -> str | None:
    """The value of Beam's flag, before Beam has been imported: its import is logged already."""
    for flag, following in itertools.pairwise([*beam_flags, ""]):
        name, _, value = flag.partition("=")
        if name == _LOG_LEVEL_FLAG:
            return value or following or None
    return None


def configure_logs(level: str | None) -> None:
    """Logs from `level` on, as Beam's `--default_sdk_harness_log_level` names it; with `None`, nothing.

    Errors come back as exceptions: in the log they would be repeated, with their tracebacks. Then threads other than
    the main one cannot write to `sys.stderr` either, to the end of the process. Raises `UsageError`.
    """
    handler = logging.StreamHandler()
    try:
        handler.setLevel(logging.CRITICAL if level is None else int(level) if level.isdigit() else level)
    except ValueError as error:
        raise UsageError(f"the log level is {level!r}; expected DEBUG, INFO, WARNING, ERROR or a number") from error
    # The handler's level counts too: Beam passes on what Prism logs, whatever the level of the logger.
    logging.basicConfig(level=handler.level, handlers=[handler])
    if level is None:
        os.environ.setdefault(LEVEL_VARIABLE, NOTHING)
        sys.stderr = MainThreadStream(sys.stderr)


class MainThreadStream(io.TextIOBase):
    """A stream on which only the main thread is heard.

    Beam's worker threads print the tracebacks of what has failed, some of them when the job is over and its error has
    been reported.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes what the main thread says."""
        return self._stream.write(text) if threading.current_thread() is threading.main_thread() else len(text)

    def flush(self) -> None:
        """Writes what is buffered."""
        self._stream.flush()

    def fileno(self) -> int:
        """Of the stream."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute
        """Of the stream."""
        return self._stream.encoding
