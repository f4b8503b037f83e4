"""Avro container files, read whole. The codecs are those of `fastavro`: null, deflate, and others if installed."""

from __future__ import annotations

import itertools
import zlib
from typing import TYPE_CHECKING, Any

import fastavro
import pyarrow as pa
from apache_beam.io.filesystem import CompressionTypes
from apache_beam.io.filesystems import FileSystems
from fastavro.schema import SchemaParseException

from beam_jobs.errors import UnreadableFileError
from beam_jobs.sources.avro_types import arrow_schema
from beam_jobs.sources.records import to_batches
from beam_jobs.sources.table_source import InputFile, ReadPlan, WorkUnit
from maf_serving.byte_stream import one_line
from maf_serving.table_formats import Damage, InputBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maf_serving.rejection import RejectedRows

# What the decoder raises on bytes that are not what the schema says.
_UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,
    StopIteration,
    zlib.error,
    pa.ArrowException,
    SchemaParseException,
)


def inspect(path: str) -> InputFile:
    """See `TableSource.inspect`. Reads the header alone."""
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            schema = arrow_schema(fastavro.reader(stream).writer_schema)
    except _UNREADABLE as error:
        raise UnreadableFileError(
            f"{path} cannot be read as Avro: {one_line(error)}; see --input_format and --on_bad_file"
        ) from error
    return InputFile(path=path, schema=schema, units=(WorkUnit(path=path, format="avro"),))


def read(unit: WorkUnit, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
    """See `TableSource.read`. A block that cannot be decoded ends the file: where the next one starts is not known."""
    row = 0
    damage: list[str] = []
    with FileSystems.open(unit.path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
        records = _records(stream, damage)
        while chunk := list(itertools.islice(records, plan.batch_size)):
            yield from to_batches(unit.path, range(row, row + len(chunk)), chunk, plan)
            row += len(chunk)
    if damage:
        yield Damage(file=unit.path, first_row=row, rows=None, reason=damage[0])


def _records(stream: Any, damage: list[str]) -> Iterator[dict[str, Any]]:
    """The records up to the end, or to what cannot be decoded: then `damage` gets the reason."""
    try:
        yield from fastavro.reader(stream)  # type: ignore[misc]  # the rows of a table are records
    except _UNREADABLE as error:
        damage.append(one_line(error))
