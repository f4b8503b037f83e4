"""What is timed: flows of five affine layers, and batches of rows for them."""

from __future__ import annotations

import dataclasses

LAYERS = 5  # of every flow; two hidden layers each


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Case:
    """A flow p(x | c) and a number of rows.

    Attributes:
      event_size: D, columns of `x`.
      condition_size: C, columns of `conditional_input`.
      hidden: units of each of the two hidden layers.
      batch: B, rows.
    """

    event_size: int
    condition_size: int
    hidden: int
    batch: int

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value < 1:
                raise ValueError(f"{field.name} is {value}; expected at least 1")

    @property
    def flow(self) -> tuple[int, int, int]:
        """D, C and hidden units: what cases of one flow have in common."""
        return self.event_size, self.condition_size, self.hidden

    def __str__(self) -> str:
        return f"D={self.event_size} C={self.condition_size} hidden={self.hidden}x{self.hidden} batch={self.batch}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The ratios to reach in one case; `None` where there is none."""

    case: Case
    log_prob: float
    sample: float
    sample_per_log_prob: float | None = None


LARGE = {"event_size": 64, "condition_size": 16, "hidden": 512}
SMALL = {"event_size": 8, "condition_size": 4, "hidden": 64}
GOALS = (
    Goal(case=Case(**LARGE, batch=1024), log_prob=2.5, sample=25, sample_per_log_prob=2.5),
    Goal(case=Case(**LARGE, batch=64), log_prob=1.5, sample=15, sample_per_log_prob=4),
    Goal(case=Case(**SMALL, batch=1024), log_prob=1.3, sample=3),
    Goal(case=Case(event_size=2, condition_size=3, hidden=64, batch=4096), log_prob=1.5, sample=2),
)
BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
BY_BATCH = tuple(Case(**flow, batch=batch) for flow in (LARGE, SMALL) for batch in BATCHES)
BY_EVENT_SIZE = tuple(
    Case(event_size=size, condition_size=8, hidden=128, batch=1024) for size in (1, 2, 4, 8, 16, 32, 64, 128)
)
