"""A pipeline on its runner: waited for, cancelled, or left to itself.

What a runner raises when a job fails becomes one line. Beam's runners for one machine may wait for ever for the work of
a process that was killed, so their worker processes are watched: the work of one that is gone fails.
"""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_runner_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    ExternalWorkerHandler,
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)
from apache_beam.runners.runner import PipelineState

from beam_jobs.errors import EndpointError, JobError, SubmittedError

if TYPE_CHECKING:
    from collections.abc import Callable

    import apache_beam as beam

T = TypeVar("T")
# By the module of its class, an error of ours in the text of a traceback.
_MODULES = "|".join(re.escape(kind.__module__) for kind in (JobError, EndpointError))
_OWN = re.compile(rf"(?:{_MODULES})\.\w+: (.*)")
# Frames of Python and Java, how many Java leaves out, and what closes the text of an error of gRPC.
_NO_MESSAGE = re.compile(r"\s*(at [\w.$/<>@]+\(|\.\.\. \d+ more|File \"|>$)")
_STEP = re.compile(r" \[while running '.*|\\n.*")
_DETAILS = re.compile(r'^\s*details = "(.*)"$', re.MULTILINE)
# What Beam's runners for one machine say when a process that works for them is gone.
_LOST = "Channel closed prematurely"
LOST_WORKER = "the runner lost a worker: was it killed, or was there too little memory?"
_TRIED_AGAIN_AFTER = 0.5  # seconds; meanwhile the runner may have handed out more work
_STATUS = " exited with return code "  # of the error with which Beam's thread ends


class Submission:
    """What became of a pipeline; one thread runs it, and another may ask."""

    def __init__(self) -> None:
        """Nothing has been submitted yet."""
        self._result: Any = None
        self._publishes = False

    def run(self, pipeline: beam.Pipeline, *, publishes: bool) -> None:
        """Runs a pipeline to its end; one that `publishes` needs nobody to wait for it.

        Raises:
          JobError: it failed, or nobody knows.
          SubmittedError: it was written as a template, for somebody else to submit.
        """
        self._publishes = publishes
        state = None
        deaths: list[str] = []
        try:
            with quiet_beam_workers(), watched_workers() as deaths:
                self._result = pipeline.run()
            has_job = getattr(self._result, "has_job", True)
            if publishes and has_job:
                sys.stderr.write(f"{self._name()} is submitted; it publishes its output by itself, Ctrl-C cancels it\n")
            if has_job:
                with quiet_beam_workers():
                    state = _in_another_thread(self._result.wait_until_finish)
        except Exception as error:  # a runner raises whatever a step raised, or a text of its traceback
            hint = f"; {self._name()} may go on" if self.goes_on else ""
            # Of a process that died Beam says that a channel was closed.
            reason = deaths[0] if deaths else describe_failure(error)
            raise JobError(f"the job failed: {reason}{hint}") from error
        if state is None:
            raise SubmittedError("the job was written as a template; what runs it publishes the output")
        if state != PipelineState.DONE:
            raise JobError(f"the job ended as {state}; expected {PipelineState.DONE}")

    @property
    def goes_on(self) -> bool:
        """Whether it may still be running, somewhere else, and will publish its output."""
        return self._publishes and self._result is not None and not self._is_over()

    def interrupt(self, number: int) -> str:
        """What a signal does to a job on other machines: Ctrl-C cancels it, and so does any other unless it publishes.

        Returns:
          What to tell the user of it; nothing if there is no such job.
        """
        if self._result is None or self._is_over():
            return ""
        if self._publishes and number != signal.SIGINT:
            return f"{self._name()} goes on, and publishes its output"
        try:
            self._result.cancel()
        except Exception as error:  # noqa: BLE001  # a runner raises what it likes
            return f"{self._name()} could not be cancelled ({describe_failure(error)}): cancel it on its runner"
        return f"{self._name()} was cancelled"

    def _is_over(self) -> bool:
        try:
            return not getattr(self._result, "has_job", True) or PipelineState.is_terminal(self._result.state)
        except Exception:  # noqa: BLE001  # nobody knows: it may be running
            return False

    def _name(self) -> str:
        for attribute in ("job_id", "_job_id"):  # of Dataflow's results, and of portable ones
            try:
                name = getattr(self._result, attribute, None)
                name = name() if callable(name) else name
            except Exception:  # noqa: BLE001  # of a job that has none yet
                name = None
            if name:
                return f"job {name}"
        return "the job"


