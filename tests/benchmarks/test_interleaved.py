import statistics

import pytest

from benchmarks.interleaved import interleave
from benchmarks.measurement import Measurement


class Clock:
    """Seconds that pass only when a turn takes them."""

    def __init__(self):
        self.now = 0.0
        self.turns = []

    def turn(self, name, seconds):
        def run(calls):
            self.turns.append(name)
            taken = [seconds] * calls
            self.now += sum(taken)
            return taken

        return run

    def __call__(self):
        return self.now


def test_every_round_gives_each_function_one_turn_and_a_slow_one_only_the_first_rounds():
    clock = Clock()
    turns = {"quick": clock.turn("quick", 0.001), "other": clock.turn("other", 0.002), "slow": clock.turn("slow", 1.0)}
    times = interleave(turns, seconds=8.0, least_rounds=3, clock=clock)
    assert len(times["slow"]) == 3
    assert len(times["quick"]) == len(times["other"]) > 50
    assert {statistics.median(values) for values in times.values()} == {0.001, 0.002, 1.0}
    rounds = clock.turns[3:12]  # after the calls that found out how long each takes
    assert all(sorted(rounds[i : i + 3]) == ["other", "quick", "slow"] for i in (0, 3, 6))
    assert clock.now >= 8.0


def test_the_least_rounds_are_done_even_if_the_time_is_over():
    clock = Clock()
    times = interleave({"slow": clock.turn("slow", 5.0)}, seconds=0.1, least_rounds=4, clock=clock)
    assert times == {"slow": (5.0,) * 4}


def test_a_measurement_is_a_median_and_half_the_distance_of_the_quartiles():
    found = Measurement(subject="tfp", quantity="log_prob [s]", values=(1.0, 2.0, 3.0, 4.0, 100.0))
    assert (found.median, found.spread) == (3.0, pytest.approx(1 / 3))
    assert Measurement(subject="tfp", quantity="log_prob [s]", values=(2.0,)).spread == 0
    with pytest.raises(ValueError, match="no values"):
        Measurement(subject="tfp", quantity="log_prob [s]", values=())
