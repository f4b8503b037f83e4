"""A Parquet or CSV file that appears when it is complete, or CSV on standard output."""

from __future__ import annotations

import sys
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from serving_config.client.options import FORMATS
from serving_config.errors import JobError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class TableOutput:
    """Takes batches of one schema, which is that of the first; `unfinished` is the file until it has its name."""

    def __init__(self, sink: Any, kind: str, stack: ExitStack, unfinished: Path | None = None) -> None:
        self._sink = sink
        self._kind = kind
        self._stack = stack
        self._unfinished = unfinished
        self._writer: Any = None

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends the rows of a batch, which may be none."""
        if self._writer is None:
            make = pq.ParquetWriter if self._kind == "parquet" else pyarrow.csv.CSVWriter
            self._writer = self._stack.enter_context(make(self._sink, batch.schema))
        self._writer.write_batch(batch)

    def discard(self) -> None:
        """Deletes the unfinished file, if there is one."""
        if self._unfinished is not None:
            self._unfinished.unlink(missing_ok=True)


@contextmanager
def open_output(path: Path | None) -> Iterator[TableOutput]:
    """The output; at the end of the block, and only if nothing was raised in it, the file has its name.

    Raises:
      UsageError: the file's directory cannot be written to.
      JobError: the file cannot be completed.
    """
    if path is None:
        with ExitStack() as stack:
            yield TableOutput(sys.stdout.buffer, "csv", stack)
        return
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        sink = unfinished.open("xb")
    except OSError as error:
        raise UsageError(f"--output {path} cannot be written: {error.strerror}") from error
    try:
        with sink, ExitStack() as stack:
            yield TableOutput(sink, FORMATS[path.suffix.lower()], stack, unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise JobError(f"--output {path} cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
