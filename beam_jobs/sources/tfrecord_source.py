"""TFRecord files of `tf.Example`, read whole. A record is a row.

Each column is a feature of one value; or all columns of an input of the model are one feature under the input's name,
`x` or `conditional_input`, as the signature `regress` takes them.

A record whose checksum is wrong, or that is no `tf.Example`, is rejected alone. A wrong length ends the file.
"""

from __future__ import annotations

import itertools
import struct
from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from google.protobuf.message import DecodeError

from beam_jobs.errors import UnreadableFileError
from beam_jobs.output.tfrecord import CHECKSUM, HEADER, masked_checksum
from beam_jobs.sources.records import GUESSED_FROM, guess_file, to_batches
from beam_jobs.sources.source import InputFile, ReadPlan, WholeFile
from beam_jobs.storage import open_chunks
from maf_serving.byte_stream import UNREADABLE
from maf_serving.errors import one_line
from maf_serving.messages import message_class
from maf_serving.rejection import RejectedRows, reject
from maf_serving.table_formats import Damage, InputBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WRONG_CHECKSUM = "wrong checksum"
NOT_AN_EXAMPLE = "not a tf.Example"
WRONG_SIZE = "wrong size"
# No row is that large; a length that is says that the file is something else.
_MAX_RECORD_BYTES = 1 << 30


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


class TFRecordSource(WholeFile):
    """A TFRecord file of `tf.Example`."""

    __slots__ = ()
    holds_vectors = True

    def inspect(self) -> InputFile:
        """See `Source.inspect`. Names and types are guessed from the first records."""
        try:
            with open_chunks(self.path) as chunks:
                records = Records(chunks)
                head = list(itertools.islice(records, GUESSED_FROM))
                damage = records.damage
        except UNREADABLE as error:
            damage, head = one_line(error), []
        examples = [example for data in head if not isinstance(example := _parse(data), str)]
        if not examples and (damage or head):
            reason = damage or f"none of its first {len(head)} records is a sound tf.Example"
            raise UnreadableFileError(
                f"{self.path} cannot be read as TFRecord: {reason}; see --input_format and --on_bad_file"
            )
        units = (self,) if head else ()
        return guess_file(self.path, examples, units)

    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """See `WorkUnit.read`."""
        row = 0
        with open_chunks(self.path) as chunks:
            records = Records(chunks)
            rows = iter(records)
            while chunk := list(itertools.islice(rows, plan.batch_size)):
                yield from _to_batches(self.path, row, chunk, plan)
                row += len(chunk)
        if records.damage is not None:
            yield Damage(file=self.path, first_row=row, rows=None, reason=records.damage)


def _to_batches(
    path: str, row: int, chunk: Sequence[bytes | None], plan: ReadPlan
) -> Iterator[InputBatch | RejectedRows]:
    parsed = [split_vectors(_parse(data), plan) for data in chunk]
    refused = {number: fault for number, fault in enumerate(parsed, row) if isinstance(fault, str)}
    if refused:
        reasons = list(refused.values())
        kinds = Counter(WRONG_SIZE if WRONG_SIZE in reason else reason for reason in reasons)
        yield reject(path, pa.array(list(refused), pa.int64()), reasons, kinds)
    good = {number: record for number, record in enumerate(parsed, row) if not isinstance(record, str)}
    if good:
        yield from to_batches(path, list(good), list(good.values()), plan)


def _parse(data: bytes | None) -> dict[str, Any] | str:
    """The record, or what is wrong with it."""
    if data is None:
        return WRONG_CHECKSUM
    try:
        return parse_example(data)
    except DecodeError:
        return NOT_AN_EXAMPLE


def split_vectors(record: dict[str, Any] | str, plan: ReadPlan) -> dict[str, Any] | str:
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
