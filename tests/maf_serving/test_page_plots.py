import re

import pytest

from maf_serving.page_numbers import MINUS
from maf_serving.page_plots import Axis, bars, bottom_axis, steps, widen


def labels(low, high, count=4, scale="linear"):
    return [
        words.replace("\u00a0", " ") for _, words in Axis(low=low, high=high, start=0, end=1, scale=scale).labels(count)
    ]


def test_a_linear_axis_places_values_either_way_round():
    axis = Axis(low=-1.3, high=4.1, start=100, end=0)
    assert (axis.place(-1.3), axis.place(4.1)) == (100, 0)
    assert axis.holds(0)
    assert not axis.holds(5)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-1.3, 4.1, ["0", "2", "4"]),
        (0.1, 0.42, ["0.1", "0.2", "0.3", "0.4"]),
        (5.6, 14.2, ["6", "8", "10", "12", "14"]),
        (0, 4e7, ["0", "10 M", "20 M", "30 M", "40 M"]),
        (-5, 5, [f"{MINUS}4", f"{MINUS}2", "0", "2", "4"]),
        (2e-9, 7e-9, ["2 × 10⁻⁹", "4 × 10⁻⁹", "6 × 10⁻⁹"]),  # noqa: RUF001  # a sign of multiplication is meant
    ],
)
def test_a_linear_axis_has_round_ticks(low, high, expected):
    assert labels(low, high) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.7, 1_400, ["1", "10", "100", "1,000"]),
        (0.002, 30, ["0.01", "0.1", "1", "10"]),
        (30, 3e6, ["100", "1 k", "10 k", "100 k", "1 M"]),
        (25, 480, ["50", "100", "200"]),
        (1e-9, 1e9, ["10⁻⁸", "0.0001", "1", "10 k", "100 M"]),
        (101, 148, ["110", "120", "130", "140"]),
    ],
)
def test_a_log_axis_has_the_ticks_that_people_write(low, high, expected):
    assert labels(low, high, scale="log") == expected


@pytest.mark.parametrize(("low", "high"), [(10.0**a, 10.0**b) for a in range(-9, 9) for b in range(a + 1, 10)])
@pytest.mark.parametrize("scale", ["linear", "log"])
def test_ticks_are_within_the_axis_and_few(low, high, scale):
    axis = Axis(low=low * 0.9, high=high * 1.1, start=0, end=300, scale=scale)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(-0.01 < axis.place(tick) < 300.01 for tick in ticks)
    written = [words for _, words in axis.labels()]
    assert len(set(written)) == len(written)
    assert not any(re.search(r"\de[+-]?\d", words) for words in written)


def test_equal_ratios_are_equally_far_apart_on_a_log_axis():
    axis = Axis(low=1, high=10_000, start=0, end=100, scale="log")
    assert [axis.place(value) for value in (1, 10, 100, 10_000)] == pytest.approx([0, 25, 50, 100])
    assert axis.small_ticks()[:9] == pytest.approx([2, 3, 4, 5, 6, 7, 8, 9, 20])
    assert Axis(low=1, high=10_000, start=0, end=100).small_ticks() == []
    words = [part.text for part in bottom_axis(axis, 10, "price") if part.tag == "text"]
    assert words[-1] == "price, log scale"


@pytest.mark.parametrize("low", [0.0, -1.0, float("nan")])
def test_a_log_axis_starts_at_a_positive_number(low):
    with pytest.raises(ValueError, match="expected a positive number"):
        Axis(low=low, high=10, start=0, end=1, scale="log")


def test_ends_that_are_one_value_get_room():
    assert widen(3.0, 3.0) == pytest.approx((2.97, 3.03))
    assert widen(0.0, 1.0) == pytest.approx((-0.04, 1.04))


def test_histograms_are_outlines_or_bars_that_say_what_they_hold():
    x, y = Axis(low=0, high=2, start=0, end=200), Axis(low=0, high=1, start=100, end=0)
    assert steps([0, 1, 2], [0.25, 0.75], x, y) == [(0, 100), (0, 75), (100, 75), (100, 25), (200, 25), (200, 100)]
    first, _ = bars([0, 1, 2], [0.25, 0.75], x, y)
    assert first.find("title").text == "0 to 1: 25.0\u00a0% of the rows"
    assert (first.get("height"), first.get("y")) == ("25", "75")
