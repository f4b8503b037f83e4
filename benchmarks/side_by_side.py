"""Times functions in turn, so that a machine whose speed drifts slows all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping


def median_seconds(
    functions: Mapping[str, Callable[[], object]], *, seconds: float, least: int = 3
) -> dict[str, float]:
    """Median time of one call of each function, in seconds.

    Rounds of one call of each, after one round that does not count, until `seconds` have passed and `least` rounds are
    done. Functions that take longer than a tenth of the time are only called in the first `least` rounds.
    """
    for function in functions.values():
        function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    start = time.perf_counter()
    while time.perf_counter() - start < seconds or min(map(len, times.values())) < least:
        for name, function in functions.items():
            if len(times[name]) >= least and statistics.median(times[name]) > seconds / 10:
                continue
            before = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - before)
    return {name: statistics.median(values) for name, values in times.items()}
