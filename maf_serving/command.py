"""How every command ends: what it prints, its errors of one line, and its way out when it is interrupted.

A command's `main` hands the rest of itself to `run_command`:

    def main(arguments: Sequence[str] | None = None) -> int:
        return run_command(lambda: _score(parse_score_flags(arguments)))

The exit status is 0, 1 for something that started and failed, 2 for what was asked for wrongly, and 128 plus the number
of a signal, as in a shell: 130 for Ctrl-C and 143 for SIGTERM.

An interrupted command does not unwind. TensorFlow, Beam and a stuck server may hold the main thread for many seconds,
and an exception that is raised in the middle of an import is often turned into another one. Instead

    signal ── handler, in the main thread ────────┬── newest to oldest: what `when_interrupted` was given
          └── watcher, 0.7 s later if that thread ┘   then one line that says what is left, and the end of the process
              is in C code and hears nothing

so whatever must not be left behind is registered with `when_interrupted` for as long as it is there. A step that has to
undo something through Python's own `finally` runs in `unwinding`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from maf_serving.errors import MafServingError, one_line

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STUCK_SECONDS = 0.7  # a main thread that has not heard of a signal by then is in C code
_CLEAN_UP_SECONDS = 30.0  # to cancel a job on other machines; what is on this one takes milliseconds
_NOTHING = "nothing was written"

CleanUp = Callable[[int], "str | None"]
_clean_ups: list[CleanUp] = []


def run_command(body: Callable[[], int | str | None], *, left: str = _NOTHING) -> int:
    """Runs a command and returns its exit status; what goes wrong is one line on standard error.

    Args:
      body: parses, works, and returns an exit status, or what to print at the end, or `None` for neither.
      left: what to say of an interruption when nothing that `when_interrupted` was given says better.

    Returns:
      The exit status, see the module.
    """
    open_stderr()
    try:
        with _one_line_warnings(), _leaving(left):
            result = body()
            return show(result) if isinstance(result, str) else result or 0
    except MafServingError as error:
        say(f"error: {one_line(error)}")
        return error.exit_status
    except KeyboardInterrupt as interrupt:  # out of `unwinding`
        number, better = interrupt.args or (signal.SIGINT, left)
        say(f"error: interrupted by {signal.Signals(number).name}; {better}")
        return 128 + int(number)
    except BrokenPipeError:  # the reader of our output has gone; so must what is left in the buffer
        _drop_stdout()
        return 1
    except OSError as error:  # a full disk, say
        say(f"error: {one_line(error)}")
        return 1


def show(text: str) -> int:
    """Writes lines to standard output; returns the exit status, 1 if they could not be written.

    By then what was asked for has been done, so a reader that has gone (`| head`) is told nothing.
    """
    if sys.stdout is None:  # closed by whoever started the command
        return 0
    try:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()
    except OSError as error:
        _drop_stdout()
        if not isinstance(error, BrokenPipeError):
            say(f"error: standard output cannot be written: {error.strerror}")
        return 1
    return 0


def say(text: str) -> None:
    """Writes lines to standard error, where progress and errors go; standard output is for results."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


def silent(_: str) -> None:
    """Takes a line of progress that nobody is to be told."""


def open_stderr() -> None:
    """Gives a command whose standard error is closed one that nobody reads: progress bars write to it."""
    if sys.stderr is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        sys.stderr = os.fdopen(2, "w")


