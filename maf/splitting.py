"""Which split each row goes to: by chance, by time, or group by group.

    by chance      a random number for each row, in the order of the rows
    time:COLUMN    the last rows are test, those before them validation; rows of one time stay together
    group:COLUMN   all rows of a group are in one split; which groups are held out is decided by the seed

A row's time, or a number that a hash makes of its group, is its key. The keys of all rows are counted before the rows
themselves are read, then the same key always means the same split: so nothing leaks, whatever the order of the rows.

Rows of weight 0 are left out before any of this: with them or without them the others are split alike.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from maf.errors import DataError
from maf.split_writer import SPLITS
from maf.table import NUMBER, STRING, raise_fault
from maf_serving.arrow_columns import Fault, column_in_words, is_convertible, is_text, to_floats
from maf_serving.time_parts import in_words
from maf_serving.timestamps import may_hold_time, to_seconds

if TYPE_CHECKING:
    from maf.config import DataConfig
    from maf.table import CategoryCodes, Table
    from maf_serving.table_formats import InputBatch

Array = np.ndarray[Any, Any]
NO_SPLIT = -1
SPLIT_STREAM = 0x5B117
LEAST_MERGED = 2**20
MOST_KEYS = 2**22  # of times, that are kept apart while they are counted
NULL_GROUP = "\0null"
NOTHING: Mapping[str, str] = MappingProxyType({})


def assign_splits(
    table: Table,
    codes: Mapping[str, CategoryCodes],
    config: DataConfig,
    seed: int,
    *,
    on_left_out: Callable[[int], object] = lambda _: None,
) -> tuple[Iterator[tuple[Array, Array, Array | None]], tuple[str, ...]]:
    """Batches of rows with the index of each row's split, `NO_SPLIT` for none, and weight; and what there is to say.

    Args:
      table: of which the rows are.
      codes: of its categories.
      config: shares of the splits, and what they are made by.
      seed: of the split.
      on_left_out: see `read_weighted`.

    Raises:
      DataError: the column has too few times or groups, or holds neither.
    """
    shares = (0.0 if config.test_data else config.test_share, config.validation_share)
    if config.split_by is None:
        return _by_chance(read_weighted(table, codes, config.weight, on_left_out=on_left_out), shares, seed), ()
    by, _, column = config.split_by.partition(":")
    find_keys = _times if by == "time" else _groups(seed)
    read_as = {column: _read_as(table, column, by)}
    distinct = DistinctKeys(most=MOST_KEYS if by == "time" else None)
    for batch in table.parts(read_as | _weight_column(table, config.weight)):
        keys = find_keys(batch, column)
        distinct.add(keys if config.weight is None else keys[_weights(batch, config.weight) > 0])
    choose = _choose_last if by == "time" else _choose_groups
    splits = choose(distinct, shares, f"column {column!r} that --split_by {config.split_by} reads")

    def assigned() -> Iterator[tuple[Array, Array, Array | None]]:
        for rows, batch, weights in read_weighted(table, codes, config.weight, read_as, on_left_out=on_left_out):
            yield rows, splits(find_keys(batch, column)), weights

    shown = "{:.15g}".format if read_as[column] == NUMBER else in_words
    return assigned(), (_describe(config.split_by, distinct, splits, shown),)


def read_weighted(
    table: Table,
    codes: Mapping[str, CategoryCodes],
    weight: str | None,
    others: Mapping[str, str] = NOTHING,
    *,
    on_left_out: Callable[[int], object] = lambda _: None,
) -> Iterator[tuple[Array, InputBatch, Array | None]]:
    """Batches of rows, the columns as the files have them, and weights `[n]` above 0, or `None` where there are none.

    Args:
      table: of which the rows are.
      codes: of its categories.
      weight: the column of weights, if there is one.
      others: columns to read beside those of the table, as in `Table.parts`.
      on_left_out: called with the number of rows of weight 0 in a batch.

    Raises:
      DataError: naming the file and the row, if a weight is no finite number of at least 0.
    """
    for rows, batch in table.batches_beside(codes, {**others, **_weight_column(table, weight)}):
        if weight is None:
            yield rows, batch, None
            continue
        weights = _weights(batch, weight)
        kept = weights > 0
        if not kept.all():
            mask = pa.array(kept)
            kept_rows, columns = batch.rows.filter(mask), batch.columns.filter(mask)
            batch = dataclasses.replace(batch, rows=kept_rows, columns=columns)  # noqa: PLW2901
            on_left_out(int((~kept).sum()))
        yield rows[kept], batch, weights[kept]


def _weight_column(table: Table, weight: str | None) -> dict[str, str]:
    """As what the column is read beside others. Raises `DataError` if it is not there, or holds no numbers."""
    if weight is None:
        return {}
    for file, kind in table.types_of(weight).items():
        if not is_convertible(kind):
            raise DataError(f"column {weight!r} of {file} holds {column_in_words(kind)}; --weight expects numbers")
    return {weight: NUMBER}


def _weights(batch: InputBatch, weight: str) -> Array:
    """`[n]` float64."""
    column = batch.columns.column(weight)
    weights = to_floats(column).astype(np.float64)
    for index in np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))[:1]:
        raise DataError(
            f"{batch.file}, row {batch.rows[int(index)]} (from 0): the weight {weight} is {column[int(index)]}; "
            "expected a finite number, 0 or more"
        )
    return weights


def _by_chance(
    batches: Iterator[tuple[Array, InputBatch, Array | None]], shares: tuple[float, float], seed: int
) -> Iterator[tuple[Array, Array, Array | None]]:
    test_share, validation_share = shares
    # a stream of its own: rows that someone drew with the plain seed must not be split by what they hold
    rng = np.random.default_rng([seed, SPLIT_STREAM])
    for rows, _, weights in batches:
        uniform = rng.random(len(rows))
        held_out = uniform < test_share + validation_share
        split = np.where(uniform < test_share, SPLITS.index("test"), SPLITS.index("validation"))
        yield rows, np.where(held_out, split, SPLITS.index("training")), weights


def _read_as(table: Table, column: str, by: str) -> str:
    """As what a CSV file's cells are read: as they are, but for numbers that tell the time."""
    types = table.types_of(column)
    if column in table.columns:
        return table.kinds[column]
    for file, kind in types.items():
        if by == "time" and not may_hold_time(kind):
            raise DataError(
                f"column {column!r} of {file} holds {column_in_words(kind)}; --split_by time:{column} expects dates, "
                "timestamps or numbers"
            )
        if by == "group" and (pa.types.is_nested(kind) or pa.types.is_fixed_size_binary(kind)):
            raise DataError(
                f"column {column!r} of {file} holds {column_in_words(kind)}; --split_by group:{column} expects text, "
                "numbers or dates"
            )
    is_number = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in types.values())
    return NUMBER if by == "time" and is_number else STRING


