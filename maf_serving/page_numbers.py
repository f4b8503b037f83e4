r"""How numbers are written where a person reads them: never `5e+05`.

>>> number(500000), number(0.000123456), number(3.0)
('500,000', '0.0001235', '3')
>>> with_error(2.87364, 0.00488)
'2.8736\xa0±\xa00.0049'
>>> percent(0.8613), percent(0.00002)
('86.1\xa0%', '<\xa00.1\xa0%')
>>> tick_labels([0, 500000, 1000000])
['0', '0.5\xa0M', '1.0\xa0M']
"""

from __future__ import annotations

import math
from collections.abc import Sequence

SPACE = "\u00a0"  # a number and its unit stay in one line
TIMES = f"{SPACE}\u00d7{SPACE}"
MINUS = "\u2212"
UNKNOWN = "\u2013"
INFINITE = "\u221e"
LEAST, MOST = 1e-6, 1e15  # beyond, a power of ten is easier to read
FINEST = 6  # decimals that an error asks for at most
UNITS = ((1e12, "tn"), (1e9, "bn"), (1e6, "M"), (1e3, "k"))
COMPACT_FROM = 1e6
_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def number(value: float | None, digits: int = 4) -> str:
    """`digits` digits that count, all digits before the point, thousands apart."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return _signed(value, INFINITE)
    if value == 0:
        return "0"
    size = abs(value)
    if not LEAST <= size < MOST:
        return _signed(value, _power_of_ten(size, digits))
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return _signed(value, _without_zeros(f"{size:,.{decimals}f}"))


def fixed(value: float | None, decimals: int) -> str:
    """A number beside others of its kind: as many decimals as they have."""
    if value is None or not math.isfinite(value) or abs(value) >= MOST:
        return number(value)
    return _signed(round(value, decimals), f"{abs(value):,.{decimals}f}")


def nats(value: float | None) -> str:
    """Four decimals."""
    return fixed(value, 4)


def with_error(value: float | None, error: float | None) -> str:
    """A mean and its standard error: two digits of the error count, and the mean has no more decimals than it."""
    if value is None or not math.isfinite(value):
        return number(value)
    if error is None or not math.isfinite(error) or error <= 0:
        return nats(value)
    decimals = min(max(0, 1 - math.floor(math.log10(error))), FINEST)
    return f"{fixed(value, decimals)}{SPACE}±{SPACE}{fixed(error, decimals)}"


def difference(value: float, error: float | None = None) -> str:
    """The same with its sign before it, a plus as well."""
    return ("+" if value > 0 else "") + with_error(value, error)


def percent(share: float | None, decimals: int = 1) -> str:
    """A share as percent. What is not quite none, or not quite all, is not written as none or all."""
    if share is None or not math.isfinite(share):
        return UNKNOWN
    finest = 10.0**-decimals
    if 0 < 100 * share < finest / 2:
        return f"<{SPACE}{finest:.{decimals}f}{SPACE}%"
    if 100 - finest / 2 < 100 * share < 100:
        return f">{SPACE}{100 - finest:.{decimals}f}{SPACE}%"
    return f"{fixed(100 * share, decimals)}{SPACE}%"


def level(share: float) -> str:
    """A share that was chosen: `90 %`, `99.9 %`."""
    return f"{number(100 * share)}{SPACE}%"


def duration(seconds: float) -> str:
    """In the unit that suits."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def plural(count: int, noun: str) -> str:
    """`1 row`, `4,000 rows`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """What to write at ticks of one distance: as many digits as tell them apart, all in one unit."""
    largest = max((abs(tick) for tick in ticks), default=0.0)
    if largest == 0:
        return ["0" for _ in ticks]
    step = ticks[1] - ticks[0] if len(ticks) > 1 else largest
    unit, suffix = next(((u, SPACE + s) for u, s in UNITS if largest >= max(u, COMPACT_FROM)), (1.0, ""))
    if largest >= MOST or largest < LEAST * 10:
        power = math.floor(math.log10(largest))
        unit, suffix = 10.0**power, f"{TIMES}{_ten(power)}"
    decimals = max(0, -math.floor(math.log10(step / unit) + 1e-9))
    return ["0" if tick == 0 else fixed(tick / unit, decimals) + suffix for tick in ticks]


def magnitude_labels(ticks: Sequence[float]) -> list[str]:
    """What to write at ticks of a log axis, which are positive: `1`, `10`, `100`; or `1 k`, `10 k` up to millions."""
    short = max(ticks, default=0.0) >= COMPACT_FROM
    return [_magnitude(tick, UNITS if short else ()) for tick in ticks]


def _magnitude(tick: float, units: Sequence[tuple[float, str]]) -> str:
    if LEAST * 10 * (1 - 1e-9) <= tick < MOST:
        unit, suffix = next(((u, SPACE + s) for u, s in units if tick >= u * (1 - 1e-9)), (1.0, ""))
        return number(tick / unit) + suffix
    power = math.floor(math.log10(tick) + 1e-9)
    mantissa = number(tick / 10.0**power, 2)
    return _ten(power) if mantissa == "1" else f"{mantissa}{TIMES}{_ten(power)}"


def _power_of_ten(size: float, digits: int) -> str:
    mantissa, _, power = f"{size:.{digits - 1}e}".partition("e")
    return f"{_without_zeros(mantissa)}{TIMES}{_ten(int(power))}"


def _ten(power: int) -> str:
    return "10" + str(power).translate(_SUPERSCRIPTS)


def _without_zeros(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _signed(value: float, digits: str) -> str:
    return MINUS + digits if value < 0 else digits
