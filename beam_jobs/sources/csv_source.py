"""CSV files as Arrow batches of text, read whole. Comma separated, UTF-8, quoted as in RFC 4180, with a header line.

A row is what follows the header, blank lines apart: row 0 is the first of them. Values may hold line breaks inside
quotes. A row with more or fewer fields than the header is rejected alone; as the last one, with fewer and without its
line break, it says that the file was cut off. In the raw columns of a condition an empty field is null, and so is NA
and the like where no text is expected.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from beam_jobs.errors import UnreadableFileError, UsageError
from beam_jobs.sources.byte_stream import ENDS_WITHIN_A_ROW, WholeLines, open_chunks
from beam_jobs.sources.ragged_rows import RaggedRows
from beam_jobs.sources.table_source import Damage, InputBatch, InputFile, ReadPlan, WorkUnit, one_line
from beam_jobs.sources.utf8_escape import escape, is_marked, restore
from maf_serving.rejection import RejectedRows, reject

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLOCK_BYTES = 4 << 20
NOT_UTF8 = "not UTF-8"
# Arrow's own list where it guesses types, NaN apart; as text, NA may be a country.
_NULL_NUMBERS = [b"", b"#N/A", b"N/A", b"NA", b"NULL", b"null", b"n/a"]
_NULL_TEXTS = [b""]


def inspect(path: str) -> InputFile:
    """See `TableSource.inspect`. Reads up to the first row; every column is text. An empty file has no column."""
    try:
        with open_chunks(path) as chunks:
            stream = WholeLines(chunks)
            text = io.TextIOWrapper(
                io.BufferedReader(stream), encoding="utf-8-sig", errors="surrogateescape", newline=""
            )
            lines = (line for line in csv.reader(text) if line)
            header, first_row = next(lines, []), next(lines, None)
            damage = _fault_of_header(header) if header else stream.damage
    except (OSError, csv.Error) as error:
        damage = one_line(error)
    if damage is not None:
        raise UnreadableFileError(f"{path} cannot be read as CSV: {damage}; see --input_format and --on_bad_file")
    repeated = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if repeated:
        raise UsageError(f"{path} names column(s) {', '.join(repeated)} more than once; expected each name once")
    # Without a row there is nothing to read, and Arrow refuses a header that ends without a line break.
    units = () if first_row is None and stream.damage is None else (WorkUnit(path=path, format="csv"),)
    schema = pa.schema([(name, pa.string()) for name in header])
    return InputFile(path=path, schema=schema, units=units, untyped=frozenset(header))


def _fault_of_header(header: list[str]) -> str | None:
    return None if _is_utf8("".join(header).encode(errors="surrogateescape")) else f"its header is {NOT_UTF8}"


def read(unit: WorkUnit, plan: ReadPlan) -> Iterator[InputBatch | RejectedRows | Damage]:
    """See `TableSource.read`. Columns of the model come as binary, kept ones as string."""
    # To Arrow no column means all of them.
    columns = plan.columns or inspect(unit.path).schema.names[:1]
    row = 0
    damage: str | None = None
    with open_chunks(unit.path) as chunks:
        lines = WholeLines(chunks, convert=escape)
        ragged = RaggedRows(unit.path, lines)
        try:
            for escaped in _open_csv(lines, columns, ragged.note):
                block = _empty_to_null(_restore(escaped), plan)
                rows = _number_rows(row, block.num_rows, ragged.numbers())
                for start in range(0, len(rows), plan.batch_size):
                    part = slice(start, start + plan.batch_size)
                    yield from _decode_kept(unit.path, rows[part], block[part], plan)
                row = int(rows[-1]) + 1 if len(rows) else row
                if passed := ragged.take_passed(row):
                    yield passed
                    row = max(row, passed.last_row + 1)
        except (OSError, pa.ArrowException) as error:
            damage = _describe(error)
    if ragged.drop_cut_off(row):
        damage = damage or ENDS_WITHIN_A_ROW
    if left := ragged.take_all():
        yield left
        row = max(row, left.last_row + 1)
    damage = lines.damage or damage
    if damage is not None:
        yield Damage(file=unit.path, first_row=row, rows=None, reason=damage)


def _describe(error: Exception) -> str:
    text = one_line(error)
    if "straddling" in text:
        return f"a row takes more than {BLOCK_BYTES:,} bytes: is a quote not closed?"
    return text


def _open_csv(
    stream: WholeLines, columns: list[str], note_ragged: Callable[[pyarrow.csv.InvalidRow], str]
) -> pyarrow.csv.CSVStreamingReader:
    # All columns come as bytes: one value that is no number, or no text, must not fail the other rows.
    return pyarrow.csv.open_csv(
        stream,
        # Only a single-threaded reader knows the number of an invalid row.
        read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note_ragged),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.binary()),
            strings_can_be_null=False,
        ),
    )


def _empty_to_null(block: pa.RecordBatch, plan: ReadPlan) -> pa.RecordBatch:
    for index, name in enumerate(block.schema.names if plan.condition_kinds else ()):
        if name in plan.condition_kinds:
            column = block.column(index)
            nulls = _NULL_TEXTS if plan.condition_kinds[name] == "string" else _NULL_NUMBERS
            null = pc.is_in(column, pa.array(nulls, column.type))
            block = block.set_column(index, name, pc.if_else(null, pa.scalar(None, column.type), column))
    return block


def _restore(block: pa.RecordBatch) -> pa.RecordBatch:
    """The block with the bytes of the file."""
    columns = []
    for column in block.columns:
        buffer = column.buffers()[2]
        marked = buffer is not None and is_marked(memoryview(buffer))
        columns.append(pa.array(map(restore, column.to_pylist()), pa.binary()) if marked else column)
    return pa.RecordBatch.from_arrays(columns, block.schema.names) if columns else block


def _number_rows(first: int, count: int, ragged: list[int]) -> npt.NDArray[np.int64]:
    """The first `count` row numbers from `first` on that are not in `ragged`; int64 `[count]`."""
    candidates = np.arange(first, first + count + len(ragged))
    return candidates[~np.isin(candidates, ragged)][:count]


def _decode_kept(
    path: str, rows: npt.NDArray[np.int64], block: pa.RecordBatch, plan: ReadPlan
) -> Iterator[InputBatch | RejectedRows]:
    """The rows as a batch in which kept columns are text; rows whose bytes are not UTF-8 are rejected."""
    faults: dict[int, str] = {}
    kept_only = [name for name in plan.kept_columns if name not in plan.model_columns]
    for name in kept_only:
        for index in _not_utf8(block.column(name)):
            faults.setdefault(index, f"{name}: {NOT_UTF8}")
    if faults:
        refused = sorted(faults)
        yield reject(path, pa.array(rows[refused]), [faults[i] for i in refused], {NOT_UTF8: len(refused)})
        good = np.setdiff1d(np.arange(len(rows)), refused)
        rows, block = rows[good], block.take(pa.array(good))
    columns = [
        block.column(name).cast(pa.string()) if name in kept_only else block.column(name) for name in plan.columns
    ]
    if len(rows):
        yield InputBatch(file=path, rows=pa.array(rows), columns=pa.RecordBatch.from_arrays(columns, plan.columns))


def _not_utf8(column: pa.BinaryArray) -> list[int]:
    try:
        column.cast(pa.string())
    except pa.ArrowInvalid:
        return [index for index, value in enumerate(column.to_pylist()) if not _is_utf8(value)]
    return []


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
