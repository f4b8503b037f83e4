"""Counters and histograms under the names that TensorFlow Serving exports to Prometheus."""

from __future__ import annotations

import bisect
import threading
from collections.abc import Sequence

REQUEST_COUNT = ":tensorflow:serving:request_count"
REQUEST_LATENCY = ":tensorflow:serving:request_latency"
RUNTIME_LATENCY = ":tensorflow:serving:runtime_latency"
GRAPH_RUNS = ":tensorflow:core:graph_runs"
GRAPH_RUN_TIME = ":tensorflow:core:graph_run_time_usecs"
LOAD_ATTEMPTS = ":tensorflow:cc:saved_model:load_attempt_count"
LOAD_LATENCY = ":tensorflow:cc:saved_model:load_latency"

_COUNTERS = (GRAPH_RUNS, GRAPH_RUN_TIME, LOAD_ATTEMPTS, LOAD_LATENCY, REQUEST_COUNT)
_HISTOGRAMS = (REQUEST_LATENCY, RUNTIME_LATENCY)
_BUCKETS = [10 * 1.8**power for power in range(33)]  # microseconds, to twenty minutes

_MOST_SERIES = 1000  # of one metric: clients choose the model name that is counted

Labels = tuple[tuple[str, str], ...]


class Metrics:
    """What the server has done so far; all methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, int]] = {name: {} for name in _COUNTERS}
        self._histograms: dict[str, dict[Labels, list[float]]] = {name: {} for name in _HISTOGRAMS}

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Adds to a counter."""
        key = tuple(labels.items())
        with self._lock:
            values = self._counts[name]
            if key in values or len(values) < _MOST_SERIES:
                values[key] = values.get(key, 0) + amount

    def observe(self, name: str, seconds: float, **labels: str) -> None:
        """Adds a duration to a histogram of microseconds."""
        microseconds = seconds * 1e6
        key = tuple(labels.items())
        with self._lock:
            series = self._histograms[name]
            if key not in series and len(series) >= _MOST_SERIES:
                return
            values = series.setdefault(key, [0.0] * (len(_BUCKETS) + 2))  # counts, then the sum
            values[bisect.bisect_left(_BUCKETS, microseconds)] += 1
            values[-1] += microseconds

    def to_text(self) -> str:
        """Everything in Prometheus's text format."""
        lines: list[str] = []
        with self._lock:
            for name, counters in self._counts.items():
                lines += [f"# TYPE {name} counter"] if counters else []
                lines += [f"{name}{{{_labels(labels)}}} {value}" for labels, value in counters.items()]
            for name, histograms in self._histograms.items():
                lines += [f"# TYPE {name} histogram"] if histograms else []
                for labels, values in histograms.items():
                    lines += _histogram(name, _labels(labels), values)
        return "\n".join(lines) + "\n"


def _histogram(name: str, labels: str, values: Sequence[float]) -> list[str]:
    lines = []
    total = 0
    for limit, count in zip([*(f"{bucket:.6g}" for bucket in _BUCKETS), "+Inf"], values[:-1], strict=True):
        total += int(count)
        lines.append(f'{name}_bucket{{{labels}{"," if labels else ""}le="{limit}"}} {total}')
    return [*lines, f"{name}_sum{{{labels}}} {values[-1]:.10g}", f"{name}_count{{{labels}}} {total}"]


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
