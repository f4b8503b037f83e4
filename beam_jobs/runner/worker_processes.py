"""Workers of Beam's runners for one machine, watched: Beam may wait for ever for the work of one that was killed."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_runner_api_pb2
from apache_beam.runners.portability import local_job_service
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    ExternalWorkerHandler,
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOST_WORKER = "the runner lost a worker: was it killed, or was there too little memory?"
_TRIED_AGAIN_AFTER = 0.5  # seconds; meanwhile the runner may have handed out more work
_STATUS = " exited with return code "  # of the error with which Beam's thread ends


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
