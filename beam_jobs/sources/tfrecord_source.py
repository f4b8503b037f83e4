"""TFRecord files, read whole: of `tf.Example`, or of `PredictionLog`, the request logs of TensorFlow Serving.

Of `tf.Example` a record is a row. Each column is a feature of one value; or all columns of an input of the model are
one feature under the input's name, `x` or `conditional_input`, as the signature `regress` takes them.

Of a request log, as `logging_config` has it written, a logged request for a log-density, by vector or by column, is as
many rows as it asks about. Requests of other signatures, and logs of other kinds than Predict, are no rows. Tensors by
column are called as the contract says, and are columns by the names that the model has for them.

Rows are numbered through the file. A record whose checksum is wrong, or that is not what it should be, or whose tensors
do not go together, is one row that is rejected. A wrong length ends the file.
"""

from __future__ import annotations

import abc
import dataclasses
import itertools
import math
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa
from google.protobuf.message import DecodeError

from beam_jobs.errors import UnreadableFileError
from beam_jobs.output.tfrecord import CHECKSUM, HEADER, masked_checksum
from beam_jobs.sources.records import GUESSED_FROM, guess_file, to_batches
from beam_jobs.sources.source import InputFile, ReadPlan, WholeFile
from beam_jobs.storage import open_chunks
from maf_serving.byte_stream import UNREADABLE
from maf_serving.columns import NULL_INTEGER, NULL_TEXT
from maf_serving.errors import ResponseError, one_line
from maf_serving.messages import message_class
from maf_serving.rejection import RejectedRows, reject
from maf_serving.table_formats import Damage, InputBatch
from maf_serving.tensor_proto import DTYPE_NUMBERS, from_tensor_proto

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

WRONG_CHECKSUM = "wrong checksum"
NOT_AN_EXAMPLE = "not a tf.Example"
NOT_A_LOG = "not a PredictionLog"
WRONG_TENSOR = "a tensor does not hold its values"
WRONG_SIZE = "wrong size"
SIGNATURES = ("", "serving_default", "log_prob", "inverse", "log_prob_columns")
# No row is that large; a length that is says that the file is something else.
_MAX_RECORD_BYTES = 1 << 30

Row = dict[str, Any] | str  # or what is wrong with it


class Records:
    """The records of a stream; `None` for one whose checksum is wrong.

    Attributes:
      damage: why they ended before the end of the file, or `None`.
    """

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.damage: str | None = None
        self._chunks = chunks
        self._buffer = b""
        self._position = 0

    def __iter__(self) -> Iterator[bytes | None]:
        try:
            while header := self._take(HEADER.size):
                length, checksum = HEADER.unpack(header)
                if checksum != masked_checksum(header[:8]) or length > _MAX_RECORD_BYTES:
                    self.damage = "the length of a record does not agree with its checksum"
                    return
                body = self._take(length + CHECKSUM.size)
                if not body:
                    raise EOFError("the file ends within a record")
                data = body[:length]
                yield data if CHECKSUM.unpack(body[length:])[0] == masked_checksum(data) else None
        except (*UNREADABLE, struct.error) as error:
            self.damage = one_line(error)

    def _take(self, count: int) -> bytes:
        """The next bytes; none at the end of the file. Raises `EOFError` where it ends in between."""
        end = self._position + count
        if end > len(self._buffer):
            pieces = [self._buffer[self._position :]]
            have = len(pieces[0])
            while have < count and (piece := next(self._chunks, None)) is not None:
                pieces.append(piece)
                have += len(piece)
            self._buffer, self._position, end = b"".join(pieces), 0, count
            if have < count:
                if have:
                    raise EOFError("the file ends within a record")
                return b""
        data = self._buffer[self._position : end]
        self._position = end
        return data


