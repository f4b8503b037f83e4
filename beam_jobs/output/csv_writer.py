"""CSV files."""

from __future__ import annotations

from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv

from beam_jobs.errors import UsageError


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
