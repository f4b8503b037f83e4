"""Decides on categories and nulls when all rows of a table have been written, and puts the files in order."""

from __future__ import annotations

import collections
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from maf.category_codes import NULL_CODE, CategoryCodes
from maf.errors import DataError
from maf.settled_rows import SettledRows
from maf.split_writer import SPLITS, SplitWriter
from maf.standardization import RunningMoments
from maf_serving.columns import ConditionColumn, encoded_columns

if TYPE_CHECKING:
    from maf.config import DataConfig

Array = np.ndarray[Any, Any]
CHUNK_ROWS = 65_536
FEWEST_NULLS = 20  # training rows from which a null can be learnt as a state of its own


def settle_rows(
    writer: SplitWriter, config: DataConfig, codes: Mapping[str, CategoryCodes], kinds: Mapping[str, str]
) -> SettledRows:
    """The rows of `writer` as they are to be trained on.

    Categories get their places in the vocabularies, rows with a null that is no state of its own are dropped. The files
    are gone through once more if there is any of this in them.

    Raises:
      DataError: if there are no rows, too many with missing values, too few for the split, an event column that is
        constant, or a conditional column without values.
    """
    columns, places = _decide(writer, config, codes, kinds)
    _check_names(config.event, columns)
    written = sum(writer.counts.values())
    if places or writer.complete < written:
        counts, moments = _rewrite(writer, columns, places)
    else:
        counts, moments = writer.counts, [writer.moments]
    dropped = writer.dropped + written - sum(counts.values())
    minimum = np.concatenate([each.minimum for each in moments])
    settled = SettledRows(
        counts=counts,
        dropped=dropped,
        mean=tuple(np.concatenate([each.mean for each in moments]).tolist()),
        scale=tuple(np.concatenate([each.scale for each in moments]).tolist()),
        constant=tuple(np.concatenate([each.constant for each in moments]).tolist()),
        columns=columns,
        findings=tuple(_findings(writer, config, columns, places)),
    )
    _check(settled, writer.read, minimum, config)
    return settled


def _decide(
    writer: SplitWriter, config: DataConfig, codes: Mapping[str, CategoryCodes], kinds: Mapping[str, str]
) -> tuple[tuple[ConditionColumn, ...], dict[int, Array]]:
    """The raw columns, and for each that is a category, by its index, the place of each code."""
    if config.condition_columns is not None:
        known = config.condition_columns
        return known, {i: np.arange(len(c.vocabulary) + 1) for i, c in enumerate(known) if c.is_category}
    columns, places = [], {}
    least = {"auto": FEWEST_NULLS, "state": 1, "drop": np.inf}[config.nulls]
    for index, name in enumerate(config.condition):
        if writer.counts["training"] and writer.nulls[index] == writer.counts["training"]:
            raise DataError(f"conditional column {name!r} is missing in every training row; leave it out")
        vocabulary: tuple[Any, ...] = ()
        if name in codes:
            vocabulary, places[index] = codes[name].choose(
                writer.code_counts[index], most=config.max_categories, least=config.min_category_rows
            )
        nullable = bool(writer.nulls[index] >= least) or name in config.nullable
        columns.append(
            ConditionColumn(name=name, kind=kinds.get(name, "number"), vocabulary=vocabulary, nullable=nullable)
        )
    return tuple(columns), places


def _check_names(event: Sequence[str], columns: Sequence[ConditionColumn]) -> None:
    names = collections.Counter([*event, *encoded_columns(columns)])
    for name in (name for name, count in names.items() if count > 1):
        raise DataError(
            f"two columns or categories are both named {name!r} once they are encoded; rename one of them in the table"
        )


