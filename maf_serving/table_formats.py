"""What files of tables are called, and what their readers give.

One table of formats by suffix for training, batch jobs and the client; each of them reads the formats that it says.
How a CSV file is written, where that is not the usual way, is a `CsvDialect` for all of them. A directory, and files
below directories such as `region=north`, are one table, of which the directories' names are columns.
"""

from __future__ import annotations

import dataclasses
import urllib.parse
from typing import TYPE_CHECKING

from maf_serving.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

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
NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
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


def partitions_of(path: str) -> dict[str, str | None]:
    """The columns that the directories of a file are named for, as Hive, Spark and Arrow write them, and their values.

        >>> partitions_of("data/region=north/day=2024-01-02/part-0.parquet")
        {'region': 'north', 'day': '2024-01-02'}

    Args:
      path: or URL. What comes before the part that was named counts too.

    Returns:
      By name of the column the text of its value, or `None` for null.
    """
    if "=" not in path:
        return {}
    parts = [directory.partition("=") for directory in path.replace("\\", "/").split("/")[:-1]]
    return {
        urllib.parse.unquote(name): None if value in {"", NULL_PARTITION} else urllib.parse.unquote(value)
        for name, equals, value in parts
        if name and equals
    }


def files_below(directory: Path, formats: Collection[str]) -> list[Path]:
    """The files of these formats in a directory and below, sorted; names that begin with `_` or `.` are hidden."""
    return sorted(
        path
        for path in directory.rglob("*")
        if find_format(path.name) in formats
        and path.is_file()
        and not any(part.startswith(("_", ".")) for part in path.relative_to(directory).parts)
    )


def _written(default: str, metavar: str, help_text: str) -> str:
    """A field of `CsvDialect`, with what the command line says about it."""
    field: str = dataclasses.field(default=default, metadata={"metavar": metavar, "help": help_text})
    return field


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CsvDialect:
    """How a CSV file is written, for training, batch jobs, the client and Python.

        >>> CsvDialect(delimiter=";", decimal=",").flags
        "--csv_delimiter ';' --csv_decimal ','"
        >>> CsvDialect(thousands=".")
        Traceback (most recent call last):
        ...
        maf_serving.errors.UsageError: --csv_thousands and --csv_decimal are both '.'; expected two characters

    Quotes are double quotes, as in RFC 4180, and there is a header line. Text stays as it is: what is said of numbers
    applies to columns of numbers alone.

    Attributes:
      delimiter: one ASCII character between columns; `"tab"` is one.
      decimal: what separates the digits of a fraction, a dot or a comma.
      thousands: one character between groups of three digits of a number, which need not be there; empty for none.
      encoding: of the text, by a name that Python knows: `utf-8`, `latin-1`, `cp1252`, `utf-16`. A byte order mark is
        no text.

    Raises:
      UsageError: one of them is none, or two do not go together.
    """

    delimiter: str = _written(",", "CHARACTER", "between the columns of CSV files; 'tab' is one (default ,)")
    decimal: str = _written(".", "CHARACTER", "of the numbers in CSV files, a dot or a comma (default .)")
    thousands: str = _written("", "CHARACTER", "between groups of three digits in CSV files, as , in 20,000 (none)")
    encoding: str = _written("utf-8", "NAME", "of CSV files, such as latin-1, cp1252 or utf-16 (default utf-8)")

    def __post_init__(self) -> None:
        if self.delimiter in {"tab", "\\t"}:
            object.__setattr__(self, "delimiter", "\t")
        if len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter.isalnum():
            raise UsageError(f"--csv_delimiter is {self.delimiter!r}; expected one character, such as ';', or tab")
        if self.delimiter in '"\r\n.+-':
            raise UsageError(f"--csv_delimiter is {self.delimiter!r}, which has another meaning; expected such as ';'")
        if self.decimal not in {".", ","}:
            raise UsageError(f"--csv_decimal is {self.decimal!r}; expected a dot or a comma")
        if len(self.thousands) > 1 or self.thousands.isalnum() or self.thousands in {'"', "+", "-", "\n", "\r"}:
            raise UsageError(f"--csv_thousands is {self.thousands!r}; expected one character, such as ','")
        if self.thousands == self.decimal:
            raise UsageError(f"--csv_thousands and --csv_decimal are both {self.decimal!r}; expected two characters")
        try:
            "0".encode(self.encoding)
        except (LookupError, UnicodeError) as error:
            raise UsageError(
                f"--csv_encoding is {self.encoding!r}; expected the name of an encoding, such as latin-1 or utf-16"
            ) from error

    @property
    def flags(self) -> str:
        """What says so on a command line; empty for the usual way."""
        given = []
        for field in dataclasses.fields(self):
            value: str = getattr(self, field.name)
            if value != field.default:
                quoted = "tab" if value == "\t" else value if value.replace("-", "").isalnum() else repr(value)
                given.append(f"--csv_{field.name} {quoted}")
        return " ".join(given)


USUAL_CSV = CsvDialect()


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
