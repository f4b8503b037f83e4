import math

import pytest

from maf_serving.page_numbers import (
    difference,
    duration,
    level,
    magnitude_labels,
    nats,
    number,
    percent,
    plural,
    tick_labels,
    with_error,
)


def plain(words):
    """With ordinary spaces and hyphens, to compare."""
    return words.replace("\u00a0", " ").replace("\u2212", "-").replace("\u00d7", "x")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (-0.0, "0"),
        (3.0, "3"),
        (1234.567, "1,235"),
        (9999.96, "10,000"),
        (0.99996, "1"),
        (-0.12345, "-0.1235"),
        (5e5, "500,000"),
        (1.5e9, "1,500,000,000"),
        (123456789.1, "123,456,789"),
        (0.00002, "0.00002"),
        (1.2345e-6, "0.000001234"),
        (2e-7, "2 x 10⁻⁷"),
        (-6.02214e23, "-6.022 x 10²³"),
        (math.inf, "\u221e"),
        (-math.inf, "-\u221e"),
        (math.nan, "\u2013"),
        (None, "\u2013"),
    ],
)
def test_numbers_are_written_as_people_write_them(value, words):
    assert plain(number(value)) == words


def test_digits_that_count():
    assert [number(1234.567, digits) for digits in (2, 6)] == ["1,235", "1,234.57"]
    assert number(0.033333, 3) == "0.0333"


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (2.87364, 0.00488, "2.8736 ± 0.0049"),
        (9.93061, 0.0836, "9.931 ± 0.084"),
        (16.1309, 0.5401, "16.13 ± 0.54"),
        (-123456.7, 45.2, "-123,457 ± 45"),
        (1.0, 0.0999, "1.000 ± 0.100"),
        (2.5, 1e-9, "2.500000 ± 0.000000"),
        (2.5, None, "2.5000"),
        (2.5, 0.0, "2.5000"),
        (2.5, math.nan, "2.5000"),
        (None, 0.1, "\u2013"),
        (-0.00001, 0.01, "0.000 ± 0.010"),
    ],
)
def test_an_error_says_how_many_decimals_count(value, error, words):
    assert plain(with_error(value, error)) == words


def test_differences_have_a_sign():
    assert plain(difference(0.4242, 0.01)) == "+0.424 ± 0.010"
    assert plain(difference(-0.4242)) == "-0.4242"
    assert nats(-1.00004) == "\u22121.0000"


@pytest.mark.parametrize(
    ("share", "words"),
    [(0.8613, "86.1 %"), (0, "0.0 %"), (1, "100.0 %"), (0.00002, "< 0.1 %"), (0.99999, "> 99.9 %"), (None, "\u2013")],
)
def test_almost_none_is_not_none_and_almost_all_is_not_all(share, words):
    assert plain(percent(share)) == words


def test_words_beside_numbers():
    assert [plain(level(share)) for share in (0.9, 0.999, 0.5)] == ["90 %", "99.9 %", "50 %"]
    assert [plural(count, "row") for count in (0, 1, 4000)] == ["0 rows", "1 row", "4,000 rows"]
    assert [duration(seconds) for seconds in (9.6, 600, 9000)] == ["10 seconds", "10 minutes", "2.5 hours"]


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([0, 2, 4], ["0", "2", "4"]),
        ([-0.1, 0.0, 0.1], ["-0.1", "0", "0.1"]),
        ([0, 50_000, 100_000], ["0", "50,000", "100,000"]),
        ([0, 2e6, 4e6], ["0", "2 M", "4 M"]),
        ([0, 5e5, 1e6, 1.5e6], ["0", "0.5 M", "1.0 M", "1.5 M"]),
        ([1_000_000, 1_000_200], ["1.0000 M", "1.0002 M"]),
        ([0, 1e10, 2e10], ["0", "10 bn", "20 bn"]),
        ([0.001, 0.002], ["0.001", "0.002"]),
        ([0, 2e-8, 4e-8], ["0", "2 x 10⁻⁸", "4 x 10⁻⁸"]),
        ([1e17, 2e17], ["1 x 10¹⁷", "2 x 10¹⁷"]),
        ([0], ["0"]),
        ([], []),
    ],
)
def test_ticks_have_one_unit_and_the_digits_that_tell_them_apart(ticks, labels):
    assert [plain(words) for words in tick_labels(ticks)] == labels


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([1, 10, 100, 1_000], ["1", "10", "100", "1,000"]),
        ([0.001, 0.01, 0.1], ["0.001", "0.01", "0.1"]),
        ([100, 10_000, 1_000_000], ["100", "10 k", "1 M"]),
        ([20, 50, 100], ["20", "50", "100"]),
        ([1e-9, 1e-8], ["10⁻⁹", "10⁻⁸"]),
        ([2e-9], ["2 x 10⁻⁹"]),
        ([1e12, 1e16], ["1 tn", "10¹⁶"]),
    ],
)
def test_magnitudes_are_written_as_people_write_them(ticks, labels):
    assert [plain(words) for words in magnitude_labels(ticks)] == labels
