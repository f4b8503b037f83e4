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
from beam_jobs.sources.records import to_batches
from beam_jobs.sources.source import InputFile, ReadPlan, WholeFile
from maf_serving.errors import one_line
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
_PRIMITIVES = {
    "null": pa.null(),
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "bytes": pa.binary(),
    "fixed": pa.binary(),
    "string": pa.string(),
    "enum": pa.string(),
}
_LOGICAL = {
    "date": pa.date32(),
    "time-millis": pa.time32("ms"),
    "time-micros": pa.time64("us"),
    "timestamp-millis": pa.timestamp("ms", tz="UTC"),
    "timestamp-micros": pa.timestamp("us", tz="UTC"),
    "timestamp-nanos": pa.timestamp("ns", tz="UTC"),
    "local-timestamp-nanos": pa.timestamp("ns"),
    "local-timestamp-millis": pa.timestamp("ms"),
    "local-timestamp-micros": pa.timestamp("us"),
    "uuid": pa.string(),
}
_DECIMAL128_DIGITS = 38
# What a table of ours cannot hold: it may be in the file, but not be used.
UNSUPPORTED = pa.struct([])


class AvroSource(WholeFile):
    """An Avro container file."""

    __slots__ = ()

    def inspect(self) -> InputFile:
        """See `Source.inspect`. Reads the header alone."""
        try:
            with FileSystems.open(self.path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
                schema = arrow_schema(fastavro.reader(stream).writer_schema)
        except _UNREADABLE as error:
            raise UnreadableFileError(
                f"{self.path} cannot be read as Avro: {one_line(error)}; see --input_format and --on_bad_file"
            ) from error
        return InputFile(path=self.path, schema=schema, units=(self,))

    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """See `WorkUnit.read`. A block that cannot be decoded ends the file: where the next one starts is not known."""
        row = 0
        damage: list[str] = []
        with FileSystems.open(self.path, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            records = _records(stream, damage)
            while chunk := list(itertools.islice(records, plan.batch_size)):
                yield from to_batches(self.path, range(row, row + len(chunk)), chunk, plan)
                row += len(chunk)
        if damage:
            yield Damage(file=self.path, first_row=row, rows=None, reason=damage[0])


def _records(stream: Any, damage: list[str]) -> Iterator[dict[str, Any]]:
    """The records up to the end, or to what cannot be decoded: then `damage` gets the reason."""
    try:
        yield from fastavro.reader(stream)  # type: ignore[misc]  # the rows of a table are records
    except _UNREADABLE as error:
        damage.append(one_line(error))


def arrow_schema(schema: Any) -> pa.Schema:
    """Names and types of the fields of a record; a schema that is no record has none."""
    fields = schema.get("fields", []) if isinstance(schema, dict) else []
    return pa.schema([(field["name"], _arrow_type(field["type"])) for field in fields])


def _arrow_type(avro_type: Any) -> pa.DataType:
    if isinstance(avro_type, list):
        return _union(avro_type)
    if isinstance(avro_type, str):
        return _PRIMITIVES.get(avro_type, UNSUPPORTED)
    return _logical(avro_type) or _complex(avro_type)


def _logical(avro_type: dict[str, Any]) -> pa.DataType | None:
    name = avro_type.get("logicalType", "")
    if name == "decimal":
        wide = avro_type["precision"] > _DECIMAL128_DIGITS
        return (pa.decimal256 if wide else pa.decimal128)(avro_type["precision"], avro_type.get("scale", 0))
    return _LOGICAL.get(name)


def _complex(avro_type: dict[str, Any]) -> pa.DataType:
    kind = avro_type["type"]
    if kind == "array":
        return pa.list_(_arrow_type(avro_type["items"]))
    if kind == "record":
        return pa.struct([(field["name"], _arrow_type(field["type"])) for field in avro_type["fields"]])
    return _arrow_type(kind)


def _union(branches: list[Any]) -> pa.DataType:
    types = {_arrow_type(branch) for branch in branches} - {pa.null()}
    if not types:
        return pa.null()
    if len(types) == 1:
        return types.pop()
    numeric = all(pa.types.is_integer(each) or pa.types.is_floating(each) for each in types)
    return pa.float64() if numeric else UNSUPPORTED
