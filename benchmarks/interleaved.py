"""Times things in turn, so that a machine whose speed drifts slows all of them alike."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Turn = Callable[[int], list[float]]

TURN_SECONDS = 0.02  # of one function, before the next has its turn
MOST_CALLS = 50


def interleave(
    turns: Mapping[Key, Turn], *, seconds: float, least_rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[Key, tuple[float, ...]]:
    """Times of one call, for each turn of each function.

    A round gives each function a turn, in another order each time; a turn makes several calls if they are short, and
    counts as their median. Rounds go on until `seconds` have passed and `least_rounds` are done. A function whose turn
    takes longer than a tenth of the time only has its turn in the first `least_rounds`.

    Args:
      turns: from a number of calls to the seconds that each took. Whoever makes them warms up before.
      seconds: for all together.
      least_rounds: at least 1.
      clock: in seconds.
    """
    calls = {name: _calls(turn) for name, turn in turns.items()}
    times: dict[Key, list[float]] = {name: [] for name in turns}
    order, shuffle = list(turns), random.Random(0).shuffle  # noqa: S311  # no secret
    start = clock()
    while True:
        shuffle(order)
        for name in order:
            mine = times[name]
            if len(mine) < least_rounds or statistics.median(mine) * calls[name] <= seconds / 10:
                mine.append(statistics.median(turns[name](calls[name])))
        if clock() - start >= seconds and min(map(len, times.values())) >= least_rounds:
            return {name: tuple(values) for name, values in times.items()}


def in_process(function: Callable[[], object]) -> Turn:
    """The turn of a function of this process."""

    def turn(calls: int) -> list[float]:
        return [_seconds(function) for _ in range(calls)]

    return turn


def _seconds(function: Callable[[], object]) -> float:
    before = time.perf_counter()
    function()
    return time.perf_counter() - before


def _calls(turn: Turn) -> int:
    """How many fit in a turn, by one that does not count."""
    (once,) = turn(1)
    return max(1, min(MOST_CALLS, round(TURN_SECONDS / max(once, 1e-9))))
