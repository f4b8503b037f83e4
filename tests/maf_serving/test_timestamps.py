import calendar
import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from maf_serving.arrow_columns import Fault
from maf_serving.time_parts import CYCLES, DAY, encode_time, in_words, part_names
from maf_serving.timestamps import to_seconds

UTC = dt.timezone.utc
NOON = dt.datetime(2024, 2, 29, 12, 30, tzinfo=UTC).timestamp()


def by_datetime(moment):
    """What the standard library says of a point in time: the turn of each cycle."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    year_days = 365 + calendar.isleap(moment.year)
    return {
        "hour": (moment - midnight) / dt.timedelta(days=1),
        "weekday": moment.weekday() / 7,
        "day": (moment.day - 1) / calendar.monthrange(moment.year, moment.month)[1],
        "month": (moment.month - 1) / 12,
        "yearday": (moment.timetuple().tm_yday - 1) / year_days,
    }


@given(
    st.datetimes(min_value=dt.datetime(1, 1, 1), max_value=dt.datetime(9999, 12, 31, 23, 59, 59)),
    st.sampled_from([0.0, 1_709_251_200.0, -86_400.0]),
)
@example(dt.datetime(1900, 3, 1), 0.0)
@example(dt.datetime(2000, 2, 29, 23, 59, 59, 999_999), 0.0)
@example(dt.datetime(1969, 12, 31, 23, 59, 59), 0.0)
@example(dt.datetime(2023, 12, 31), 1_709_251_200.0)
def test_the_parts_are_those_of_the_standard_library(naive, origin):
    moment = naive.replace(tzinfo=UTC, microsecond=naive.microsecond // 15_625 * 15_625)  # 64ths, which floats have
    seconds = (moment - dt.datetime(1970, 1, 1, tzinfo=UTC)) / dt.timedelta(seconds=1)
    *entries, days = (
        float(each[0]) for each in encode_time(np.array([seconds - origin]), (*CYCLES, "trend"), origin, np)
    )
    for part, sin, cos in zip(CYCLES, entries[::2], entries[1::2], strict=True):
        angle = 2 * math.pi * by_datetime(moment)[part]
        assert (sin, cos) == pytest.approx((math.sin(angle), math.cos(angle)), abs=1e-6), part
    assert days == pytest.approx((seconds - origin) / DAY)


def test_every_day_of_four_centuries():
    days = np.arange(-80_000, 70_000)
    parts = ("weekday", "day", "month", "yearday")
    entries = encode_time(days * DAY, parts, 0.0, np)
    first = dt.date(1970, 1, 1)
    expected = [by_datetime(dt.datetime.combine(first + dt.timedelta(int(d)), dt.time())) for d in days]
    for index, part in enumerate(parts):
        turns = np.array([each[part] for each in expected])
        np.testing.assert_allclose(entries[2 * index], np.sin(2 * np.pi * turns), atol=1e-9)
        np.testing.assert_allclose(entries[2 * index + 1], np.cos(2 * np.pi * turns), atol=1e-9)


@pytest.mark.parametrize(
    ("column", "seconds"),
    [
        (pa.array([dt.date(2024, 2, 29), None]), NOON - 12.5 * 3600),
        (pa.array([dt.date(2024, 2, 29), None]).cast(pa.date64()), NOON - 12.5 * 3600),
        (pa.array([dt.datetime(2024, 2, 29, 12, 30), None], pa.timestamp("s")), NOON),
        (pa.array([dt.datetime(2024, 2, 29, 12, 30), None], pa.timestamp("ns")), NOON),
        (pa.array([dt.datetime(2024, 2, 29, 12, 30, tzinfo=UTC), None], pa.timestamp("us", "Asia/Tokyo")), NOON),
        (pa.array(["2024-02-29T12:30:00.5Z", None]), NOON + 0.5),
        (pa.array(["2024-02-29 14:30+02:00", ""]), NOON),
        (pa.array(["2024-02-29T12:30:00.123456789", " "]), NOON + 0.123456),
        (pa.array(["2024-02-29T07:00:00-0530", None]).dictionary_encode(), NOON),
        (pa.array([b"2024-02-29", None]), NOON - 12.5 * 3600),
        (pa.array([int(NOON), None]), NOON),
        (pa.array([str(int(NOON)), None]), NOON),
        (pa.array([NOON + 0.25, None]), NOON + 0.25),
    ],
    ids=str,
)
def test_what_a_table_can_hold(column, seconds):
    read = to_seconds(column)
    assert read.values[0] == pytest.approx(seconds, abs=1e-6)
    assert np.isnan(read.values[1])
    assert read.faults[Fault.NULL].tolist() == [False, True]
    assert not any(mask.any() for fault, mask in read.faults.items() if fault is not Fault.NULL)


@pytest.mark.parametrize(
    "text", ["2024-02-30", "29.2.2024", "2024-02-29T25:00", "soon", "2024-02-29Z", "1e30", "20240229T1230"]
)
def test_what_is_no_point_in_time(text):
    read = to_seconds(pa.array([text, "2024-02-29"]))
    assert np.isnan(read.values[0])
    assert read.values[1] == NOON - 12.5 * 3600
    assert read.faults[Fault.NOT_A_TIME].tolist() == [True, False]


def test_numbers_that_are_none():
    read = to_seconds(pa.array([np.nan, np.inf, 1e300, 0.0]))
    assert [fault for fault, mask in read.faults.items() if mask.any()] == [Fault.NAN, Fault.INFINITE, Fault.NOT_A_TIME]
    assert read.values[3] == 0


def test_entries_are_named_for_what_they_are():
    assert part_names("t", ("weekday", "trend"), -DAY) == ("t weekday sin", "t weekday cos", "t days since 1969-12-31")
    assert in_words(NOON) == "2024-02-29T12:30:00Z"
    assert in_words(1e300) == "1e+300 s"
