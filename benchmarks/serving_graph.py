"""`python -m benchmarks.serving_graph`: the exported functions beside TFP's and the dense products, in one process.

The lines of `python -m benchmarks` that have goals, and nothing else: quick to ask while one works on the graph.
"""

from __future__ import annotations

import argparse
import importlib

import numpy as np

from benchmarks.case import GOALS, Case
from benchmarks.interleaved import in_process, interleave
from benchmarks.measurement import Measurement
from benchmarks.tables import goal_table
from maf_serving.quiet_tensorflow import import_with_probability

LEAST_ROUNDS = 3


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving_graph", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="for each case (default 15)")
    parser.add_argument("--case", type=int, choices=range(len(GOALS)), help="only this one")
    arguments = parser.parse_args()
    import_with_probability()
    goals = GOALS if arguments.case is None else GOALS[arguments.case :][:1]
    measurements = [found for goal in goals for found in _measure(goal.case, arguments.seconds)]
    print(goal_table(measurements))


def _measure(case: Case, seconds: float) -> list[Measurement]:
    rng = np.random.default_rng(0)
    x, c = (rng.normal(size=(case.batch, size)).astype(np.float32) for size in (case.event_size, case.condition_size))
    turns = {}
    for name in ("exported", "tfp", "dense"):
        flow = importlib.import_module(f"benchmarks.contenders.{name}").build(case)
        turns[name, "log_prob [s]"] = in_process(flow.log_prob(x, c))
        if hasattr(flow, "sample"):
            turns[name, "sample [s]"] = in_process(flow.sample(c))
    for turn in turns.values():
        turn(2)  # traces and warms up
    times = interleave(turns, seconds=seconds, least_rounds=LEAST_ROUNDS)
    return [
        Measurement(subject=name, quantity=quantity, case=case, values=values)
        for (name, quantity), values in times.items()
    ]


if __name__ == "__main__":
    main()
