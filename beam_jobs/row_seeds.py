"""A seed for every draw, from the job's seed and the row's identity alone.

    key(row)        = mix(hash(seed, name of the file) + (row + 1) g)     or     hash(seed, key column)
    seed(row, draw) = mix(key(row) + (draw + 1) g)                        mod 2^64

`hash` is BLAKE2b of 64 bits; `mix` is the finaliser of SplitMix64 and `g` its odd constant [1]: for one file, distinct
rows have distinct keys, and for one row, distinct draws distinct seeds. Across rows seeds are as good as random: among
N draws about N^2 / 2^65 pairs share one, which is less than one pair up to five billion draws.

[1] Steele, Lea, Flood: "Fast splittable pseudorandom number generators" (OOPSLA 2014).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from beam_jobs.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Words = npt.NDArray[np.uint64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_WILDCARD = re.compile(r"[*?\[]")


def row_keys_in_file(seed: int, file_name: str, rows: npt.NDArray[np.int64]) -> Words:
    """Keys `[B]` of rows, by their number in the file of that name."""
    base = np.uint64(_hash(seed, "file", file_name.encode()))
    return _mix(base + (rows.astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def row_keys_of_values(seed: int, values: Iterable[str]) -> Words:
    """Keys `[B]` of rows, by the value of a column, as text. Cost: a microsecond each."""
    return np.array([_hash(seed, "key", value.encode()) for value in values], np.uint64)


def draw_seeds(row_keys: Words, draws: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Seeds `[B]` for draw number `draws` `[B]`, from 0, of the rows with those keys `[B]`."""
    return _mix(row_keys + (draws.astype(np.uint64) + np.uint64(1)) * _GOLDEN).view(np.int64)


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


def _hash(seed: int, purpose: str, data: bytes) -> int:
    state = hashlib.blake2b(f"{seed}/{purpose}/".encode(), digest_size=8)
    state.update(data)
    return int.from_bytes(state.digest(), "little")


def _mix(words: Words) -> Words:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Words = words ^ (words >> np.uint64(31))
    return mixed