def _rewrite(
    writer: SplitWriter, columns: tuple[ConditionColumn, ...], places: Mapping[int, Array]
) -> tuple[dict[str, int], list[RunningMoments]]:
    """Goes through the files; the rows left in each, and moments of the training rows, column by column."""
    counts = dict.fromkeys(SPLITS, 0)
    moments = [RunningMoments(1) for _ in range(writer.event_size + len(columns))]
    for split in SPLITS:
        path = writer.directory / f"{split}.rows"
        settled = path.with_name(f"{split}.settled")
        with settled.open("wb") as file:
            for chunk in _chunks(writer, split):
                rows = _settled(chunk, writer.event_size, columns, places)
                file.write(rows.tobytes())
                counts[split] += len(rows)
                for column, each in enumerate(moments if split == "training" else ()):
                    values = rows[:, [column]].astype(np.float64)
                    each.update(values[~np.isnan(values[:, 0])])
        settled.replace(path)
    return counts, moments


def _chunks(writer: SplitWriter, split: str) -> Iterator[Array]:
    shape = (writer.counts[split], writer.event_size + writer.nulls.size)
    if shape[0]:
        rows = np.memmap(writer.directory / f"{split}.rows", writer.dtype, mode="r", shape=shape)
        for start in range(0, len(rows), CHUNK_ROWS):
            yield np.array(rows[start : start + CHUNK_ROWS])


def _settled(rows: Array, event_size: int, columns: tuple[ConditionColumn, ...], places: Mapping[int, Array]) -> Array:
    """`rows` `[n, D + K]` with places for codes, without those that have a null that is no state."""
    null = np.isnan(rows[:, event_size:])
    kept = ~(null & ~np.array([column.nullable for column in columns])).any(axis=1)
    for index, table in places.items():
        codes = np.where(null[:, index], 0, rows[:, event_size + index]).astype(np.int64)
        rows[:, event_size + index] = np.where(null[:, index], NULL_CODE, table[codes])
    left: Array = rows[kept]
    return left


def _check(settled: SettledRows, read: int, minimum: Array, config: DataConfig) -> None:
    files, counts = ", ".join(config.data), settled.counts
    if not read:
        raise DataError(f"{files} has no rows; expected a table with rows to train on")
    if settled.dropped > config.max_dropped_share * read:
        raise DataError(
            f"{settled.dropped:,} of {read:,} rows have a missing, NaN or infinite value; expected at most a "
            f"share of {config.max_dropped_share:g}: clean the table or raise --max_rejected"
        )
    needed = [s for s in SPLITS if s != "test" or config.test_data or config.test_share > 0]
    if counts["training"] < 2 or not all(counts[split] for split in needed):
        raise DataError(
            f"{files} has {sum(counts.values()):,} usable rows, split "
            + ", ".join(f"{counts[split]} {split}" for split in SPLITS)
            + "; expected at least one in each: bring more rows or change --validation_share and --test_share"
        )
    for name, value, constant in zip(config.event, minimum, settled.constant, strict=False):
        if constant and name not in config.dequantization_widths:
            raise DataError(
                f"event column {name!r} is constant, {value:g} in every training row; leave it out, or use "
                "--dtype float64 if it only seems so in float32"
            )


def _findings(
    writer: SplitWriter, config: DataConfig, columns: tuple[ConditionColumn, ...], places: Mapping[int, Array]
) -> Iterator[str]:
    """What a person should know of categories and nulls."""
    rows = max(writer.counts["training"], 1)
    for index, column in enumerate(columns):
        if column.is_category:
            counts = writer.code_counts[index]
            known = int(counts[places[index][: len(counts)] < len(column.vocabulary)].sum())
            others = int(counts.sum()) - known
            yield (
                f"column {column.name!r}: {len(column.vocabulary):,} categories ({column.kind}), most frequent "
                f"{column.vocabulary[0]!r}; {_share(others, rows)} are of others"
            )
        nulls = int(writer.nulls[index])
        if column.name in config.nullable:
            yield f"column {column.name!r}: {_share(nulls, rows)} are null; it is trained as one by hiding values too"
        elif nulls and column.nullable:
            yield (
                f"column {column.name!r}: {_share(nulls, rows)} are null, which is a state of its own; "
                "--nulls drop leaves such rows out"
            )
        elif nulls:
            advice = "" if config.nulls == "drop" else "; --nulls state makes null a state of its own"
            yield f"column {column.name!r}: {_share(nulls, rows)} are null, and left out{advice}"


def _share(part: int, rows: int) -> str:
    return f"{part:,} training rows ({part / rows:.2%})"
