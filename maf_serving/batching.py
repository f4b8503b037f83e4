"""How a server gathers requests into batches: TensorFlow Serving's `BatchingParameters`, as a value and as text.

The text is `batching_parameters.txt` of a whole server (`--batching_parameters_file`), or `batching_params.pbtxt` of
one version of a model (`--enable_per_model_batching_parameters`).
"""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

from maf_serving.errors import UsageError
from maf_serving.messages import message_class, message_text, read_text_message

BATCHING_PATH = "batching_params.pbtxt"  # in a version's directory

_LEAST = {
    "max_batch_size": 1,
    "batch_timeout_micros": 0,
    "num_batch_threads": 1,
    "max_enqueued_batches": 1,
    "max_execution_batch_size": 1,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BatchingParameters:
    """Batching of a server, or of one model; `None` leaves a choice to TensorFlow Serving.

        >>> print(BatchingParameters(max_batch_size=8, allowed_batch_sizes=(4, 8)).to_text(), end="")
        max_batch_size {
          value: 8
        }
        allowed_batch_sizes: 4
        allowed_batch_sizes: 8

    Attributes:
      max_batch_size: rows of the largest request, and of the largest batch; a request of more rows is refused.
      batch_timeout_micros: how long a request waits for others, microseconds.
      num_batch_threads: batches that run at the same time.
      max_enqueued_batches: batches that wait before requests are refused.
      allowed_batch_sizes: increasing numbers of rows to which a batch is padded, the last one that of the largest
        batch; empty for no padding.
      enable_large_batch_splitting: whether requests of more rows than `max_execution_batch_size` run in parts.
      max_execution_batch_size: rows of the largest batch then; `None` for `max_batch_size`.

    Raises:
      UsageError: a value makes no sense, or the server would load no model with it.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int | None = None
    num_batch_threads: int | None = None
    max_enqueued_batches: int | None = None
    allowed_batch_sizes: tuple[int, ...] = ()
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < 2**63:
                raise UsageError(f"{name} is {value}; expected an integer of at least {least}")
        if self.max_execution_batch_size is not None:
            if not self.enable_large_batch_splitting:
                raise UsageError("max_execution_batch_size has no effect without enable_large_batch_splitting")
            if self.max_execution_batch_size > self.max_batch_size:
                raise UsageError(
                    f"max_execution_batch_size is {self.max_execution_batch_size} and max_batch_size is "
                    f"{self.max_batch_size}; expected no more than max_batch_size, or no model loads"
                )
        self._check_allowed_sizes()

    def _check_allowed_sizes(self) -> None:
        sizes = self.allowed_batch_sizes
        listed = ", ".join(map(str, sizes))
        if sizes and (sizes[0] < 1 or any(a >= b for a, b in itertools.pairwise(sizes))):
            raise UsageError(f"allowed_batch_sizes is {listed}; expected increasing numbers of rows, from 1")
        if sizes and sizes[-1] != self.largest_batch:
            of = "max_batch_size" if self.max_execution_batch_size is None else "max_execution_batch_size"
            raise UsageError(
                f"allowed_batch_sizes is {listed} and {of} is {self.largest_batch}; the last allowed size must equal "
                f"{of}, or no model loads"
            )

    @property
    def largest_batch(self) -> int:
        """Rows of the largest batch that runs."""
        return self.max_execution_batch_size or self.max_batch_size

    def to_text(self) -> str:
        """The message in protobuf's text format, without what is left to TensorFlow Serving."""
        message = message_class("BatchingParameters")(allowed_batch_sizes=self.allowed_batch_sizes)
        for name in _LEAST:
            value = getattr(self, name)
            if value is not None:
                getattr(message, name).value = value
        if self.enable_large_batch_splitting:
            message.enable_large_batch_splitting.value = True
        return message_text(message)


def read_batching_parameters(path: str | Path) -> BatchingParameters:
    """The parameters in a file of protobuf's text format. Raises `UsageError`."""
    message = read_text_message(path, message_class("BatchingParameters")())
    return BatchingParameters(
        **{name: getattr(message, name).value for name in _LEAST if message.HasField(name)},
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        enable_large_batch_splitting=message.enable_large_batch_splitting.value,
    )
