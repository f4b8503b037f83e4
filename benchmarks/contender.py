"""A contender as the benchmark sees it: a worker process that is asked one thing at a time."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.case import Case

ROOT = Path(__file__).parents[1]
THREADS_THAT_SLEEP = {"OMP_WAIT_POLICY": "PASSIVE"}  # those that spin take the cores from whoever has its turn


class ContenderError(Exception):
    """A contender could not do what it was asked; the message is its own."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a contender says of itself.

    Attributes:
      name: of its file in `benchmarks.contenders`.
      versions: of its packages.
      mode: how it is run.
      weights: whose they are; equal ones mean equal densities.
    """

    name: str
    versions: dict[str, str]
    mode: str
    weights: str


class Contender:
    """A running worker; a context manager.

    Args:
      description: its answer to the start.
      process: the worker.
      errors: its standard error, to quote if it dies.
    """

    def __init__(self, description: Description, process: subprocess.Popen[str], errors: IO[bytes]) -> None:
        self.description = description
        self._process = process
        self._errors = errors

    @property
    def name(self) -> str:
        """Of its file."""
        return self.description.name

    def build(self, case: Case) -> list[str]:
        """Builds the flow of a case; the quantities that it has."""
        quantities: list[str] = self._ask("build", **dataclasses.asdict(case))["quantities"]
        return quantities

    def prepare(self, quantity: str, inputs: Path) -> None:
        """Binds a quantity to rows and warms it up."""
        self._ask("prepare", quantity=quantity, inputs=str(inputs))

    def time(self, quantity: str, calls: int) -> list[float]:
        """Seconds of each of so many calls."""
        seconds: list[float] = self._ask("time", quantity=quantity, calls=calls)["seconds"]
        return seconds

    def compute(self, quantity: str, inputs: Path, output: Path) -> None:
        """Writes what it computes from rows."""
        self._ask("compute", quantity=quantity, inputs=str(inputs), output=str(output))

    def close(self) -> None:
        """Ends the worker."""
        with self._errors, self._process as process:
            if process.stdin is not None:
                process.stdin.close()

    def __enter__(self) -> Contender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self.close()

    def _ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        answer = _exchange(self._process, self._errors, json.dumps({"do": do, **arguments}))
        if "error" in answer:
            raise ContenderError(answer["error"])
        return answer


def start(name: str, *, threads: int, interpreters: Sequence[str] = ()) -> Contender:
    """Starts a contender with the first interpreter that has its packages: this one, then the others.

    Raises:
      ContenderError: if none has, with what is missing.
    """
    missing = []
    for interpreter in (sys.executable, *interpreters):
        errors = tempfile.TemporaryFile()  # noqa: SIM115  # the contender closes it
        process = subprocess.Popen(  # noqa: S603
            [interpreter, "-m", "benchmarks.worker", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            env={**os.environ, **THREADS_THAT_SLEEP, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"},
        )
        try:
            answer = _exchange(process, errors, None)
        except BaseException:
            process.kill()
            _end(process, errors)
            raise
        if "absent" not in answer:
            return Contender(Description(name=name, **answer), process, errors)
        _end(process, errors)
        missing.append(answer["absent"])
    raise ContenderError(missing[0])


def _exchange(process: subprocess.Popen[str], errors: IO[bytes], question: str | None) -> dict[str, Any]:
    if process.stdin is None or process.stdout is None:
        raise ValueError("the worker has no pipes; start it with `start`")
    line = ""
    try:
        if question is not None:
            process.stdin.write(question + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
    except BrokenPipeError:
        pass
    if not line:
        errors.seek(0)
        last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
        raise ContenderError(f"the worker ended: {' '.join(last) or f'status {process.wait()}'}")
    answer: dict[str, Any] = json.loads(line)
    return answer


def _end(process: subprocess.Popen[str], errors: IO[bytes]) -> None:
    with errors, process:
        if process.stdin is not None:
            process.stdin.close()
