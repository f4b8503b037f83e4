"""Request logs of TensorFlow Serving, read whole: TFRecord files of `PredictionLog`, as `logging_config` writes them.

A logged request for a log-density, by vector (`x`, `conditional_input`) or by column, is as many rows as it asks about.
Requests of other signatures, and logs of other kinds than Predict, are no rows. Rows are numbered through the file.

A record whose checksum is wrong, or that is no `PredictionLog`, or whose tensors do not go together, is one row that is
rejected. A wrong length ends the file.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from google.protobuf.message import DecodeError

from beam_jobs.errors import UnreadableFileError
from beam_jobs.sources.records import GUESSED_FROM, guess_file, to_batches
from beam_jobs.sources.source import InputFile, ReadPlan, WholeFile
from beam_jobs.sources.tfrecord_source import WRONG_CHECKSUM, WRONG_SIZE, Records, split_vectors
from beam_jobs.storage import open_chunks
from maf_serving.byte_stream import UNREADABLE
from maf_serving.columns import NULL_INTEGER, NULL_TEXT
from maf_serving.errors import ResponseError, one_line
from maf_serving.messages import message_class
from maf_serving.rejection import RejectedRows, reject
from maf_serving.table_formats import Damage, InputBatch
from maf_serving.tensor_proto import DTYPE_NUMBERS, from_tensor_proto

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

NOT_A_LOG = "not a PredictionLog"
WRONG_TENSOR = "a tensor does not hold its values"
SIGNATURES = ("", "serving_default", "log_prob", "inverse", "log_prob_columns")

Row = dict[str, Any] | str  # or what is wrong with it


class RequestLogSource(WholeFile):
    """A TFRecord file of `PredictionLog`."""

    __slots__ = ()
    holds_vectors = True

    def inspect(self) -> InputFile:
        """See `Source.inspect`. Names and types are guessed from the first rows."""
        try:
            with open_chunks(self.path) as chunks:
                records = Records(chunks)
                head = list(itertools.islice(_rows(records), GUESSED_FROM))
                damage = records.damage
        except UNREADABLE as error:
            damage, head = one_line(error), []
        sound = [row for row in head if not isinstance(row, str)]
        if not sound and (damage or head):
            reason = damage or f"none of its first {len(head)} rows is of a sound PredictionLog"
            raise UnreadableFileError(f"{self.path} cannot be read as a request log: {reason}; see --on_bad_file")
        return guess_file(self.path, sound, (self,) if head else ())

    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """See `WorkUnit.read`."""
        first = 0
        with open_chunks(self.path) as chunks:
            records = Records(chunks)
            rows = _rows(records)
            while chunk := list(itertools.islice(rows, plan.batch_size)):
                split = [split_vectors(row, plan) for row in chunk]
                refused = {number: row for number, row in enumerate(split, first) if isinstance(row, str)}
                if refused:
                    kinds = Counter(WRONG_SIZE if WRONG_SIZE in reason else reason for reason in refused.values())
                    yield reject(self.path, pa.array(list(refused), pa.int64()), list(refused.values()), kinds)
                good = {number: row for number, row in enumerate(split, first) if not isinstance(row, str)}
                if good:
                    yield from to_batches(self.path, list(good), list(good.values()), plan)
                first += len(chunk)
        if records.damage is not None:
            yield Damage(file=self.path, first_row=first, rows=None, reason=records.damage)


def _rows(records: Iterable[bytes | None]) -> Iterator[Row]:
    for data in records:
        yield from (WRONG_CHECKSUM,) if data is None else rows_of_log(data)


def rows_of_log(data: bytes) -> list[Row]:
    """The rows that a logged request asks about, by name of its tensors; none of a request for something else."""
    try:
        log = message_class("PredictionLog").FromString(data)
    except DecodeError:
        return [NOT_A_LOG]
    request = log.predict_log.request
    if request.model_spec.signature_name not in SIGNATURES or not request.inputs:
        return []
    try:
        tensors = {name: _values(tensor) for name, tensor in request.inputs.items()}
    except (ResponseError, UnicodeDecodeError):
        return [WRONG_TENSOR]
    if len({len(values) for values in tensors.values()}) > 1:
        return [WRONG_TENSOR]
    return [dict(zip(tensors, row, strict=True)) for row in zip(*tensors.values(), strict=True)]


def _values(tensor: Any) -> list[Any]:
    """The value of each row: a number, a text, a list of numbers, or `None`, as requests by column spell null."""
    if DTYPE_NUMBERS.get(tensor.dtype) == "string":
        texts = [value.decode() for value in tensor.string_val]
        texts += texts[-1:] * (math.prod(dim.size for dim in tensor.tensor_shape.dim) - len(texts))
        return [None if text == NULL_TEXT else text for text in texts]
    values: list[Any] = from_tensor_proto(tensor).tolist()
    if not isinstance(values, list):
        raise ResponseError("a tensor is a single number; expected one for each row")
    return [None if value == NULL_INTEGER else value for value in values]
