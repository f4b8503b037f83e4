"""How requests are gathered into batches, from TF Serving's `BatchingParameters`."""

from __future__ import annotations

import dataclasses
import os

from maf_serving.messages import message_class
from serving_config.batching_parameters import check_allowed_sizes
from serving_config.errors import UsageError
from serving_config.text_message import read_text_message


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ServerBatching:
    """TF Serving's `BatchingParameters` with its defaults filled in: what the server does, not what a user asked for.

    Attributes:
      max_batch_size: rows of the largest request; of the largest batch too unless requests are split.
      batch_timeout_micros: how long a request waits for others.
      max_enqueued_batches: batches that wait before requests are refused.
      num_batch_threads: batches that run at the same time.
      allowed_batch_sizes: sizes to which batches are padded; empty for none.
      split_at: rows of the pieces into which requests are split, and of the largest batch then; 0 splits none.
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
        of = "max_execution_batch_size" if self.split_at else "max_batch_size"
        check_allowed_sizes(self.allowed_batch_sizes, largest=self.largest, of=of)

    @property
    def largest(self) -> int:
        """Rows of the largest batch that runs."""
        return self.split_at or self.max_batch_size

    def padded(self, rows: int) -> int:
        """Rows of the batch that runs for `rows` rows of requests."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read_batching_parameters(path: str) -> ServerBatching:
    """Reads a `batching_parameters.txt`. Raises `UsageError`."""
    message = read_text_message(path, message_class("BatchingParameters")())
    wrapped = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    given = {name: getattr(message, name).value for name in wrapped if message.HasField(name)}
    splits = message.enable_large_batch_splitting.value
    largest = given.get("max_batch_size", ServerBatching().max_batch_size)
    return ServerBatching(
        **given,
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        split_at=(message.max_execution_batch_size.value or largest) if splits else 0,
    )
