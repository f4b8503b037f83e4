"""Python programs in processes of their own, each forked from one that has imported TensorFlow, TFP and Beam already.

    done = run_python("-m", "export", "--run", run)

is `subprocess.run([sys.executable, "-m", "export", ...], capture_output=True, text=True)`, and `Forked` is
`subprocess.Popen`, without the 3 to 8 s of CPU that these imports take. In the process that is forked nothing has
happened but the imports: no device was opened, no thread of TensorFlow runs, and of ours it has `quiet_tensorflow`
alone. Whoever looks at what a start loads or says takes `subprocess`; with FRESH_PROCESSES=1 all programs are
started so.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import multiprocessing
import os
import runpy
import subprocess
import sys
import traceback
import types
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parents[1]
FRESH = sys.platform != "linux" or bool(os.environ.get("FRESH_PROCESSES"))
PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL

Target = IO[Any] | int | None


def run_python(
    *arguments: object,
    given: str = "",
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Runs `python ARGUMENTS`, `-m MODULE`, `-c CODE` or a script and what they take; `given` is its input."""
    command = [sys.executable, *map(str, arguments)]
    if FRESH:
        return subprocess.run(
            command, input=given, cwd=cwd, env=env, timeout=timeout, capture_output=True, text=True, check=False
        )
    with Forked(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=cwd, env=env) as process:
        stdout, stderr = process.communicate(given, timeout=timeout)
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


class Forked:
    """As a `subprocess.Popen` of text whose command begins with `sys.executable`. One that is left alive is killed."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdin: Target = DEVNULL,
        stdout: Target = None,
        stderr: Target = None,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.args = list(command)
        self.stdin, to_0 = _pipe(stdin, "w") if stdin == PIPE else (None, _duplicate(stdin, 0))
        self.stdout, to_1 = _pipe(stdout, "r") if stdout == PIPE else (None, _duplicate(stdout, 1))
        if stderr == STDOUT:
            self.stderr, to_2 = None, _duplicate(to_1, 1)
        else:
            self.stderr, to_2 = _pipe(stderr, "r") if stderr == PIPE else (None, _duplicate(stderr, 2))
        place, environment = str(cwd or Path.cwd()), dict(os.environ if env is None else env)
        self._process = _context().Process(target=_become, args=(self.args[1:], place, environment, [to_0, to_1, to_2]))
        self._process.start()
        self.pid = self._process.pid
        for end in (to_0, to_1, to_2):
            end.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int | None:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def communicate(self, text: str = "", timeout: float | None = None) -> tuple[str | None, str | None]:
        """What was written to the pipes; raises `TimeoutExpired`, of a process that was killed then."""
        with ThreadPoolExecutor(2) as readers:
            told = [readers.submit(pipe.read) if pipe else None for pipe in (self.stdout, self.stderr)]
            if self.stdin:
                with contextlib.suppress(BrokenPipeError), self.stdin:
                    self.stdin.write(text)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            stdout, stderr = (each.result() if each else None for each in told)
        for pipe in filter(None, (self.stdout, self.stderr)):
            pipe.close()
        return stdout, stderr

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid or 0, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.kill()
        self._process.join()
        for pipe in filter(None, (self.stdin, self.stdout, self.stderr)):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


@functools.cache
def _context() -> ForkServerContext:
    """Begins the process that is forked, where `tests` can be imported."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.imported"])
    here = Path.cwd()
    os.chdir(ROOT)
    try:
        forkserver.ensure_running()
    finally:
        os.chdir(here)
    return forks


def _pipe(_: Target, mode: str) -> tuple[IO[str], Connection]:
    """Our end of a new pipe, to read or to write, and the other one: a `Connection` goes with a process."""
    reader, writer = multiprocessing.Pipe(duplex=False)
    ours, theirs = (reader, writer) if mode == "r" else (writer, reader)
    with ours:
        return os.fdopen(os.dup(ours.fileno()), mode, encoding="utf-8"), theirs


def _duplicate(target: Target | Connection, default: int) -> Connection:
    """What a process gets that writes to `target`, or to ours if it is `None`."""
    if target == DEVNULL:
        return Connection(os.open(os.devnull, os.O_RDWR))
    return Connection(os.dup(default if target is None or isinstance(target, int) else target.fileno()))


def _become(arguments: Sequence[str], cwd: str, env: Mapping[str, str], ends: Sequence[Connection]) -> None:
    """In the fork: makes it what a fresh interpreter with these arguments is, and ends it as one."""
    for number, end in enumerate(ends):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin, sys.stdout = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", buffering=1)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.path[:0] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
    status: object = None
    try:
        _run(*arguments)
    except SystemExit as leaving:
        status = leaving.code
    except BaseException:  # noqa: BLE001  # as the interpreter does
        traceback.print_exc()
        status = 1
    atexit._run_exitfuncs()  # which a fork does not do by itself
    sys.exit(status)


def _run(kind: str, *rest: str) -> None:
    if kind == "-m":
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = main = types.ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)  # noqa: S102  # what `python -c` does
    else:
        sys.argv = [kind, *rest]
        sys.path[0] = str(Path(kind).resolve().parent)
        runpy.run_path(kind, run_name="__main__")


if FRESH:
    Forked = functools.partial(subprocess.Popen, text=True)  # type: ignore[assignment,misc]
