"""The file formats of results."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from beam_jobs.options.job_options import COMPRESSIONS
from beam_jobs.output.avro_schema import avro_schema
from beam_jobs.output.avro_writer import AvroWriter
from beam_jobs.output.csv_writer import CsvWriter, check_csv
from beam_jobs.output.example_encoding import check_features
from beam_jobs.output.gzip_writer import GzipWriter
from beam_jobs.output.json_lines_writer import JsonLinesWriter
from beam_jobs.output.tfrecord_writer import TFRecordWriter

if TYPE_CHECKING:
    from beam_jobs.options.job_options import JobOptions
    from beam_jobs.output.table_writer import TableWriter

_CHECKS = {"csv": check_csv, "avro": avro_schema, "tfrecord": check_features}
_COMPRESS_THEMSELVES = ("parquet", "avro")


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