def _in_another_thread(function: Callable[[], T]) -> T:
    """What the function returns or raises.

    A signal stops the main thread wherever it is; inside of Beam's client that may be with a lock in its hand, which
    cancelling the job would wait for.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001  # it is raised below
            outcome.set_exception(error)

    threading.Thread(target=run, name="wait", daemon=True).start()
    return outcome.result()


def describe_failure(error: BaseException) -> str:
    """The message of a failed job: of an error of our own, wherever in the text of a traceback it is, or the last line.

    Runners in other processes send the tracebacks of their workers as text, and those in Java put theirs around it.
    """
    text = str(error)
    own = _OWN.findall(text)
    if own:
        return _STEP.sub("", own[-1]).strip()
    details = _DETAILS.search(text)
    if details:
        return details[1]
    if _LOST in text:
        return LOST_WORKER
    lines = [line for line in text.splitlines() if line.strip() and not _NO_MESSAGE.match(line)] or [repr(error)]
    return lines[-1].strip()


class WatchedWorkerHandler(SubprocessSdkWorkerHandler):  # type: ignore[misc]  # Beam is untyped here
    """Beam's handler of `--direct_running_mode multi_processing`; the work of a process that is gone fails.

    What processes say goes to stderr only where the log was asked for.
    """

    def __init__(self, deaths: list[str], *arguments: Any) -> None:
        """See the class; `deaths` gets a line for each process that was not to end yet."""
        super().__init__(*arguments)
        self._deaths = deaths
        self._closed = threading.Event()

    def start_worker(self) -> None:
        """Starts the process, and a thread that waits for its end."""
        self.worker = local_job_service.SubprocessSdkWorker(
            _quiet(self._worker_command_line), self.control_address, self.provision_info, self.worker_id
        )
        self.worker_thread = threading.Thread(name="run_worker", target=self._watch)
        self.worker_thread.start()

    def _watch(self) -> None:
        try:
            self.worker.run()
            how = "ended before its work did"
        except RuntimeError as error:
            how = _describe(str(error))
            self._deaths.append(f"a worker process {how}")
        while not self._closed.wait(_TRIED_AGAIN_AFTER):
            _fail_work(self.control_conn, f"a worker process {how}")

    def close(self) -> None:
        """See Beam: the end of the process is expected from here on."""
        self._closed.set()
        super().close()


class WatchedExternalHandler(ExternalWorkerHandler):  # type: ignore[misc]  # Beam is untyped here
    """Beam's handler of workers that somebody else starts; the work of one whose connection has ended fails."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._closed = threading.Event()

    def start_worker(self) -> None:
        """Asks for the worker, and watches its connection."""
        super().start_worker()
        threading.Thread(name="watch_worker", target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._closed.wait(_TRIED_AGAIN_AFTER):
            reader = self.control_conn._read_thread
            if reader.ident is not None and not reader.is_alive():
                _fail_work(self.control_conn, LOST_WORKER)

    def close(self) -> None:
        """See Beam: the end of the connection is expected from here on."""
        self._closed.set()
        super().close()


def _fail_work(connection: Any, reason: str) -> None:
    """Answers, in place of the worker, whatever the runner has asked it for."""
    for name, pending in list(connection._futures_by_id.items()):
        pending.set(beam_fn_api_pb2.InstructionResponse(instruction_id=name, error=reason))


@contextlib.contextmanager
def watched_workers() -> Iterator[list[str]]:
    """While the block runs, pipelines of this process watch their workers; a line for each process that died."""
    deaths: list[str] = []
    _register(functools.partial(WatchedWorkerHandler, deaths), WatchedExternalHandler)
    try:
        yield deaths
    finally:
        _register(SubprocessSdkWorkerHandler, ExternalWorkerHandler)


def _register(processes: Callable[..., WorkerHandler], external: Callable[..., WorkerHandler]) -> None:
    WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(processes)
    urn = common_urns.environments.EXTERNAL.urn
    WorkerHandler.register_environment(urn, beam_runner_api_pb2.ExternalPayload)(external)


def _quiet(command: bytes) -> bytes:
    """The command of a shell, which is replaced by the process: so that its end, and not the shell's, is seen."""
    if os.name != "posix":
        return command
    quiet = not logging.getLogger("apache_beam").isEnabledFor(logging.ERROR)
    return b"exec " + command + (b" 2>/dev/null" if quiet else b"")


def _describe(error: str) -> str:
    status = error.partition(_STATUS)[2]
    if not status.lstrip("-").isdigit():
        return f"failed: {error}"
    if int(status) >= 0:
        return f"ended with status {status}; --default_sdk_harness_log_level INFO shows what it says"
    name = signal.Signals(-int(status)).name
    return f"was killed by {name}; if memory ran out, use fewer --direct_num_workers or a smaller --rows_per_call"


@contextlib.contextmanager
def quiet_beam_workers() -> Iterator[None]:
    """While the block runs, drops the tracebacks that Beam's worker threads print, unless errors are to be logged.

    They write to `sys.stderr` past the log, and raise the same error in the launcher.
    """
    if logging.getLogger("apache_beam").isEnabledFor(logging.ERROR):
        yield
        return
    with contextlib.redirect_stderr(io.StringIO()):
        yield
