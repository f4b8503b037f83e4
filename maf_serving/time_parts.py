"""What a model can learn of a point in time: where it lies in the day, the week, the month and the year, and the trend.

A place in a cycle is an angle, and enters as its sine and cosine, so that midnight is beside 23:59 and December beside
January. All is in UTC.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import Any

DAY = 86_400.0
START, END = -62_135_596_800.0, 253_402_300_800.0  # of the years 1 to 9999, in seconds since 1970
CYCLES = ("hour", "weekday", "day", "month", "yearday")
TREND = "trend"
PARTS = (*CYCLES, TREND)


def read_parts(items: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Parts by column, as a list says them.

        >>> read_parts(["sold=hour", "trend", "due=month"])
        {'sold': ('hour', 'trend'), 'due': ('month',)}

    Args:
      items: of which those after COLUMN=PART are more parts of the same column.

    Raises:
      ValueError: they are none; the message says so of what has them.
    """
    parts: dict[str, tuple[str, ...]] = {}
    for item in items:
        name, equals, part = item.rpartition("=")
        if (equals and (not name or name in parts)) or not (equals or parts):
            raise ValueError(f"has {item!r}; expected COLUMN=PART,... once a column, as in when=hour,trend")
        name = name if equals else next(reversed(parts))
        parts[name] = (*parts.get(name, ()), part)
    for name, each in parts.items():
        if set(each) - set(PARTS) or len(set(each)) < len(each):
            raise ValueError(f"has {name}={','.join(each)}; expected some of {', '.join(PARTS)}, each once")
    return parts


def in_words(seconds: float) -> str:
    """The point in time, for people: a date at midnight, else with the time of day, UTC.

    >>> in_words(1_709_296_200.0), in_words(0.0)
    ('2024-03-01T12:30:00Z', '1970-01-01')
    """
    if not START <= seconds < END:
        return f"{seconds:g} s"
    whole = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=math.floor(seconds))
    return whole.date().isoformat() if seconds % DAY == 0 else f"{whole.isoformat()}Z"


def part_names(name: str, parts: Sequence[str], origin: float) -> tuple[str, ...]:
    """Names of the entries that `encode_time` makes of a column.

    >>> part_names("when", ("hour", "trend"), 1_709_251_200.0)
    ('when hour sin', 'when hour cos', 'when days since 2024-03-01')
    """
    return tuple(
        each
        for part in parts
        for each in (
            (f"{name} days since {in_words(origin)}",)
            if part == TREND
            else (f"{name} {part} sin", f"{name} {part} cos")
        )
    )


def encode_time(elapsed: Any, parts: Sequence[str], origin: float, xp: Any) -> list[Any]:
    """What a model sees of points in time: sine and cosine of their place in each cycle, and the days that passed.

    The hour goes round with the time of day, fractions included. The others stand still for a day (weekday, day of the
    month, day of the year) or a month, and a month or year is once round whatever its length.

        >>> import numpy as np
        >>> [each.round(6).tolist() for each in encode_time(np.array([6 * 3600.0]), ("hour", "trend"), 0.0, np)]
        [[1.0], [0.0], [0.25]]

    Args:
      elapsed: float64 `[B]`, seconds since `origin`.
      parts: of `PARTS`.
      origin: in seconds since 1970, UTC.
      xp: `numpy` or `tensorflow`: the arithmetic is the same.

    Returns:
      float64 `[B]` for each of `part_names`; NaN where `elapsed` is.
    """
    seconds = elapsed + origin
    days = xp.floor(seconds / DAY)
    # a compiler may multiply by a reciprocal instead: a rounding away from midnight is the day before
    past = seconds - days * DAY
    days = days + xp.where(
        past >= DAY, xp.ones_like(days), xp.where(past < 0, -xp.ones_like(days), xp.zeros_like(days))
    )
    turns = {"hour": (seconds - days * DAY) / DAY, "weekday": (days + 3) % 7 / 7}  # 1970 began on a Thursday
    if not {"day", "month", "yearday"}.isdisjoint(parts):
        turns |= _calendar(days, xp)
    entries = []
    for part in parts:
        if part == TREND:
            entries.append(elapsed / DAY)
        else:
            entries += [xp.sin(2 * math.pi * turns[part]), xp.cos(2 * math.pi * turns[part])]
    return entries


def _calendar(days: Any, xp: Any) -> dict[str, Any]:
    """Places `[B]`, from 0 to below 1, in the cycles of months and years, of days since 1970.

    Years are counted from March, so that the leap day is their last, in eras of 400 years that are all alike
    (Hinnant 2013, "chrono-compatible low-level date algorithms").
    """
    shifted = days + 719_468  # days since March 1 of the year 0
    era = _quotient(shifted, 146_097, xp)
    day_of_era = shifted - era * 146_097
    leap = _quotient(day_of_era, 1_460, xp) - _quotient(day_of_era, 36_524, xp) + _quotient(day_of_era, 146_096, xp)
    year_of_era = _quotient(day_of_era - leap, 365, xp)
    leap_days = _quotient(year_of_era, 4, xp) - _quotient(year_of_era, 100, xp)
    from_march = day_of_era - (365 * year_of_era + leap_days)
    month_from_march = _quotient(5 * from_march + 2, 153, xp)
    first_of_month = _quotient(153 * month_from_march + 2, 5, xp)
    next_month = _quotient(153 * month_from_march + 155, 5, xp)
    is_late = month_from_march >= 10  # January and February, of the next year
    year = era * 400 + year_of_era + xp.where(is_late, xp.ones_like(days), xp.zeros_like(days))
    leap_day = _is_leap(year, xp)
    length = xp.where(month_from_march == 11, 28 + leap_day, next_month - first_of_month)
    yearday = xp.where(is_late, from_march - 306, from_march + 59 + leap_day)
    return {
        "day": (from_march - first_of_month) / length,
        "month": (month_from_march + 2) % 12 / 12,
        "yearday": yearday / (365 + leap_day),
    }


def _quotient(dividend: Any, divisor: int, xp: Any) -> Any:
    """How often the divisor goes into whole numbers, also where a compiler multiplies by its reciprocal."""
    return xp.floor((dividend + 0.5) / divisor)


def _is_leap(year: Any, xp: Any) -> Any:
    """1 for a leap year, else 0; float64 `[B]`."""
    none, one = xp.zeros_like(year), xp.ones_like(year)
    every_fourth = xp.where(year % 4 == 0, one, none)
    return xp.where(year % 100 == 0, xp.where(year % 400 == 0, one, none), every_fourth)
