"""How much of the benchmark is run."""

from __future__ import annotations

import dataclasses

from benchmarks.case import BY_BATCH, BY_EVENT_SIZE, GOALS, Case


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Cases and repeats.

    Attributes:
      cases: of the contenders.
      seconds: of timing for each case.
      least_rounds: of turns of each contender, however slow.
      scoring_rows: of `score` and of the bare loop.
      dictionary_rows: of one dictionary for each row.
      scoring_repeats: of each way to score.
      served: flows that are exported and served; their batch is 1.
      serving_repeats: starts of a server with warm-up, and as many without.
    """

    cases: tuple[Case, ...]
    seconds: float
    least_rounds: int
    scoring_rows: int
    dictionary_rows: int
    scoring_repeats: int
    served: tuple[Case, ...]
    serving_repeats: int


_SERVED = tuple(dataclasses.replace(GOALS[i].case, batch=1) for i in (0, 2))
SUITES = {
    "full": Suite(
        cases=tuple(sorted({*BY_BATCH, *BY_EVENT_SIZE, *(goal.case for goal in GOALS)})),
        seconds=8,
        least_rounds=5,
        scoring_rows=5_000_000,
        dictionary_rows=200_000,
        scoring_repeats=3,
        served=_SERVED,
        serving_repeats=3,
    ),
    "quick": Suite(
        cases=tuple(sorted(goal.case for goal in GOALS)),
        seconds=3,
        least_rounds=2,
        scoring_rows=500_000,
        dictionary_rows=30_000,
        scoring_repeats=1,
        served=_SERVED[1:],
        serving_repeats=1,
    ),
}
