"""Whoever waits for a worker that is gone is told so. Real processes are killed in `test_killed_jobs.py`."""

from __future__ import annotations

import threading
import time

from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_fn_api_pb2
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    ControlConnection,
    ExternalWorkerHandler,
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)

from beam_jobs.runner import submission
from beam_jobs.runner.submission import LOST_WORKER, WatchedExternalHandler, watched_workers

URNS = (python_urns.SUBPROCESS_SDK, common_urns.environments.EXTERNAL.urn)


def registered():
    return [WorkerHandler._registered_environments[urn][0] for urn in URNS]


def test_beams_own_handlers_are_back_after_a_job():
    with watched_workers():
        assert not {SubprocessSdkWorkerHandler, ExternalWorkerHandler} & set(registered())
    assert registered() == [SubprocessSdkWorkerHandler, ExternalWorkerHandler]


def test_work_fails_that_waits_for_a_connection_that_has_ended(monkeypatch):
    monkeypatch.setattr(submission, "_TRIED_AGAIN_AFTER", 0.01)
    monkeypatch.setattr(ExternalWorkerHandler, "__init__", lambda self, connection: None)
    monkeypatch.setattr(ExternalWorkerHandler, "start_worker", lambda self: None)
    monkeypatch.setattr(ExternalWorkerHandler, "close", lambda self: None)
    connection, ended = ControlConnection(), threading.Event()
    handler = WatchedExternalHandler(connection)
    handler.control_conn = connection
    handler.start_worker()
    waiting = connection.push(beam_fn_api_pb2.InstructionRequest())

    def silent():
        ended.wait(10)
        yield from ()

    connection.set_input(silent())
    time.sleep(0.2)
    assert not waiting.is_done()
    ended.set()
    assert waiting.get(timeout=10).error == LOST_WORKER
    handler.close()
