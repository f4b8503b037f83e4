"""One figure of the report: several values of one quantity, all from one run."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable

from benchmarks.case import Case


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Values of a quantity of a subject.

    Attributes:
      subject: what was measured: a contender, a way to score rows, a server.
      quantity: what of it, with its unit: `log_prob [s]`.
      case: the flow and the batch; `None` where it is the same for all.
      values: one for each turn, in the order of the turns.
    """

    subject: str
    quantity: str
    case: Case | None = None
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"{self.subject} has no values of {self.quantity}; expected at least one")

    @property
    def median(self) -> float:
        """The figure."""
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles, as a share of the median; 0 for a single value."""
        if len(self.values) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return (high - low) / (2 * self.median)


def find(
    measurements: Iterable[Measurement], subject: str, quantity: str, case: Case | None = None
) -> Measurement | None:
    """The measurement of a quantity, if there is one."""
    wanted = (subject, quantity, case)
    return next((m for m in measurements if (m.subject, m.quantity, m.case) == wanted), None)