def _times(batch: InputBatch, column: str) -> Array:
    """Keys `[n]`, NaN for null."""
    read = to_seconds(batch.columns.column(column), least=-math.inf, beyond=math.inf)
    raise_fault(batch, column, {Fault.NOT_A_TIME: read.faults[Fault.NOT_A_TIME]})
    return read.values


def _groups(seed: int) -> Callable[[InputBatch, str], Array]:
    """Makes keys `[n]` from 0 to below 1 of groups; rows without a group are one together."""
    secret = seed.to_bytes(8, "little") + SPLIT_STREAM.to_bytes(8, "little")

    def key(group: str) -> float:
        digest = hashlib.blake2b(group.encode("utf-8", "surrogateescape"), digest_size=8, key=secret).digest()
        return (int.from_bytes(digest, "little") >> 11) / 2.0**53

    def find(batch: InputBatch, column: str) -> Array:
        encoded = _group_names(batch.columns.column(column)).dictionary_encode()
        keys = np.array([*map(key, encoded.dictionary.to_pylist()), key(NULL_GROUP)])
        of_rows: Array = keys[encoded.indices.fill_null(len(keys) - 1).to_numpy(zero_copy_only=False)]
        return of_rows

    return find


def _group_names(column: pa.Array) -> pa.Array:
    """Text `[n]` that is the same for the same value, whatever the type of the column; null for none."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_text(column.type):
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid:
            return pa.array(
                [None if each is None else each.decode(errors="surrogateescape") for each in column.to_pylist()]
            )
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        floats = to_floats(column).astype(np.float64)
        column = pa.array(floats, mask=np.isnan(floats))
        whole = np.isfinite(floats) & (np.abs(floats) < 2.0**53) & (floats == np.floor(floats))
        integers = pa.array(np.where(whole, floats, 0).astype(np.int64)).cast(pa.string())
        return pc.if_else(pa.array(whole), integers, column.cast(pa.string()))
    return column.cast(pa.string())


class DistinctKeys:
    """Distinct numbers and how many rows have each, in ascending order.

    Attributes:
      keys: float64 `[M]`, ascending.
      counts: rows of each; of all keys above the one before it and up to it, where there were too many to tell apart.
      missing: rows without a key.
    """

    def __init__(self, *, most: int | None) -> None:
        """Memory grows with the number of keys; beyond `most` neighbours are put together."""
        self.missing = 0
        self._keys: Array = np.empty(0)
        self._counts: Array = np.empty(0, np.int64)
        self._waiting: list[Array] = []
        self._most = most

    @property
    def keys(self) -> Array:
        """See the class."""
        self._merge()
        return self._keys

    @property
    def counts(self) -> Array:
        """See the class."""
        self._merge()
        return self._counts

    @property
    def rows(self) -> int:
        """Rows with a key."""
        return int(self.counts.sum())

    def add(self, keys: Array) -> None:
        """Takes in the keys of some rows, `[n]`."""
        known = keys[~np.isnan(keys)]
        self.missing += len(keys) - len(known)
        self._waiting.append(known)
        # as many as there are already, so that sorting costs what it would of all at once
        if sum(map(len, self._waiting)) > max(LEAST_MERGED, len(self._keys)):
            self._merge()

    def _merge(self) -> None:
        if not self._waiting:
            return
        new, counts = np.unique(np.concatenate(self._waiting), return_counts=True)
        self._waiting = []
        merged, places = np.unique(np.concatenate([self._keys, new]), return_inverse=True)
        sums = np.bincount(places.ravel(), np.concatenate([self._counts, counts]), len(merged))
        self._keys, self._counts = merged, sums.astype(np.int64)
        if self._most is not None and len(merged) > self._most:
            self._put_together(self._most // 4)

    def _put_together(self, pieces: int) -> None:
        """Neighbours with few rows, so that a piece has the share of one in `pieces` of all, or a single key."""
        before = np.cumsum(self._counts)
        piece = before * pieces // before[-1]
        last = np.flatnonzero(np.append(piece[1:] != piece[:-1], [True]))
        self._counts = np.diff(before[last], prepend=0)
        self._keys = self._keys[last]


class _Splits:
    """The split of each key.

    Attributes:
      counts: rows of each of `SPLITS`.
      groups: distinct keys of each.
    """

    def __init__(self, keys: Array, splits: Array, counts: Array) -> None:
        self.counts = [int(counts[splits == index].sum()) for index in range(len(SPLITS))]
        self.groups = [int((splits == index).sum()) for index in range(len(SPLITS))]
        changes = np.flatnonzero(splits[1:] != splits[:-1])
        self.starts = keys[changes + 1]
        self._ends, self._splits = keys[changes], splits[np.append(changes, [len(splits) - 1])]

    def __call__(self, keys: Array) -> Array:
        """`[n]` of keys `[n]`: that of the first of the known ones that is not below."""
        found = self._splits[np.searchsorted(self._ends, keys, side="left")]
        return np.where(np.isnan(keys), NO_SPLIT, found)


def _choose_last(distinct: DistinctKeys, shares: tuple[float, float], what: str) -> _Splits:
    """The last keys for the test, those before them for validation, as near to the shares of rows as keys allow."""
    held_out = _held_out(distinct, shares, what, "different times")
    before = np.cumsum(distinct.counts)  # rows up to each key
    splits = np.full(len(distinct.keys), SPLITS.index("training"))
    end, share = len(splits), 0.0
    for place, (index, own) in enumerate(held_out):
        share += own
        least = len(held_out) - place  # keys that the splits before it need
        nearest = np.abs(before[least - 1 : end - 1] - (1 - share) * distinct.rows).argmin()
        start = least + int(nearest)
        splits[start:end] = index
        end = start
    return _Splits(distinct.keys, splits, distinct.counts)


def _choose_groups(distinct: DistinctKeys, shares: tuple[float, float], what: str) -> _Splits:
    """Groups in the order of their keys, which is by chance, as long as they bring the share of rows nearer."""
    held_out = _held_out(distinct, shares, what, "groups")
    splits = np.full(len(distinct.keys), SPLITS.index("training"))
    free = len(splits)
    for place, (index, share) in enumerate(held_out):
        wanted, spare = share * distinct.rows, free - (len(held_out) - place)  # one for each that comes after
        for group in np.flatnonzero(splits == SPLITS.index("training")):
            if wanted < 0.5 or not spare:
                break
            if distinct.counts[group] < 2 * wanted:
                splits[group] = index
                wanted -= distinct.counts[group]
                spare -= 1
        if not (splits == index).any():  # all are too large: the smallest
            left = np.flatnonzero(splits == SPLITS.index("training"))
            splits[left[distinct.counts[left].argmin()]] = index
        free = int((splits == SPLITS.index("training")).sum())
    return _Splits(distinct.keys, splits, distinct.counts)


def _held_out(distinct: DistinctKeys, shares: tuple[float, float], what: str, kind: str) -> list[tuple[int, float]]:
    """The splits that are to hold rows beside that for training, test first, and their shares."""
    held_out = [
        (SPLITS.index(name), share) for name, share in zip(("test", "validation"), shares, strict=True) if share
    ]
    if len(distinct.keys) <= len(held_out):
        names = ", ".join(["training", *(SPLITS[index] for index, _ in reversed(held_out))])
        raise DataError(
            f"{what} has {len(distinct.keys)} {kind} in {distinct.rows + distinct.missing:,} rows; expected at least "
            f"{len(held_out) + 1}, one for each of {names}"
        )
    return held_out


def _describe(split_by: str, distinct: DistinctKeys, splits: _Splits, shown: Callable[[float], str]) -> str:
    """A line for people."""
    by, _, column = split_by.partition(":")
    total = max(sum(splits.counts), 1)
    if by == "group":
        parts = [
            f"{groups:,} {name} ({rows / total:.1%} of the rows)"
            for name, groups, rows in zip(SPLITS, splits.groups, splits.counts, strict=True)
            if groups
        ]
        return f"split by column {column!r}: {sum(splits.groups):,} groups, {', '.join(parts)}"
    names = [name for name, rows in zip(SPLITS, splits.counts, strict=True) if rows and name != "training"]
    starts = [f"{name} rows from {shown(start)}" for name, start in zip(names, splits.starts, strict=True)]
    missing = f"; {distinct.missing:,} rows have no time, and are left out" if distinct.missing else ""
    return f"split by column {column!r}: {', '.join(starts)}{missing}"
