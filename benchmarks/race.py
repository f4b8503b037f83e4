"""All contenders on all cases: built, checked, then timed in turn."""

from __future__ import annotations

import itertools
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from benchmarks.contender import Contender, ContenderError, Description, start
from benchmarks.interleaved import interleave
from benchmarks.measurement import Measurement
from benchmarks.plausibility import ImplausibleError, check_agreement, check_draws, check_mass
from benchmarks.report import Skipped

if TYPE_CHECKING:
    from benchmarks.case import Case

REFERENCE = "tfp"
NO_FLOW = "none"  # weights of a contender that computes no density
Item = TypeVar("Item")
Result = TypeVar("Result")


class Race:
    """Runs contenders against each other and remembers what came of it.

    Attributes:
      contenders: those that could be started.
      measurements: `log_prob [s]` and `sample [s]` of each contender and case.
      skipped: what could not be done.
      checks: what the checks said, a line each.
      implausible: names of contenders that failed a check; they are not timed any more.
    """

    def __init__(self) -> None:
        self.contenders: list[Description] = []
        self.measurements: list[Measurement] = []
        self.skipped: list[Skipped] = []
        self.checks: list[str] = []
        self.implausible: set[str] = set()

    def run(
        self,
        names: Sequence[str],
        cases: Iterable[Case],
        *,
        threads: int,
        interpreters: Sequence[str],
        seconds: float,
        least_rounds: int = 5,
        progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Runs the contenders of these names on the cases.

        Args:
          names: files of `benchmarks.contenders`.
          cases: those of one flow are run together.
          threads: of each contender.
          interpreters: where to look for the packages that this one has not.
          seconds: of timing for each case.
          least_rounds: of turns, however slow they are.
          progress: is told what goes on.
        """
        with ExitStack() as stack, tempfile.TemporaryDirectory() as directory:

            def enter(name: str) -> Contender | None:
                progress(f"starting {name}")
                try:
                    return stack.enter_context(start(name, threads=threads, interpreters=interpreters))
                except ContenderError as error:
                    self._skip(name, "all", error)
                    return None

            running = [contender for contender in _at_once(enter, names, threads) if contender]
            self.contenders += [contender.description for contender in running]
            for _, group in itertools.groupby(sorted(set(cases)), key=lambda case: case.flow):
                flow = _Flow(list(group), Path(directory), threads)
                self._build(running, flow, progress)
                self._check(flow, progress)
                for case in flow.cases:
                    self._time(case, flow, seconds=seconds, least_rounds=least_rounds, progress=progress)

    def _build(self, running: Sequence[Contender], flow: _Flow, progress: Callable[[str], None]) -> None:
        def build(contender: Contender) -> list[str]:
            progress(f"{flow.largest}: building {contender.name}")
            try:
                return contender.build(flow.largest)
            except ContenderError as error:
                self._skip(contender.name, f"D={flow.largest.event_size}", error)
                return []

        candidates = [contender for contender in running if contender.name not in self.implausible]
        flow.built = dict(zip(candidates, _at_once(build, candidates, flow.threads), strict=True))

    def _time(
        self, case: Case, flow: _Flow, *, seconds: float, least_rounds: int, progress: Callable[[str], None]
    ) -> None:
        def prepare(asked: tuple[Contender, list[str]]) -> list[str]:
            contender, quantities = asked
            ready = []
            for quantity in quantities:
                progress(f"{case}: warming up {quantity} of {contender.name}")
                try:
                    contender.prepare(quantity, flow.inputs[case])
                    ready.append(quantity)
                except ContenderError as error:
                    self._skip(contender.name, f"{quantity}, {case}", error)
            return ready

        ready = zip(flow.built, _at_once(prepare, list(flow.built.items()), flow.threads), strict=True)
        turns = {
            (contender.name, quantity): partial(contender.time, quantity)
            for contender, quantities in ready
            for quantity in quantities
        }
        progress(f"{case}: timing")  # from here on, one at a time
        times = interleave(turns, seconds=seconds, least_rounds=least_rounds) if turns else {}
        for (name, quantity), values in times.items():
            self.measurements.append(Measurement(subject=name, quantity=f"{quantity} [s]", case=case, values=values))

    def _check(self, flow: _Flow, progress: Callable[[str], None]) -> None:
        """Notes what the checks say; a contender that fails one is out of the race."""
        for contender in [each for each in flow.built if each.description.weights != NO_FLOW]:
            progress(f"{flow.largest}: checking {contender.name}")
            said: list[str] = []
            try:
                said += _checks(contender, flow)
            except ImplausibleError as error:
                print(f"error: {error}", file=sys.stderr)
                self.implausible.add(contender.name)
                self._skip(contender.name, "all", error)
                del flow.built[contender]
            except ContenderError as error:
                self._skip(contender.name, f"checks, {flow.largest}", error)
            self.checks.append(f"{contender.name}, {flow.largest}: {'; '.join(said) or 'none'}")

    def _skip(self, subject: str, what: str, error: Exception) -> None:
        self.skipped.append(Skipped(subject=subject, what=what, reason=str(error)))


class _Flow:
    """The cases of one flow, their rows, and the contenders that could build it with their quantities."""

    def __init__(self, cases: list[Case], directory: Path, threads: int) -> None:
        self.cases = cases
        self.largest = cases[-1]  # batch
        self.directory = directory
        self.threads = threads
        self.inputs = {case: _inputs(case, directory) for case in cases}
        self.built: dict[Contender, list[str]] = {}


def _checks(contender: Contender, flow: _Flow) -> Iterator[str]:
    inputs = flow.inputs[flow.largest]
    for other in flow.built:
        if other.name == REFERENCE != contender.name and other.description.weights == contender.description.weights:
            yield f"log_prob within {check_agreement(contender, other, inputs, flow.directory):.1g} of {REFERENCE}'s"
    if "sample" in flow.built[contender]:
        yield f"Stein's figure {check_draws(contender, inputs, flow.directory):.2f}"
        if flow.largest.event_size <= 2:
            yield f"mass {check_mass(contender, inputs, flow.directory):.3f}"


def _at_once(do: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """What is not timed may be done by several workers at the same time."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(do, items))


def _inputs(case: Case, directory: Path) -> Path:
    rng = np.random.default_rng(0)
    path = directory / f"D={case.event_size} C={case.condition_size} hidden={case.hidden} B={case.batch}.npz"
    np.savez(
        path,
        x=rng.normal(size=(case.batch, case.event_size)).astype(np.float32),
        conditional_input=rng.normal(size=(case.batch, case.condition_size)).astype(np.float32),
    )
    return path
