"""Batching parameters of one model: what TF Serving reads with `--enable_per_model_batching_parameters`."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from pathlib import Path
from typing import Any

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)

from export.errors import OptionError

BATCHING_PATH = "batching_params.pbtxt"


@dataclasses.dataclass(frozen=True, slots=True)
class BatchingParameters:
    """How a server gathers requests into batches. `None` leaves a choice to TF Serving.

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
        _check_at_least("max_batch_size", self.max_batch_size, 1)
        _check_at_least("batch_timeout_micros", self.batch_timeout_micros, 0)
        _check_at_least("num_batch_threads", self.num_batch_threads, 1)
        _check_at_least("max_enqueued_batches", self.max_enqueued_batches, 1)
        sizes = self.allowed_batch_sizes
        listed = ", ".join(map(str, sizes))
        if sizes and (sizes[0] < 1 or any(a >= b for a, b in itertools.pairwise(sizes))):
            raise OptionError(f"allowed_batch_sizes is {listed}; expected increasing numbers of rows, from 1")
        if sizes and sizes[-1] != self.max_batch_size:
            raise OptionError(
                f"allowed_batch_sizes is {listed} and max_batch_size is {self.max_batch_size}; the last allowed size "
                "must equal max_batch_size, or the version does not load"
            )

    def to_text(self) -> str:
        """The `tensorflow.serving.BatchingParameters` message in protobuf's text format."""
        message = message_class()(allowed_batch_sizes=self.allowed_batch_sizes)
        for name in _WRAPPED:
            value = getattr(self, name)
            if value is not None:
                getattr(message, name).value = value
        text: str = text_format.MessageToString(message)
        return text


def write_batching(version_dir: Path, batching: BatchingParameters | None) -> None:
    """Writes the parameters to the version's root; no file for `None`, and such a version is not batched."""
    if batching is not None:
        (version_dir / BATCHING_PATH).write_text(batching.to_text(), encoding="utf-8")


_WRAPPED = {"max_batch_size": 1, "batch_timeout_micros": 2, "max_enqueued_batches": 3, "num_batch_threads": 4}


@functools.cache
def message_class() -> Any:
    """`tensorflow.serving.BatchingParameters`, of the fields above: tensorflow-serving-api ships no class for it.

    Names, numbers and types are those of tensorflow_serving/servables/tensorflow/session_bundle_config.proto.
    """
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="batching_parameters.proto",
        package="tensorflow.serving",
        syntax="proto3",
        dependency=[wrappers_pb2.DESCRIPTOR.name],
    )
    message = file.message_type.add(name="BatchingParameters")
    wrapper = "." + wrappers_pb2.Int64Value.DESCRIPTOR.full_name
    for name, number in _WRAPPED.items():
        message.field.add(
            name=name, number=number, label=field.LABEL_OPTIONAL, type=field.TYPE_MESSAGE, type_name=wrapper
        )
    message.field.add(name="allowed_batch_sizes", number=6, label=field.LABEL_REPEATED, type=field.TYPE_INT64)
    pool = descriptor_pool.DescriptorPool()  # not the default one, where TF Serving's own may be some day
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.serving.BatchingParameters"))


def _check_at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and not least <= value < 2**63:
        raise OptionError(f"{name} is {value}; expected an integer of at least {least}")
