"""A seed for every draw, from one seed and the row's identity alone: the same in Beam, from the client and in Python.

    key(row)        = mix(seed + (row + 1) g)                   rows of one input, numbered from 0
                    = mix(hash(seed, file) + (row + 1) g)       rows of several files, numbered in each
                    = hash(seed, value)                         rows that a key column tells apart
    seed(row, draw) = mix(key(row) + (draw + 1) g)              all modulo 2^64

`mix` is the finaliser of SplitMix64 and `g` its odd constant [1], so the first line is the output number `row` of
SplitMix64 started at the seed; `hash` is BLAKE2b of 64 bits. Within one input distinct rows have distinct keys, and for
one row distinct draws have distinct seeds. Across rows seeds are as good as random: among N draws about N^2 / 2^65
pairs share one, which is less than one pair up to five billion draws.

[1] Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (OOPSLA 2014).
"""

from __future__ import annotations

import dataclasses
import hashlib
import posixpath
import re
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from maf_serving.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from maf_serving.validation import ScoreableRows

Words = npt.NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WILDCARD = re.compile(r"[*?\[]")


def check_seed(seed: int) -> None:
    """Raises `UsageError` unless the seed is an integer of 64 bits, with a sign or without."""
    if not -(2**63) <= seed < 2**64:
        raise UsageError(f"seed is {seed}; expected an integer of 64 bits")


def row_keys(seed: int, rows: npt.ArrayLike) -> Words:
    """Keys `[B]` of the rows with these numbers `[B]`, from 0, in an input that is one: a file, a table, arrays.

    Raises:
      UsageError: the seed has more than 64 bits.

        >>> draw_seeds(row_keys(7, [0, 1]), [0, 0])
        array([-5137267319001854395, -9055334382896554780])
    """
    check_seed(seed)
    return _split(np.uint64(seed % 2**64), np.asarray(rows))


def row_keys_in_file(seed: int, file_name: str, rows: npt.ArrayLike) -> Words:
    """Keys `[B]` of rows by their number `[B]` in the file of that name, which is one of several."""
    return _split(np.uint64(_hash(seed, "file", file_name.encode())), np.asarray(rows))


def row_keys_of_values(seed: int, values: Iterable[str]) -> Words:
    """Keys `[B]` of rows by the value of a key column, as text. Cost: a microsecond each."""
    return np.array([_hash(seed, "key", value.encode()) for value in values], np.uint64)


def draw_seeds(keys: Words, draws: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Seeds `[B]`, for the signature `sample_with_seed`, of the draws `[B]`, from 0, of the rows with keys `[B]`."""
    return _split(keys, np.asarray(draws)).view(np.int64)


class Identity(Protocol):
    """What tells rows apart, and so what their seeds are made of."""

    @property
    def key_column(self) -> str | None:
        """The column of the rows' keys, if it is one that tells them apart."""

    def keys(self, rows: ScoreableRows) -> Words:
        """Keys `[B]` of the rows; no value of a column of keys is null."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowIdentity:
    """The row's number in its file, or the value of a column.

    Attributes:
      seed: of the job, or of the call.
      file_names: what each of several files is called, by its path; `None` for a single one, whose rows need no more
        than their number.
      key_column: the column that identifies a row instead of file and row number, or `None`.
    """

    seed: int
    file_names: Mapping[str, str] | None = None
    key_column: str | None = None

    def keys(self, rows: ScoreableRows) -> Words:
        """See `Identity`."""
        if self.key_column is not None:
            values = rows.columns.column(self.key_column)
            return row_keys_of_values(self.seed, values.cast(pa.string()).to_pylist())
        numbers = rows.rows.to_numpy()
        if self.file_names is None:
            return row_keys(self.seed, numbers)
        return row_keys_in_file(self.seed, self.file_names[rows.file], numbers)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NoIdentity:
    """Nothing: all rows have the key of row 0, and what they get depends on their conditions alone.

    Attributes:
      seed: as of `RowIdentity`.
    """

    seed: int
    key_column: ClassVar[str | None] = None

    def keys(self, rows: ScoreableRows) -> Words:
        """See `Identity`."""
        return row_keys(self.seed, np.zeros(len(rows), np.int64))


def check_key_column(name: str, column_type: pa.DataType, *, asker: str) -> None:
    """Raises `UsageError` unless a column of that type can hold keys: whole numbers or text."""
    value_type = column_type.value_type if pa.types.is_dictionary(column_type) else column_type
    tests = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    if not any(test(value_type) for test in tests):
        raise UsageError(f"{asker} {name} is {column_type}; expected whole numbers or text")


def is_one_input(input_files: Mapping[str, str]) -> bool:
    """Whether the rows are told apart by their number alone: of a single file, named by its path.

    A glob stands for files that come and go: the rows of a file that it finds have the same draws when another one
    comes, so the name of the file is part of their keys even while it is alone.

    Args:
      input_files: by path, the pattern that named it.
    """
    return len(input_files) == 1 and all(_normal(path) == _normal(pattern) for path, pattern in input_files.items())


def file_names(input_files: Mapping[str, str]) -> dict[str, str]:
    """What each file is called, wherever its directory is: by path.

    A file named by its path is called by its last part; one found by a glob, by what follows the last directory
    without a wildcard: `x/a.parquet` for `data/*/a.parquet`.

    Args:
      input_files: by path, the pattern that named it.

    Raises:
      UsageError: two files are called the same; their rows would get the same seeds.
    """
    names: dict[str, str] = {}
    paths: dict[str, str] = {}
    for path, pattern in input_files.items():
        name = _name(path, pattern)
        if name in paths:
            raise UsageError(
                f"{paths[name]} and {path} are both called {name}, so their rows would get the same draws; find them "
                "by one glob over their directories, or name a --key_column"
            )
        names[path], paths[name] = name, path
    return names


def _name(path: str, pattern: str) -> str:
    path, pattern = _normal(path), _normal(pattern)
    wildcard = None if path == pattern else _WILDCARD.search(pattern)
    if wildcard is None:
        return path.rpartition("/")[2]
    root, slash, _ = pattern[: wildcard.start()].rpartition("/")
    return path.removeprefix(root + slash)


def _normal(path: str) -> str:
    return path if "://" in path else posixpath.normpath(path.replace("\\", "/"))


def _split(start: Words | np.uint64, indices: npt.NDArray[np.integer]) -> Words:
    """Output number `indices` `[B]` of SplitMix64 that starts at `start`, one for all or `[B]`."""
    with np.errstate(over="ignore"):  # arithmetic is modulo 2^64
        return _mix(start + (indices.astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def _hash(seed: int, purpose: str, data: bytes) -> int:
    check_seed(seed)
    state = hashlib.blake2b(f"{seed % 2**64}/{purpose}/".encode(), digest_size=8)
    state.update(data)
    return int.from_bytes(state.digest(), "little")


def _mix(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Words = words ^ (words >> np.uint64(31))
    return mixed
