"""How a server gathers requests into batches."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from serving_config.errors import UsageError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BatchingParameters:
    """Batching of all models of a server; `None` leaves a choice to TensorFlow Serving.

    Attributes:
      max_batch_size: rows of the largest batch; a request of more rows is refused.
      batch_timeout_micros: how long a request waits for others, microseconds.
      num_batch_threads: batches that run at the same time.
      max_enqueued_batches: batches that wait before requests are refused.
      allowed_batch_sizes: increasing numbers of rows to which a batch is padded, the last one `max_batch_size`; empty
        for no padding.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int | None = None
    num_batch_threads: int | None = None
    max_enqueued_batches: int | None = None
    allowed_batch_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        least = {"max_batch_size": 1, "batch_timeout_micros": 0, "num_batch_threads": 1, "max_enqueued_batches": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if value is not None and not smallest <= value < 2**63:
                raise UsageError(f"{name} is {value}; expected an integer of at least {smallest}")
        check_allowed_sizes(self.allowed_batch_sizes, largest=self.max_batch_size)


def check_allowed_sizes(sizes: Sequence[int], *, largest: int, of: str = "max_batch_size") -> None:
    """Raises `UsageError` unless batches can be padded to these sizes; `largest` is the value of the field `of`."""
    listed = ", ".join(map(str, sizes))
    if sizes and (sizes[0] < 1 or any(a >= b for a, b in itertools.pairwise(sizes))):
        raise UsageError(f"allowed_batch_sizes is {listed}; expected increasing numbers of rows, from 1")
    if sizes and sizes[-1] != largest:
        raise UsageError(
            f"allowed_batch_sizes is {listed} and {of} is {largest}; the last allowed size must equal {of}, or no "
            "model loads"
        )
