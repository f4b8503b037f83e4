"""What is shown of latencies is what is on top of the empty model."""

from __future__ import annotations

from benchmarks.latency import Figures, measure, table


def figures(p50):
    return Figures(p50=p50, p99=2 * p50, cpu=p50)


def test_a_line_says_what_is_on_top_of_the_empty_model_and_its_ratios():
    found = {
        ("empty", "log_prob", 1): figures(0.5),
        ("exported", "log_prob", 1): figures(0.6),
        ("tfp", "log_prob", 1): figures(0.9),
        ("straight", "log_prob", 1): figures(0.7),
        ("empty", "sample_with_seed", 1): figures(0.5),
        ("exported", "sample_with_seed", 1): figures(0.8),
        ("tfp", "sample_with_seed", 1): figures(1.5),
    }
    lines = table("a flow", found).splitlines()
    assert "| rows | empty | exported: p50, p99, CPU | tfp: p50, p99, CPU | straight: p50, p99, CPU " in lines[4]
    assert lines[6].startswith("| 1 | 0.500 | 0.100, 0.200, 0.100 | 0.400, 0.800, 0.400 | 0.200, 0.400, 0.200 |")
    assert lines[6].endswith("| 0.25 | 0.50 |  |")
    assert lines[-1].endswith("| 0.30 |  | 3.00 |")


def test_every_call_is_timed_in_turns():
    made = []
    calls = {("empty", "log_prob", 1): lambda: made.append(1), ("exported", "log_prob", 1): lambda: made.append(2)}
    measured = measure(calls, seconds=0.05)
    assert measured.keys() == calls.keys()
    assert {1, 2} == set(made)
    assert all(figure.p99 >= figure.p50 > 0 for figure in measured.values())
