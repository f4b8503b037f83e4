"""A linear axis of a plot: from values to places, and where its ticks are."""

from __future__ import annotations

import dataclasses
import math

_STEPS = (1, 2, 5, 10)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Values from `low` to `high`, drawn from `start` to `end`, which may lie the other way round."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value is drawn."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[float]:
        """About that many round values within the axis."""
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(each * power for each in _STEPS if each * power >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) for index in range(first, last + 1)]


def widen(low: float, high: float) -> tuple[float, float]:
    """The same ends, or a range around them if they are one."""
    if high > low:
        return low, high
    margin = max(abs(low), 1.0) * 0.01
    return low - margin, high + margin
