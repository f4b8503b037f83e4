"""What a command lets others say on its standard error."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import threading

import pytest

from beam_jobs import UsageError
from beam_jobs.command import MainThreadStream, configure_logs
from tests.docs.commands import ROOT


def test_the_main_thread_alone_is_heard():
    stream = io.StringIO()
    quiet = MainThreadStream(stream)
    worker = threading.Thread(target=lambda: print("Traceback", file=quiet))
    worker.start()
    worker.join()
    print("error", file=quiet)
    assert stream.getvalue() == "error\n"
    assert (quiet.isatty(), quiet.encoding) == (stream.isatty(), stream.encoding)


@pytest.mark.parametrize(("level", "heard"), [("None", ""), ("'INFO'", "INFO:a_runner:serving\nTraceback\n")])
def test_a_logger_of_its_own_level_and_a_thread(level, heard):
    script = f"""
import logging, sys, threading
from beam_jobs.command import configure_logs
configure_logs({level})
logger = logging.getLogger("a_runner")
logger.setLevel(logging.INFO)
logger.info("serving")
worker = threading.Thread(target=lambda: print("Traceback", file=sys.stderr))
worker.start()
worker.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr == heard


def test_a_level_that_is_none():
    before = sys.stderr, list(logging.getLogger().handlers)
    with pytest.raises(UsageError, match="the log level is 'LOUD'; expected DEBUG, INFO"):
        configure_logs("LOUD")
    assert (sys.stderr, logging.getLogger().handlers) == before