def _drop_stdout() -> None:
    """What is left in the buffer would fail once more when Python ends."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """While the block runs, a warning is one line, without the place in our code that it came from."""

    def tell(message: Warning | str, _category: Any, _file: Any, _line: Any, *_: Any) -> None:
        say(f"warning: {' '.join(str(message).split())}")

    with warnings.catch_warnings():
        warnings.showwarning = tell  # type: ignore[assignment]  # the hook that Python documents
        yield


@contextlib.contextmanager
def when_interrupted(clean_up: CleanUp) -> Iterator[None]:
    """While the block runs, a command that is interrupted calls `clean_up` with the signal's number before it ends.

    It is called in a thread of its own, while the other threads may still be running, and returns what is left, to be
    told to the user, or `None` to leave that to what was registered before. In a program that is no command of ours
    nothing is called: there, Ctrl-C raises `KeyboardInterrupt` in the block.
    """
    _clean_ups.append(clean_up)
    try:
        yield
    finally:
        _clean_ups.remove(clean_up)


@contextlib.contextmanager
def unwinding(left: str) -> Iterator[None]:
    """While the block runs, Ctrl-C and SIGTERM raise `KeyboardInterrupt`, for `run_command` to say what is left.

    For steps that wait in Python code alone and undo what they did in a `finally`. For commands, on the main thread.
    """
    with _handled_by(_Unwind(left)):
        yield


class _Unwind:
    """The handler of `unwinding`: the main thread raises, as soon as Python code runs there.

    A signal that comes just before a call that waits, or to another thread, does not cut that call short: then the
    watcher of `_Leaving` sends it to the main thread once more.
    """

    def __init__(self, left: str) -> None:
        self._left = left
        self.heard = threading.Event()

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.heard.set()
        raise KeyboardInterrupt(number, self._left)


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """While the block runs, SIGTERM raises `SystemExit` in a user's program, as Ctrl-C raises `KeyboardInterrupt`.

    Does nothing in a thread other than the main one, or where the program handles SIGTERM itself, as commands do.
    """

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextlib.contextmanager
def _leaving(left: str) -> Iterator[None]:
    """While the block runs, a signal cleans up and ends the process. Does nothing in another than the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    leaving = _Leaving(left)
    ours, watchers = socket.socketpair()
    for end in (ours, watchers):
        end.setblocking(end is watchers)
    earlier = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=leaving.watch, args=(watchers,), name="signals", daemon=True).start()
    try:
        with _handled_by(leaving.handle):
            yield
    finally:
        signal.set_wakeup_fd(earlier)
        ours.close()  # which ends the watcher
        leaving.close()


class _Leaving:
    """The end of a command that is interrupted, begun once, by the main thread or by the watcher."""

    def __init__(self, left: str) -> None:
        self._left = left
        self._process = os.getpid()
        self._stderr = os.dup(2)  # what is at 2 may be redirected when the signal comes
        self._begin = threading.Lock()
        self._begun = threading.Event()

    def close(self) -> None:
        os.close(self._stderr)

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """In the main thread, as Python calls it."""
        if os.getpid() != self._process:  # a fork: what is registered is not its own
            os._exit(128 + number)
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        self._leave(number)

    def watch(self, signals: socket.socket) -> None:
        """In a thread of its own: each byte is the number of a signal that has come to the process."""
        with signals:
            while received := signals.recv(1):
                number = received[0]
                handler = signal.getsignal(number)
                if handler == self.handle and not self._begun.wait(_STUCK_SECONDS):
                    self._leave(number)
                if isinstance(handler, _Unwind) and not handler.heard.wait(_STUCK_SECONDS):
                    signal.pthread_kill(threading.main_thread().ident or 0, number)

    def _leave(self, number: int) -> None:
        if not self._begin.acquire(blocking=False):
            threading.Event().wait()  # the other thread ends the process
        self._begun.set()
        # In a thread of its own: this one may hold a lock of a client that the cleaning needs.
        told: list[str] = []
        cleaning = threading.Thread(target=self._clean_up, args=(number, told), daemon=True)
        cleaning.start()
        cleaning.join(_CLEAN_UP_SECONDS)
        line = f"\nerror: interrupted by {signal.Signals(number).name}; {told[0] if told else self._left}\n"
        with contextlib.suppress(OSError):
            os.write(self._stderr, line.encode())
        os._exit(128 + number)

    @staticmethod
    def _clean_up(number: int, told: list[str]) -> None:
        for clean_up in reversed(_clean_ups):
            with contextlib.suppress(Exception):  # the others are to run all the same
                if line := clean_up(number):
                    told.append(line)
        if "multiprocessing" in sys.modules:
            for process in sys.modules["multiprocessing"].active_children():
                process.kill()


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """A signal that whoever started the command has it ignore, as `nohup` and a shell's `&` do, stays ignored."""
    heard = [each for each in _SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]
    earlier = {each: signal.signal(each, handler) for each in heard}
    try:
        yield
    finally:
        for each, former in earlier.items():
            signal.signal(each, former)
