"""CSV files, read whole by `maf_serving.csv_files`: where their bytes are, and what a job asks of them."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

from beam_jobs.errors import UnreadableFileError, UsageError
from beam_jobs.sources.source import InputFile, ReadPlan, WholeFile
from beam_jobs.storage import open_chunks
from maf_serving.csv_files import NUMBER, STRING, read_rows
from maf_serving.csv_head import CsvError, RepeatedNameError, read_head
from maf_serving.table_formats import USUAL_CSV, CsvDialect, Damage, InputBatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from maf_serving.rejection import RejectedRows


@dataclasses.dataclass(frozen=True, slots=True)
class CsvSource(WholeFile):
    """A CSV file.

    Attributes:
      dialect: how it is written.
    """

    dialect: CsvDialect = USUAL_CSV

    def inspect(self) -> InputFile:
        """See `Source.inspect`. Reads the first chunk; an empty file has no column."""
        try:
            head = read_head(functools.partial(open_chunks, self.path), self.dialect)
        except RepeatedNameError as error:
            raise UsageError(f"{self.path} {error}") from error
        except CsvError as error:
            raise UnreadableFileError(
                f"{self.path} cannot be read as CSV: {error}; see --input_format and --on_bad_file"
            ) from error
        units = (self,) if head.has_rows else ()
        return InputFile(
            path=self.path,
            schema=head.exact,
            units=units,
            untyped=frozenset(head.names),
            lookalikes=head.lookalikes,
        )

    def read(self, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
        """See `WorkUnit.read`. Columns of the model may come as text or bytes, to be judged in validation."""
        kept = {field.name: field.type for field in plan.kept}
        columns: dict[str, str | pa.DataType] = kept | {
            name: plan.condition_kinds.get(name, NUMBER) for name in plan.model_columns
        }
        if not columns:  # rows are counted all the same
            columns = {self.inspect().schema.names[0]: STRING}
        chunks = functools.partial(open_chunks, self.path)
        parts = read_rows(chunks, columns, file=self.path, batch_rows=plan.batch_size, dialect=self.dialect)
        for part in parts:
            if isinstance(part, InputBatch):
                yield dataclasses.replace(part, columns=part.columns.select(plan.columns))
            else:
                yield part
