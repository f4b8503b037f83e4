"""`python -m benchmarks.answers`: what an exact quantile costs beside a log-density, and a summary beside its draws.

Both pairs take turns in one process. The flows are those that `maf-serving train` makes by default, with weights of
their own: one event column for the quantile, eight for the summary, four conditions.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.interleaved import in_process, interleave
from maf_serving.quiet_tensorflow import import_with_probability

MOST_QUANTILE = 6.0
MOST_SUMMARY = 1.2
CONDITIONS = 4
ROWS = (1, 16, 1024)
SUMMARIZED = (1, 16)
Run = Callable[[str, Mapping[str, Any]], object]


def main() -> int:
    """Prints the ratios; exit status 1 if one is beyond its bound."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.answers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=4, help="for each pair (default %(default)s)")
    seconds = parser.parse_args().seconds
    import_with_probability()
    ratios = [
        *((f"quantile / log_prob, D = 1, {rows} rows", _quantile(rows, seconds), MOST_QUANTILE) for rows in ROWS),
        *((f"summarize / its draws, D = 8, {rows} rows", _summary(rows, seconds), MOST_SUMMARY) for rows in SUMMARIZED),
    ]
    for name, ratio, most in ratios:
        print(f"{name:<40} {ratio:5.2f}   at most {most:g}")
    return int(any(ratio > most for _, ratio, most in ratios))


def _quantile(rows: int, seconds: float) -> float:
    rng = np.random.default_rng(0)
    condition = {"conditional_input": rng.normal(size=(rows, CONDITIONS)).astype(np.float32)}
    run, _ = _model(1)
    x = rng.normal(size=(rows, 1)).astype(np.float32)
    probability = rng.uniform(0.1, 0.9, rows).astype(np.float32)
    return _ratio(
        lambda: run("quantile", {"probability": probability, **condition}),
        lambda: run("log_prob", {"x": x, **condition}),
        seconds,
    )


def _summary(rows: int, seconds: float) -> float:
    run, draws = _model(8)
    condition = np.random.default_rng(0).normal(size=(rows, CONDITIONS)).astype(np.float32)
    each, seeds = condition.repeat(draws, axis=0), np.arange(rows * draws)
    return _ratio(
        lambda: run("summarize", {"seed": np.arange(rows), "conditional_input": condition}),
        lambda: run("sample_with_seed", {"seed": seeds, "conditional_input": each}),
        seconds,
    )


def _ratio(dear: Callable[[], object], cheap: Callable[[], object], seconds: float) -> float:
    for function in (dear, cheap):
        function()  # the first call prepares the graph
    times = interleave({"dear": in_process(dear), "cheap": in_process(cheap)}, seconds=seconds, least_rounds=5)
    return statistics.median(times["dear"]) / statistics.median(times["cheap"])


def _model(event_size: int) -> tuple[Run, int]:
    """A flow's functions, and the draws of a summary."""
    from export.saved_model import functions_in_process  # noqa: PLC0415  # TensorFlow
    from export.source import SUMMARY_DRAWS, TrainedModel  # noqa: PLC0415
    from maf.config import FlowConfig  # noqa: PLC0415
    from maf.flow import build_flow  # noqa: PLC0415
    from maf_serving.columns import as_condition_columns  # noqa: PLC0415
    from maf_serving.saved_model import LoadedModel  # noqa: PLC0415

    model = TrainedModel(
        distribution=build_flow(FlowConfig(event_size=event_size, condition_size=CONDITIONS)),
        event_columns=tuple(f"x{i}" for i in range(event_size)),
        condition_columns=as_condition_columns([f"c{i}" for i in range(CONDITIONS)]),
    )
    return LoadedModel(functions_in_process(model)).run, SUMMARY_DRAWS


if __name__ == "__main__":
    sys.exit(main())
