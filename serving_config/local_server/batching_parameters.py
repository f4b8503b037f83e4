"""How requests are gathered into batches, from TF Serving's `BatchingParameters`."""

from __future__ import annotations

import dataclasses
import itertools
import os

from serving_config.local_server.errors import UsageError
from serving_config.local_server.text_messages import new_message, read_text_message


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BatchingParameters:
    """Parameters and defaults of TF Serving.

    Attributes:
      max_batch_size: rows of the largest batch, and of the largest request unless large ones are split.
      batch_timeout_micros: how long a request waits for others.
      max_enqueued_batches: batches that wait before requests are refused.
      num_batch_threads: batches that run at the same time.
      allowed_batch_sizes: sizes to which batches are padded; empty for none.
      split_at: rows of the pieces into which larger requests are split; 0 refuses them.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = dataclasses.field(default_factory=lambda: os.cpu_count() or 1)
    allowed_batch_sizes: tuple[int, ...] = ()
    split_at: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("max_batch_size", 1),
            ("batch_timeout_micros", 0),
            ("max_enqueued_batches", 1),
            ("num_batch_threads", 1),
            ("split_at", 0),
        ):
            if getattr(self, name) < least:
                raise UsageError(
                    f"{name} of the batching parameters is {getattr(self, name)}; expected at least {least}"
                )
        sizes = self.allowed_batch_sizes
        listed = ", ".join(map(str, sizes))
        if sizes and (sizes[0] < 1 or any(a >= b for a, b in itertools.pairwise(sizes))):
            raise UsageError(f"allowed_batch_sizes is {listed}; expected increasing numbers of rows, from 1")
        if sizes and sizes[-1] != self.largest:
            raise UsageError(f"allowed_batch_sizes is {listed}; the last one must equal max_batch_size, {self.largest}")

    @property
    def largest(self) -> int:
        """Rows of the largest batch that runs."""
        return self.split_at or self.max_batch_size

    def padded(self, rows: int) -> int:
        """Rows of the batch that runs for `rows` rows of requests."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read_batching_parameters(path: str) -> BatchingParameters:
    """Reads a `batching_parameters.txt`. Raises `UsageError`."""
    message = read_text_message(path, new_message("BatchingParameters"))
    wrapped = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    given = {name: getattr(message, name).value for name in wrapped if message.HasField(name)}
    splits = message.enable_large_batch_splitting.value
    largest = given.get("max_batch_size", BatchingParameters().max_batch_size)
    return BatchingParameters(
        **given,
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        split_at=(message.max_execution_batch_size.value or largest) if splits else 0,
    )