class RecordFile(WholeFile):
    """A TFRecord file. `what` is the format, and `message` what its records are, where a person reads it."""

    __slots__ = ()
    holds_vectors = True
    what: ClassVar[str]
    message: ClassVar[str]

    @abc.abstractmethod
    def rows_of(self, data: bytes) -> list[Row]:
        """The rows of a record, or what is wrong with it."""

    def inspect(self) -> InputFile:
        """See `Source.inspect`. Names and types are guessed from the first rows."""
        try:
            with open_chunks(self.path) as chunks:
                records = Records(chunks)
                head = list(itertools.islice(self._rows(records), GUESSED_FROM))
                damage = records.damage
        except UNREADABLE as error:
            damage, head = one_line(error), []
        sound = [row for row in head if not isinstance(row, str)]
        if not sound and (damage or head):
            reason = damage or f"none of its first {len(head)} rows is of a sound {self.message}"
            raise UnreadableFileError(
                f"{self.path} cannot be read as {self.what}: {reason}; see --input_format and --on_bad_file"
            )
        return guess_file(self.path, sound, (self,) if head else ())

    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """See `WorkUnit.read`."""
        first = 0
        with open_chunks(self.path) as chunks:
            records = Records(chunks)
            rows = self._rows(records)
            while chunk := list(itertools.islice(rows, plan.batch_size)):
                split = [_split_vectors(row, plan) for row in chunk]
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

    def _rows(self, records: Iterable[bytes | None]) -> Iterator[Row]:
        for data in records:
            yield from (WRONG_CHECKSUM,) if data is None else self.rows_of(data)


class TFRecordSource(RecordFile):
    """A TFRecord file of `tf.Example`."""

    __slots__ = ()
    what, message = "TFRecord", "tf.Example"

    def rows_of(self, data: bytes) -> list[Row]:
        """See `RecordFile.rows_of`."""
        try:
            return [parse_example(data)]
        except DecodeError:
            return [NOT_AN_EXAMPLE]


@dataclasses.dataclass(frozen=True, slots=True)
class RequestLogSource(RecordFile):
    """A TFRecord file of `PredictionLog`.

    Attributes:
      columns: pairs of what a tensor by column is called, and its column.
    """

    what, message = "a request log", "PredictionLog"
    columns: tuple[tuple[str, str], ...] = ()

    def rows_of(self, data: bytes) -> list[Row]:
        """See `RecordFile.rows_of`."""
        return rows_of_log(data, dict(self.columns))


def _split_vectors(record: Row, plan: ReadPlan) -> Row:
    """The record with a value for each column of a feature that is a vector of them, or what is wrong with it."""
    if isinstance(record, str):
        return record
    for vector, columns in plan.vectors.items():
        if vector not in record or any(name in record for name in columns):
            continue
        value = record[vector]
        values = value if isinstance(value, list) else [] if value is None else [value]
        if len(values) != len(columns):
            return f"{vector}: {WRONG_SIZE}: expected {len(columns)} values, got {len(values)}"
        record = {**record, **dict(zip(columns, values, strict=True))}
    return record


def parse_example(data: bytes) -> dict[str, Any]:
    """The features by name: the value of a feature that holds one, `None` of one that holds none, else the list.

    Raises `google.protobuf.message.DecodeError` if the bytes are no `tf.Example`.
    """
    record = {}
    for name, feature in message_class("Example").FromString(data).features.feature.items():
        kind = feature.WhichOneof("kind")
        values = getattr(feature, kind).value if kind else ()
        record[name] = None if not values else values[0] if len(values) == 1 else list(values)
    return record


def rows_of_log(data: bytes, columns: Mapping[str, str]) -> list[Row]:
    """The rows that a logged request asks about; none of a request for something else.

    Args:
      data: a `PredictionLog`.
      columns: by name of a tensor, its column; other tensors are called as their columns.
    """
    try:
        log = message_class("PredictionLog").FromString(data)
    except DecodeError:
        return [NOT_A_LOG]
    request = log.predict_log.request
    if request.model_spec.signature_name not in SIGNATURES or not request.inputs:
        return []
    try:
        tensors = {columns.get(name, name): _values(tensor) for name, tensor in request.inputs.items()}
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
