"""`python -m benchmarks.worker CONTENDER THREADS`: one contender in a process of its own, which waits for its turn.

Reads commands from standard input and answers each with one line of JSON on standard output. Between commands it does
nothing, so only one of several workers is busy at a time. Needs numpy and what the contender needs.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any

import numpy as np

from benchmarks.case import Case

QUANTITIES = ("log_prob", "sample")
LONGEST_REASON = 160


def main() -> None:
    """Answers until standard input ends."""
    contender, threads = sys.argv[1], int(sys.argv[2])
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with answers:
        if hasattr(os, "sched_setaffinity"):  # all frameworks size their pools by it
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        try:
            module = importlib.import_module(f"benchmarks.contenders.{contender}")
        except ImportError as error:
            _say(answers, {"absent": _reason(error)})
            return
        versions = {package: importlib.metadata.version(package) for package in module.PACKAGES}
        _say(answers, {"versions": versions, "mode": module.MODE, "weights": module.WEIGHTS})
        worker = Worker(module)
        for line in sys.stdin:
            request = json.loads(line)
            try:
                answer = getattr(worker, request.pop("do"))(**request)
            except Exception as error:  # noqa: BLE001  # whatever a framework raises is its result
                answer = {"error": _reason(error)}
            _say(answers, answer)


class Worker:
    """The commands."""

    def __init__(self, contender: Any) -> None:
        self._contender = contender
        self._flow: Any = None
        self._functions: dict[str, Callable[[], Any]] = {}

    def build(self, **case: int) -> dict[str, Any]:
        """Builds the flow; answers which quantities it has."""
        self._functions = {}
        self._flow = self._contender.build(Case(**case))
        return {"quantities": [name for name in QUANTITIES if hasattr(self._flow, name)]}

    def prepare(self, quantity: str, inputs: str) -> dict[str, Any]:
        """Binds a quantity to the rows of a file `.npz`, and calls it once, which compiles it."""
        self._functions.pop(quantity, None)
        function = getattr(self._flow, quantity)(**self._arguments(quantity, inputs))
        function()
        self._functions[quantity] = function
        return {}

    def time(self, quantity: str, calls: int) -> dict[str, Any]:
        """Calls a prepared quantity so often; the first of several calls warms the caches up and does not count."""
        function, seconds = self._functions[quantity], []
        for _ in range(calls + 1 if calls > 1 else 1):
            before = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - before)
        return {"seconds": seconds[-calls:]}

    def compute(self, quantity: str, inputs: str, output: str) -> dict[str, Any]:
        """Writes the result of a quantity for the rows of a file to another, `.npy`."""
        np.save(output, getattr(self._flow, quantity)(**self._arguments(quantity, inputs))())
        return {}

    def _arguments(self, quantity: str, inputs: str) -> dict[str, Any]:
        with np.load(inputs) as arrays:
            names = ("x", "conditional_input") if quantity == "log_prob" else ("conditional_input",)
            return {name: arrays[name] for name in names}


def _say(answers: IO[str], answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _reason(error: Exception) -> str:
    """The first line of an error, with its kind."""
    lines = str(error).strip().splitlines() or [""]
    text = f"{type(error).__name__}: {lines[0]}" if not isinstance(error, ImportError) else lines[0]
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 3]}..."


if __name__ == "__main__":
    main()
