"""Tables of BigQuery through its storage API, as Arrow batches. Needs the extra `gcp`.

`ReadFromBigQuery` reads the same streams, and makes a dictionary of each row. A job sees the table as it was when the
job was planned, and has as many work units as BigQuery gives streams. A row has no position in a table: its number is
that of its stream, times 10^12, plus its place in the stream, and is another one in the next job.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from beam_jobs.errors import JobError, UnreadableFileError, UsageError
from beam_jobs.sources.source import InputFile, ReadPlan, Source
from maf_serving.errors import one_line
from maf_serving.table_formats import Damage, InputBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beam_jobs.options.job_options import BigQueryTable
    from maf_serving.rejection import RejectedRows

ROWS_OF_A_STREAM = 10**12
_MAX_STREAMS = 1000
_SCOPE = "https://www.googleapis.com/auth/bigquery"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StorageClient:
    """A client of the storage API, and the project that pays for what it reads (`None`: the table's own)."""

    api: Any
    project: str | None


def open_storage() -> StorageClient:
    """A client with the credentials of this machine's user or service account.

    Raises:
      UsageError: the extra `gcp` is not installed, or there are no credentials.
    """
    try:
        import google.auth  # noqa: PLC0415  # an extra
        from google.cloud.bigquery_storage_v1 import BigQueryReadClient  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise UsageError(
            f"--input from BigQuery needs the extra gcp, but {error.name} is not installed; "
            "install maf-serving[gcp] here and on the workers"
        ) from error
    try:
        credentials, project = google.auth.default(scopes=[_SCOPE])
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise UsageError(f"--input from BigQuery has no credentials: {one_line(error)}") from error
    return StorageClient(api=BigQueryReadClient(credentials=credentials), project=project)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BigQuerySource(Source):
    """A table of BigQuery. The streams that BigQuery gives for it are its work units.

    Attributes:
      table: its parts.
    """

    has_positions: ClassVar[bool] = False
    table: BigQueryTable

    def inspect(self) -> InputFile:
        """See `Source.inspect`. Asks for the schema alone; `split` makes the units."""
        session = self._create_session(columns=(), streams=1)
        return InputFile(path=self.path, schema=_read_schema(session.arrow_schema.serialized_schema), units=())

    def split(self, file: InputFile, plan: ReadPlan) -> list[TableStream]:  # noqa: ARG002
        """See `Source.split`. There is no stream if the table is empty. Raises as `inspect`."""
        session = self._create_session(columns=tuple(plan.columns), streams=_MAX_STREAMS)
        schema = session.arrow_schema.serialized_schema
        return [
            TableStream(path=self.path, name=stream.name, schema=schema, start_row=number * ROWS_OF_A_STREAM)
            for number, stream in enumerate(session.streams)
        ]

    def _create_session(self, *, columns: tuple[str, ...], streams: int) -> Any:
        client = open_storage()
        from google.cloud.bigquery_storage_v1 import types  # noqa: PLC0415  # an extra

        session = types.ReadSession(
            table=self.table.resource,
            data_format=types.DataFormat.ARROW,
            read_options=types.ReadSession.TableReadOptions(selected_fields=list(columns)),
        )
        try:
            return client.api.create_read_session(
                parent=f"projects/{client.project or self.table.project}",
                read_session=session,
                max_stream_count=streams,
            )
        except _google_errors() as error:
            raise UnreadableFileError(f"{self.path} cannot be read from BigQuery: {one_line(error)}") from error


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TableStream:
    """A stream of a table; see `WorkUnit`.

    Attributes:
      path: name of the table.
      name: BigQuery's name of the stream.
      schema: the columns that it gives, as Arrow serializes them.
      start_row: the number that its first row gets.
    """

    rows: ClassVar[int | None] = None
    path: str
    name: str
    schema: bytes
    start_row: int

    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """See `WorkUnit.read`. The client reconnects where a connection breaks, and goes on with the next row.

        Raises:
          JobError: BigQuery refuses to go on. What is missing is not damage to be rejected.
        """
        row, schema = self.start_row, _read_schema(self.schema)
        try:
            for message in open_storage().api.read_rows(self.name):
                encoded = pa.py_buffer(message.arrow_record_batch.serialized_record_batch)
                columns = pa.ipc.read_record_batch(encoded, schema).select(plan.columns)
                for start in range(0, columns.num_rows, plan.batch_size):
                    batch = columns.slice(start, plan.batch_size)
                    rows = pa.array(np.arange(row, row + batch.num_rows))
                    yield InputBatch(file=self.path, rows=rows, columns=batch)
                    row += batch.num_rows
        except _google_errors() as error:
            raise JobError(f"{self.path} cannot be read on from row {row}: {one_line(error)}") from error


def _read_schema(serialized: bytes) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(serialized))


def _google_errors() -> tuple[type[Exception], ...]:
    from google.api_core.exceptions import GoogleAPIError  # noqa: PLC0415  # an extra
    from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415  # an extra

    return GoogleAPIError, GoogleAuthError
