"""What files of tables are called, and what their readers give.

One table of formats by suffix for training, batch jobs and the client; each of them reads the formats that it says.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow as pa

SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".avro": "avro",
    ".tfrecord": "tfrecord",
}
COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}
COMPRESS_THEMSELVES = ("parquet", "avro")


def find_compression(name: str) -> str | None:
    """How a file of that name is compressed as a whole: `"gzip"`, `"bz2"`, `"zstd"` or `None`."""
    return next((kind for suffix, kind in COMPRESSIONS.items() if name.lower().endswith(suffix)), None)


def find_format(name: str) -> str | None:
    """The format of a file of that name, or `None`: `"csv"` for `a.csv` and `A.CSV.gz`, `"parquet"` for `a.pq`.

    >>> find_format("sales.csv.zst"), find_format("sales.parquet"), find_format("sales.txt")
    ('csv', 'parquet', None)
    """
    plain = name.lower()
    suffix = next((each for each in COMPRESSIONS if plain.endswith(each)), "")
    plain = plain.removesuffix(suffix)
    found = next((kind for each, kind in SUFFIXES.items() if plain.endswith(each)), None)
    return None if suffix and found in COMPRESS_THEMSELVES else found


def list_suffixes(formats: Collection[str] = frozenset(SUFFIXES.values())) -> str:
    """What names of such files end in, for a message."""
    known = [each for each, kind in SUFFIXES.items() if kind in formats]
    compressed = [each for each in known if SUFFIXES[each] not in COMPRESS_THEMSELVES]
    return f"{', '.join(known)} ({' and '.join(compressed)} also with {', '.join(COMPRESSIONS)})"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InputBatch:
    """Consecutive rows of one file, as Arrow columns.

    Attributes:
      file: path of the file.
      rows: row numbers in the file, from 0; int64 `[B]`, ascending, with gaps where rows were rejected in reading.
      columns: the columns that were asked for, of B rows. Columns of the model may be text that is still to be parsed.
    """

    file: str
    rows: pa.Int64Array
    columns: pa.RecordBatch

    def __len__(self) -> int:
        return len(self.rows)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Rows that a file has, or had, and that cannot be read.

    Attributes:
      file: path of the file.
      first_row: number of the first of them.
      rows: how many, or `None` where the file does not say: all from `first_row` on.
      reason: what the reader said, in one line.
    """

    file: str
    first_row: int
    rows: int | None
    reason: str
