"""A Parquet or CSV file that appears when it is complete, and rejected rows beside it; or CSV on standard output."""

from __future__ import annotations

import sys
import uuid
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from maf_serving.table_formats import find_format
from serving_config.errors import JobError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Sink:
    """A file being written, under another name until it is complete; or standard output."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.unfinished = None if path is None else path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        self.begun = False
        self._stack = ExitStack()
        self._writer: Any = None

    def open(self) -> None:
        """Creates the file. Raises `UsageError` if that is not possible."""
        try:
            self._stream = sys.stdout.buffer if self.unfinished is None else self.unfinished.open("xb")
        except OSError as error:
            raise UsageError(f"--output {self.path} cannot be written: {error.strerror}") from error
        if self.unfinished is not None:
            self._stack.enter_context(self._stream)

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends the rows of a batch, which may be none; the first one gives the schema."""
        if not self.begun:
            kind = "csv" if self.path is None else find_format(self.path.name)
            make = pq.ParquetWriter if kind == "parquet" else pyarrow.csv.CSVWriter
            self._writer = self._stack.enter_context(make(self._stream, batch.schema))
            self.begun = True
        self._writer.write_batch(batch)

    def close(self) -> None:
        """Completes the file."""
        self._stack.close()

    def publish(self) -> None:
        """Gives the file its name, if there is one; what has the name is of an earlier call, and goes."""
        if self.path is None or self.unfinished is None:
            return
        if self.begun:
            self.unfinished.replace(self.path)
        else:
            self.path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Deletes the unfinished file, if there is one."""
        if self.unfinished is not None:
            self.unfinished.unlink(missing_ok=True)


class TableOutput:
    """Takes answers and rejected rows. Rejected rows of standard output are written nowhere.

    Attributes:
      rejected_path: where rejected rows go: `scored.rejected.parquet` beside `scored.parquet`.
    """

    def __init__(self, path: Path | None) -> None:
        self.rejected_path = None if path is None else path.with_name(f"{path.stem}.rejected{path.suffix}")
        self._answers = _Sink(path)
        self._rejected = _Sink(self.rejected_path)
        self._rejected_alone = False

    @property
    def begun(self) -> bool:
        """Whether there are answers."""
        return self._answers.begun

    @property
    def left(self) -> str:
        """What of a call that fails for its rejected rows stays, for its message."""
        return "; nothing was written" if self.rejected_path is None else f"; they are in {self.rejected_path}"

    def write(self, batch: pa.RecordBatch) -> None:
        """Appends answers, which may be none."""
        self._answers.write(batch)

    def write_rejected(self, batch: pa.RecordBatch) -> None:
        """Appends rejected rows."""
        if self.rejected_path is not None:
            if not self._rejected.begun:
                self._rejected.open()
            self._rejected.write(batch)

    def keep_rejected_alone(self) -> None:
        """Says that the call has failed for them: of the output they are to stay, and nothing else."""
        self._rejected_alone = True

    def discard(self) -> None:
        """Deletes the unfinished files, if there are any."""
        self._answers.discard()
        self._rejected.discard()

    def open(self) -> None:
        """Begins. Raises `UsageError` if the file's directory cannot be written to."""
        self._answers.open()

    def close(self) -> None:
        """Completes the files."""
        self._answers.close()
        self._rejected.close()

    def publish(self, *, failed: bool) -> None:
        """Gives the files their names; the rejected ones alone if the call has failed for them."""
        if not failed or self._rejected_alone:
            self._rejected.publish()
        if not failed:
            self._answers.publish()


@contextmanager
def open_output(path: Path | None) -> Iterator[TableOutput]:
    """The output; at the end of the block, and only if nothing was raised in it, the files have their names.

    Raises:
      UsageError: the file's directory cannot be written to.
      JobError: a file cannot be completed.
    """
    output = TableOutput(path)
    output.open()
    failed = True
    try:
        try:
            yield output
            failed = False
        finally:
            output.close()
            output.publish(failed=failed)
    except OSError as error:
        raise JobError(f"--output {path} cannot be written: {error}") from error
    finally:
        output.discard()
