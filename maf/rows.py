"""Split rows of a table, ready for training, on disk rather than in memory, and the encoding of their condition.

A table is read once, and a column that decides on the splits once before. Its usable rows go to three flat files,
training, validation and test, which are then mapped into memory: an epoch costs no parsing, tables larger than memory
work, and a resumed run sees the same rows. A category is one number in them, its place in the vocabulary, however many
values that has.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from maf.condition_encoder import number_or_time
from maf.errors import DataError
from maf.settling import SettledRows, settle_rows
from maf.split_writer import SPLITS, SplitWriter
from maf.splitting import assign_splits, read_weighted
from maf.standardization import Standardization, noise_widths
from maf.table import INTEGER, NULL_CODE, STRING, CategoryCodes, Table, has_type, open_files
from maf_serving.columns import TIMESTAMP, ConditionColumn, number_entries, rows_dtype
from maf_serving.manifest import Manifest

if TYPE_CHECKING:
    from maf.config import DataConfig

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RowEncoder:
    """Encodes rows `[B, K]`: numbers without their offsets, NaN for null, and categories as places in vocabularies.

    The place after the last is that of all other values; a null category is `NULL_CODE`. With points in time, which are
    seconds from their offsets, rows are float64.

    Attributes:
      columns: the raw columns.
      null_values: `[Kn]`, what stands for a null of each number or trend, beside its indicator: its mean.
      nullable: names of the columns whose nulls are trained by hiding values.
    """

    columns: tuple[ConditionColumn, ...]
    null_values: Array
    nullable: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, columns: Sequence[ConditionColumn], condition_loc: Array, *, nullable: Sequence[str] = ()
    ) -> RowEncoder | None:
        """That of columns whose encoding has the means `condition_loc` `[C]`; `None` if all are plain numbers."""
        if all(column.is_plain for column in columns):
            return None
        null_values = np.asarray(condition_loc)[number_entries(columns)]
        return cls(columns=tuple(columns), null_values=null_values, nullable=tuple(nullable))

    @property
    def has_times(self) -> bool:
        """Whether one of the columns is a point in time."""
        return any(column.is_time for column in self.columns)

    def encode(self, rows: tf.Tensor) -> tf.Tensor:
        """`conditional_input` `[B, C]` of `rows` `[B, K]`."""
        pieces, numbers = [], iter(self.null_values)
        for index, column in enumerate(self.columns):
            value = rows[:, index]
            if column.is_category:
                null = value < 0
                pieces.append(tf.one_hot(tf.cast(value, tf.int32), len(column.vocabulary) + 1, dtype=rows.dtype))
            else:
                null = tf.math.is_nan(value)
                usual = next(numbers) if column.unit is not None else 0.0
                pieces.append(number_or_time(column, value, null, tf.constant(usual, rows.dtype)))
            if column.nullable:
                pieces.append(tf.cast(null, rows.dtype)[:, tf.newaxis])
        return tf.concat(pieces, axis=1)

    def with_hidden(self, rows: Array, share: float, *, event_size: int, seed: Sequence[int]) -> tuple[Array, Array]:
        """`rows` `[N, D + K]`, in a share of which some categories are unknown and some `nullable` values null.

        So the entries of unknown categories and of nulls are trained, and mean what is true on average over all values.
        In a row that is chosen, by `seed`, one value may be hidden, or several, or all: each number of them as often as
        any other.

        Returns:
          The rows, and which of them are as they were, `[N]`.
        """
        unknown = [(i, len(c.vocabulary)) for i, c in enumerate(self.columns, event_size) if c.is_category]
        nulls = [
            (i, NULL_CODE if column.is_category else np.nan)
            for i, column in enumerate(self.columns, event_size)
            if column.name in self.nullable
        ]
        rng = np.random.default_rng(list(seed))
        # a rate that is uniform for each row makes the number of successes uniform
        rates = np.where(rng.random(len(rows)) < share, rng.random(len(rows)), 0.0)
        changed, same = np.array(rows), np.ones(len(rows), bool)
        for index, stand_in in (*unknown, *nulls):
            is_null = np.isnan(rows[:, index]) if np.isnan(stand_in) else rows[:, index] == NULL_CODE
            hidden = (rng.random(len(rows)) < rates) & ~is_null
            changed[hidden, index] = stand_in
            same &= ~hidden
        return changed, same


@dataclasses.dataclass(frozen=True, slots=True)
class Rows:
    """Split rows, each `[N, D + K]`: event columns first, then raw columns of the condition as in `RowEncoder`.

    The offsets of numbers are taken off.

    Attributes:
      training, validation, test: the splits, mapped from files.
      dropped: rows left out because a value was missing, NaN or infinite.
      standardization: moments of the training rows, noise included; a constant column has scale 1. Of the condition
        those of its encoding `[C]`: entries that are 0 or 1 stay as they are.
      constant: names of the conditional columns that have one value in all training rows.
      columns: the raw columns of the condition.
      findings: what there is to say of categories and nulls, a line each.
      nullable: names of the columns that may be null though hardly a training row is.
      weights: by name of the split, what its rows count, `[N]`, above 0; `None` where all count alike.
    """

    training: Array
    validation: Array
    test: Array
    dropped: int
    standardization: Standardization
    constant: tuple[str, ...]
    columns: tuple[ConditionColumn, ...]
    findings: tuple[str, ...]
    nullable: tuple[str, ...] = ()
    weights: Mapping[str, Array] | None = None

    def weights_of(self, split: str) -> Array | None:
        """What the rows of a split count, `[N]`; `None` where all count alike."""
        return None if self.weights is None else self.weights[split]

    @property
    def condition(self) -> RowEncoder | None:
        """Encodes the condition of rows; `None` where all its columns are plain numbers."""
        return RowEncoder.of(self.columns, self.standardization.condition_loc, nullable=self.nullable)


def split_table(
    config: DataConfig, directory: Path, *, dtype: str, seed: int, on_rows: Callable[[int], None] = lambda _: None
) -> Rows:
    """Reads the table of `config` into `directory` and returns its split rows.

    Each row goes to a split by a random number of its own, drawn in the order of the rows, or as `config.split_by`
    says; so equal files and seeds give equal splits. If `directory` holds the rows already they are returned at once.

    Args:
      config: files, columns and shares.
      directory: made, or emptied if an earlier call was cut short.
      dtype: floating-point type of the rows.
      seed: of the split.
      on_rows: called with the number of rows of each batch read.

    Raises:
      DataError: if the table cannot be read, has no rows, too many with missing values, too few for the split, or an
        event column that is constant.
    """
    if (directory / "rows.json").exists():
        return _open_rows(directory, config, dtype)
    table, test_table = open_tables(config)
    files = [str(file) for each in (table, test_table) if each is not None for file in each.files]
    manifest = None if config.manifest is None else Manifest.read(config.manifest)
    if manifest is not None:
        manifest.check(files)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    codes = category_codes(config, table)
    places = config.condition.index
    writer = SplitWriter(
        directory,
        config,
        dtype,
        seed,
        categories=tuple(map(places, codes)),
        times=tuple(places(name) for name in config.condition if table.kinds[name] == TIMESTAMP),
    )
    left_out: list[int] = []
    assigned, told = assign_splits(table, codes, config, seed, on_left_out=left_out.append)
    with writer:
        for batch, split, weights in assigned:
            writer.write(batch, split, weights)
            on_rows(len(batch))
        test_rows = read_weighted(test_table, codes, config.weight, on_left_out=left_out.append) if test_table else ()
        for batch, _, weights in test_rows:
            writer.write(batch, np.full(len(batch), SPLITS.index("test")), weights)
            on_rows(len(batch))
    if manifest is not None:
        manifest.check(files)
    settled = settle_rows(writer, config, codes, table.kinds)
    told = (*told, *writer.describe_weights(sum(left_out)))
    dataclasses.replace(settled, findings=(*told, *settled.findings)).write(directory)
    return _open_rows(directory, config, dtype)


def _open_rows(directory: Path, config: DataConfig, dtype: str) -> Rows:
    settled = SettledRows.read(directory)
    num_columns = len(config.event) + len(config.condition)
    dtype = rows_dtype(settled.columns, dtype)
    width = num_columns + (config.weight is not None)
    mapped = {
        split: np.memmap(directory / f"{split}.rows", dtype, mode="r", shape=(count, width))
        if count
        else np.empty((0, width), dtype)
        for split, count in settled.counts.items()
    }
    return Rows(
        **{split: rows[:, :num_columns] for split, rows in mapped.items()},
        weights=None if config.weight is None else {split: rows[:, -1] for split, rows in mapped.items()},
        dropped=settled.dropped,
        standardization=settled.standardization(noise_widths(config)),
        constant=tuple(
            name for name, same in zip(config.condition, settled.constant[len(config.event) :], strict=True) if same
        ),
        columns=settled.columns,
        findings=settled.findings,
        nullable=config.nullable,
    )


def open_tables(config: DataConfig) -> tuple[Table, Table | None]:
    """The table of `--data`, and that of `--test_data` if there is one, with the same categories.

    Raises:
      DataError: if one cannot be read, or a column is of another kind in it than in the other, or in the run.
    """
    wanted = None
    if config.condition_columns is not None:
        wanted = {column.name: column.kind for column in config.condition_columns}
    table = _open(config.data, config, wanted)
    kinds = {name: table.kinds[name] for name in config.condition}
    return table, _open(config.test_data, config, kinds) if config.test_data else None


def category_codes(config: DataConfig, table: Table) -> dict[str, CategoryCodes]:
    """Codes of the categories of `table`: of the run's vocabularies if it has them, else new ones."""
    known = {column.name: column.vocabulary for column in config.condition_columns or ()}
    return {name: CategoryCodes(name, kind, known.get(name)) for name, kind in table.categories.items()}


def _open(patterns: Sequence[str], config: DataConfig, wanted: Mapping[str, str] | None) -> Table:
    categorical = {*config.categorical, *(name for name, kind in (wanted or {}).items() if kind == INTEGER)}
    times = {*config.date_parts, *(name for name, kind in (wanted or {}).items() if kind == TIMESTAMP)}
    columns = (*config.event, *config.condition)
    table = open_files(
        patterns, columns, condition=config.condition, categorical=categorical, times=times, dialect=config.csv
    )
    if wanted is None:
        return table
    for name, kind in wanted.items():
        got = table.kinds[name]
        untyped = not any(has_type(file, name) for file in table.files)
        if got != kind and not (kind == STRING and untyped):  # what looks like numbers can be read as text
            raise DataError(f"column {name!r} of {', '.join(patterns)} is of kind {got}; the model takes a {kind}")
    return dataclasses.replace(
        table, categories={name: kind for name, kind in wanted.items() if kind in {STRING, INTEGER}}
    )
