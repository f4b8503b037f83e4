"""The file formats of results: what writes each, compressed or not, and what files are called."""

from __future__ import annotations

import dataclasses
import gzip
from typing import TYPE_CHECKING, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from beam_jobs.errors import UsageError
from beam_jobs.options.job_options import COMPRESSIONS, JobOptions
from beam_jobs.output.avro import AvroWriter, avro_schema
from beam_jobs.output.json_lines import JsonLinesWriter
from beam_jobs.output.tfrecord import TFRecordWriter, check_features

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPRESS_THEMSELVES = ("parquet", "avro")
_LEVEL = 6  # as the program gzip has it
SUMMARY_NAME = "_summary.json"


class TableWriter(Protocol):
    """Appends tables to a stream that somebody else closes."""

    def write_table(self, table: pa.Table) -> None:
        """Appends the rows."""

    def close(self) -> None:
        """Writes what the format wants at the end."""


def check_csv(schema: pa.Schema) -> None:
    """Raises `UsageError`, naming the column, if CSV cannot hold one."""
    for field in schema:
        if pa.types.is_nested(field.type):
            raise UsageError(
                f"--output_format csv cannot hold column {field.name}, which is {field.type}; "
                "expected parquet, avro or jsonl, or another --keep"
            )


class CsvWriter:
    """See `TableWriter`. CSV with a header line. Dictionary columns are written as their values."""

    def __init__(self, stream: BinaryIO, schema: pa.Schema) -> None:
        self._schema = pa.schema([pa.field(field.name, _plain(field.type)) for field in schema])
        self._writer = pyarrow.csv.CSVWriter(stream, self._schema)

    def write_table(self, table: pa.Table) -> None:
        """See `TableWriter`."""
        self._writer.write_table(table.cast(self._schema))

    def close(self) -> None:
        """See `TableWriter`."""
        self._writer.close()


def _plain(column_type: pa.DataType) -> pa.DataType:
    return column_type.value_type if pa.types.is_dictionary(column_type) else column_type


_CHECKS = {"csv": check_csv, "avro": avro_schema, "tfrecord": check_features}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableFormat:
    """How result files are written.

    Attributes:
      name: one of `OUTPUT_FORMATS`.
      compression: one of `COMPRESSIONS[name]`.
      rows_per_file: the largest number of rows in a file, or `None`.
      num_shards: the number of result files, or `None`.
    """

    name: str
    compression: str
    rows_per_file: int | None
    num_shards: int | None = None

    @classmethod
    def of(cls, options: JobOptions) -> TableFormat:
        """What the options ask for."""
        return cls(
            name=options.output_format,
            compression=options.compression or COMPRESSIONS[options.output_format][0],
            rows_per_file=options.rows_per_file,
            num_shards=options.num_shards,
        )

    @property
    def extension(self) -> str:
        """What the names of files end in, after the dot."""
        return f"{self.name}.gz" if self._is_gzipped else self.name

    @property
    def _is_gzipped(self) -> bool:
        return self.compression == "gzip" and self.name not in _COMPRESS_THEMSELVES

    def open(self, stream: BinaryIO, schema: pa.Schema) -> TableWriter:
        """Begins a file."""
        if self._is_gzipped:
            return GzipWriter(stream, lambda plain: self._open(plain, schema))
        return self._open(stream, schema)

    def _open(self, stream: BinaryIO, schema: pa.Schema) -> TableWriter:
        if self.name == "csv":
            return CsvWriter(stream, schema)
        if self.name == "jsonl":
            return JsonLinesWriter(stream)
        if self.name == "avro":
            return AvroWriter(stream, schema, compression=self.compression)
        if self.name == "tfrecord":
            return TFRecordWriter(stream)
        writer: TableWriter = pq.ParquetWriter(
            stream,
            schema,
            compression=self.compression,
            use_dictionary=_repeating_columns(schema),
            write_page_checksum=True,
        )
        return writer

    def write_empty(self, stream: BinaryIO, schema: pa.Schema) -> None:
        """A whole file without a row."""
        writer = self.open(stream, schema)
        writer.write_table(schema.empty_table())
        writer.close()

    def check(self, schema: pa.Schema) -> None:
        """Raises `UsageError` if the format cannot hold such columns."""
        if self.name in _CHECKS:
            _CHECKS[self.name](schema)


def _repeating_columns(schema: pa.Schema) -> list[str]:
    """Those whose values may. A dictionary of row numbers, or of densities, costs time and makes a file larger."""
    return [field.name for field in schema if field.name != "row" and not pa.types.is_floating(field.type)]


class GzipWriter:
    """See `TableWriter`. What another writer makes, as one member of a gzip file."""

    def __init__(self, stream: BinaryIO, open_plain: Callable[[BinaryIO], TableWriter]) -> None:
        self._compressed = gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=stream, mtime=0)
        self._writer = open_plain(self._compressed)  # type: ignore[arg-type]  # it writes bytes

    def write_table(self, table: pa.Table) -> None:
        """See `TableWriter`."""
        self._writer.write_table(table)

    def close(self) -> None:
        """See `TableWriter`."""
        with self._compressed:
            self._writer.close()


def shard_names(prefix: str, count: int, extension: str) -> list[str]:
    """`<prefix>-00000-of-00003.parquet` and so on."""
    return [f"{prefix}-{index:05d}-of-{count:05d}.{extension}" for index in range(count)]
