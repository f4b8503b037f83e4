"""How commands end: by themselves, by an error, by a signal."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time

import pytest

from maf_serving.command import run_command, unwinding
from maf_serving.errors import JobError, UsageError
from tests.docs.commands import ROOT
from tests.waiting import SOON, until


def failing(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("body", "status", "out", "err"),
    [
        (lambda: None, 0, "", ""),
        (lambda: 3, 3, "", ""),
        (lambda: "done", 0, "done\n", ""),
        (failing(UsageError("this\nand that")), 2, "", "error: this and that\n"),
        (failing(JobError("it failed")), 1, "", "error: it failed\n"),
        (failing(OSError(errno.ENOSPC, "No space", "a")), 1, "", "error: [Errno 28] No space: 'a'\n"),
        (failing(KeyboardInterrupt()), 130, "", "error: interrupted by SIGINT; nothing was written\n"),
    ],
)
def test_the_end_of_a_command(body, status, out, err, capsys):
    assert run_command(body) == status
    assert capsys.readouterr() == (out, err)


def test_a_warning_is_one_line():
    code = (
        "import warnings\nfrom maf_serving.command import run_command\nrun_command(lambda: warnings.warn('odd\\nrows'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == "warning: odd rows\n"


SETUP = """
import os, signal, sys, threading, time
from maf_serving.command import run_command, show, unwinding, when_interrupted

for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background jobs ignore the first
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

def clean(what):
    os.write(1, f"cleaned {what}\\n".encode())

def sleeping():
    show("ready")
    time.sleep(60)
"""
BODIES = {
    # a main thread in Python code, and what is cleaned, newest first
    "sleeping": """
def body():
    with when_interrupted(lambda n: "a part is there"), when_interrupted(lambda n: clean(n)):
        sleeping()
""",
    # a cleaning that fails does not keep the others from running
    "failing": """
def body():
    with when_interrupted(lambda n: "a part is there"), when_interrupted(lambda n: 1 / 0):
        with when_interrupted(lambda n: clean(n)):
            sleeping()
""",
    # a main thread that hears of no signal, in C code
    "in C code": """
import ctypes
libc = ctypes.CDLL(None)
def body():
    with when_interrupted(lambda n: "a part is there"), when_interrupted(lambda n: clean(n)):
        libc.pthread_sigmask(0, (ctypes.c_ulong * 16)(0x4002), None)  # to other threads: no call here is cut short
        show("ready")
        libc.sleep(60)
""",
    # waiting for a thread that does not end
    "joining": """
def body():
    worker = threading.Thread(target=time.sleep, args=(60,))
    worker.start()
    with when_interrupted(lambda n: "a part is there"), when_interrupted(lambda n: clean(n)):
        show("ready")
        worker.join()
""",
    # standard error is redirected meanwhile
    "quiet": """
def body():
    with when_interrupted(lambda n: "a part is there"), when_interrupted(lambda n: clean(n)):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sleeping()
""",
}


def interrupted(code, number, *, wait=0.0):
    """What a command prints, and its exit status, of one that gets a signal when it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"{SETUP}\n{code}\nsys.exit(run_command(body))"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(wait)
        process.send_signal(number)
        out, err = process.communicate(timeout=SOON)
        return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", BODIES)
def test_an_interrupted_command_cleans_up_and_leaves_at_once(name, number):
    status, out, err = interrupted(BODIES[name], number)
    assert status == 128 + number
    assert out == f"cleaned {int(number)}\n"
    assert err == f"\nerror: interrupted by {number.name}; a part is there\n"


def test_processes_of_ours_end_too():
    code = """
import multiprocessing
def body():
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    with when_interrupted(lambda n: clean(child.pid)):
        sleeping()
"""
    status, out, _ = interrupted(code, signal.SIGTERM)
    assert status == 143
    until(lambda: state(out.removeprefix("cleaned ").strip()) in ("", "Z"))


def state(process_id):
    """A letter; Z is one that has ended and that nobody has asked for."""
    done = subprocess.run(["/bin/ps", "-o", "stat=", "-p", process_id], capture_output=True, text=True, check=False)
    return done.stdout.strip()[:1]


def test_unwinding_runs_what_python_runs():
    code = """
def body():
    try:
        with unwinding("the half is undone"):
            sleeping()
    finally:
        clean("by finally")
"""
    status, out, err = interrupted(code, signal.SIGTERM)
    assert (status, out, err) == (143, "cleaned by finally\n", "error: interrupted by SIGTERM; the half is undone\n")


def test_unwinding_hears_of_a_signal_that_cut_no_call_short():
    code = """
def to_another_thread():
    (watcher,) = (each for each in threading.enumerate() if each.name == "signals")
    time.sleep(0.3)  # until the main thread waits
    signal.pthread_kill(watcher.ident, signal.SIGTERM)

def body():
    threading.Thread(target=to_another_thread, daemon=True).start()
    with unwinding("the half is undone"):
        time.sleep(60)
"""
    command = [sys.executable, "-c", f"{SETUP}\n{code}\nsys.exit(run_command(body))"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SOON)
    assert (done.returncode, done.stderr) == (143, "error: interrupted by SIGTERM; the half is undone\n")


def test_an_ignored_signal_stays_ignored():
    code = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
def body():
    show("ready")
    time.sleep(0.5)
    return "done"
"""
    status, out, err = interrupted(code, signal.SIGINT)
    assert (status, out, err) == (0, "done\n", "")


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    run_command(lambda: None)

    def body():
        with unwinding(""):
            pass

    run_command(body)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
