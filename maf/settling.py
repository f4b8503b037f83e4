"""Writes the rows of a table to a flat file for each split, and decides on categories and nulls once all are known."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maf.errors import DataError, RunError
from maf.split_writer import FINE_STEPS, SPLITS, SplitWriter, type_step
from maf.standardization import Standardization
from maf.table import NULL_CODE, CategoryCodes
from maf_serving.columns import ConditionColumn, encoded_columns, number_entries, rows_dtype
from maf_serving.moments import Moments
from maf_serving.strict_json import parse_dataclass
from maf_serving.time_parts import DAY, in_words

if TYPE_CHECKING:
    from maf.config import DataConfig

Array = np.ndarray[Any, Any]
CHUNK_ROWS = 65_536
FEWEST_NULLS = 20  # training rows from which a null can be learnt as a state of its own
FINEST_STEPS = 100  # of the model's type in a column's deviation, from which it is known well enough


def settle_rows(
    writer: SplitWriter, config: DataConfig, codes: Mapping[str, CategoryCodes], kinds: Mapping[str, str]
) -> SettledRows:
    """The rows of `writer` as they are to be trained on.

    Categories get their places in the vocabularies, rows with a null that is no state of its own are dropped, numbers
    get their offsets. The files are gone through once more if there is any of this in them.

    Raises:
      DataError: if there are no rows, too many with missing values, too few for the split, an event column that is
        constant, or a conditional column without values.
    """
    columns, places = _decide(writer, config, codes, kinds)
    columns = _with_offsets(writer, columns)
    _check_names(config.event, columns)
    written = sum(writer.counts.values())
    if places or writer.complete < written or writer.is_wide:
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
        findings=(*_findings(writer, config, columns, places), *_coarse(writer, config, columns, moments)),
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
        parts = config.date_parts.get(name, ())
        if name in codes:
            vocabulary, places[index] = codes[name].choose(
                writer.code_counts[index], most=config.max_categories, least=config.min_category_rows
            )
        nullable = bool(writer.nulls[index] >= least) or name in config.nullable
        columns.append(
            ConditionColumn(name=name, kind=kinds[name], vocabulary=vocabulary, nullable=nullable, parts=parts)
        )
    return tuple(columns), places


def _with_offsets(writer: SplitWriter, columns: tuple[ConditionColumn, ...]) -> tuple[ConditionColumn, ...]:
    """The columns, those of them with an offset that the model's type cannot tell apart without one.

    An offset is the mean, rounded to the decimal place of the deviation: a number that people can read. A trend is
    counted from the day of the mean.
    """
    if not writer.is_wide or writer.knows_offsets:
        return columns
    chosen = []
    for index, (column, moments) in enumerate(zip(columns, writer.numbers, strict=True)):
        if column.is_time:
            origin = DAY * round(float(moments.mean[0]) / DAY) if column.unit is not None else 0.0
            chosen.append(dataclasses.replace(column, offset=origin))
            continue
        deviation = float(moments.scale[0])
        farthest = max(-float(moments.minimum[0]), float(moments.maximum[0]))
        if writer.is_rounded[index] and 0 < deviation < FINE_STEPS * type_step(farthest, writer.model_dtype):
            offset = round(float(moments.mean[0]), -math.floor(math.log10(deviation)))
            column = dataclasses.replace(column, offset=offset)  # noqa: PLW2901
        chosen.append(column)
    return tuple(chosen)


def _check_names(event: Sequence[str], columns: Sequence[ConditionColumn]) -> None:
    names = collections.Counter([*event, *encoded_columns(columns)])
    for name in (name for name, count in names.items() if count > 1):
        raise DataError(
            f"two columns or categories are both named {name!r} once they are encoded; rename one of them in the table"
        )


def _rewrite(
    writer: SplitWriter, columns: tuple[ConditionColumn, ...], places: Mapping[int, Array]
) -> tuple[dict[str, int], list[Moments]]:
    """Goes through the files; the rows left in each, and moments of the training rows, column by column."""
    counts = dict.fromkeys(SPLITS, 0)
    moments = [Moments(1) for _ in range(writer.event_size + len(columns))]
    for split in SPLITS:
        path = writer.directory / f"{split}.rows"
        settled = path.with_name(f"{split}.settled")
        with settled.open("wb") as file:
            for chunk in _chunks(writer, split):
                rows = _settled(chunk, writer, columns, places)
                file.write(rows.tobytes())
                counts[split] += len(rows)
                for column, each in enumerate(moments if split == "training" else ()):
                    known = ~np.isnan(rows[:, column])
                    weights = rows[known, -1].astype(np.float64) if writer.has_weights else None
                    each.add(rows[known][:, [column]], weights)
        settled.replace(path)
    return counts, moments


def _chunks(writer: SplitWriter, split: str) -> Iterator[Array]:
    shape = (writer.counts[split], writer.event_size + writer.nulls.size + writer.has_weights)
    dtype = np.dtype(np.float64) if writer.is_wide else writer.model_dtype
    if shape[0]:
        rows = np.memmap(writer.directory / f"{split}.rows", dtype, mode="r", shape=shape)
        for start in range(0, len(rows), CHUNK_ROWS):
            yield np.array(rows[start : start + CHUNK_ROWS])


def _settled(
    rows: Array, writer: SplitWriter, columns: tuple[ConditionColumn, ...], places: Mapping[int, Array]
) -> Array:
    """`rows` with places for codes, without offsets, and without those that have a null that is no state.

    `[n, D + K]`, and a column of weights where there are some; in the model's type, but for points in time.
    """
    event_size = writer.event_size
    raw = slice(event_size, event_size + len(columns))
    if writer.is_wide and not writer.knows_offsets:
        rows[:, raw] -= [column.offset for column in columns]
    null = np.isnan(rows[:, raw])
    kept = ~(null & ~np.array([column.nullable for column in columns])).any(axis=1)
    for index, table in places.items():
        codes = np.where(null[:, index], 0, rows[:, event_size + index]).astype(np.int64)
        rows[:, event_size + index] = np.where(null[:, index], NULL_CODE, table[codes])
    left: Array = rows[kept].astype(rows_dtype(columns, writer.model_dtype.name), copy=False)
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
        if column.is_time:
            taken_off = column.offset if writer.knows_offsets else 0.0
            first, last = (each[writer.event_size + index] + taken_off for each in (writer.lowest, writer.highest))
            yield f"column {column.name!r}: from {in_words(first)} to {in_words(last)}, UTC; {', '.join(column.parts)}"
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


def _coarse(
    writer: SplitWriter, config: DataConfig, columns: Sequence[ConditionColumn], moments: Sequence[Moments]
) -> Iterator[str]:
    """Columns of numbers that the type of the model cannot tell apart, such as seconds since 1970 in float32.

    An event column, or a conditional one that some rows have far from all others, is standardised from its raw values
    in that type: what is lost there is lost to the model, in training and in every answer.
    """
    scale = np.concatenate([each.scale for each in moments])
    constant = np.concatenate([each.constant for each in moments])
    categories = {index + writer.event_size for index in (*writer.code_counts, *writer.times)}
    offsets = [0.0] * writer.event_size + [column.offset for column in columns]
    for index, (name, offset) in enumerate(zip((*config.event, *config.condition), offsets, strict=True)):
        farthest = max(abs(writer.lowest[index]), abs(writer.highest[index]))
        if index in categories or not np.isfinite(farthest):
            continue
        step = type_step(farthest, writer.model_dtype)
        spread = writer.highest[index] - writer.lowest[index] if constant[index] else scale[index]
        what = f"values up to {farthest:g}, where {writer.model_dtype} has steps of {step:g}"
        if offset:
            yield f"column {name!r}: {what}; {offset:.15g} is taken off in float64 first, by the exported model too"
        elif 0 < spread < FINEST_STEPS * step:
            yield (
                f"warning: column {name!r} has {what}, and they differ by {spread:.3g}: the model cannot tell them "
                "apart; subtract a constant from the column, here and wherever the model is asked, or use "
                "--dtype float64"
            )


def _share(part: int, rows: int) -> str:
    return f"{part:,} training rows ({part / rows:.2%})"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SettledRows:
    """Facts of the files of split rows; with them in their directory the files are complete.

    Attributes:
      counts: rows by split.
      dropped: rows left out.
      mean, scale: `[D + K]`, of the training rows; of a nullable column those of its other values.
      constant: `[D + K]`, whether a column has one value alone.
      columns: the raw columns of the condition.
      findings: what there is to say of categories and nulls, a line each.
    """

    counts: Mapping[str, int]
    dropped: int
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    constant: tuple[bool, ...]
    columns: tuple[ConditionColumn, ...]
    findings: tuple[str, ...] = ()

    def write(self, directory: Path) -> None:
        """Marks the files in `directory` as complete; before that they count as not there."""
        partial = directory / "rows.json.partial"
        partial.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")
        partial.replace(directory / "rows.json")

    @classmethod
    def read(cls, directory: Path) -> SettledRows:
        """What `write` wrote."""
        path = directory / "rows.json"
        return parse_dataclass(cls, path.read_text(encoding="utf-8"), str(path), error=RunError)

    def standardization(self, event_noise: Array | None) -> Standardization:
        """Moments of x, noise of widths `event_noise` `[D]` included, and of the encoded condition `[C]`."""
        d = len(self.mean) - len(self.columns)
        mean, scale = np.array(self.mean), np.array(self.scale)
        event_scale = scale[:d] if event_noise is None else np.sqrt(scale[:d] ** 2 + event_noise**2 / 12)
        size = len(encoded_columns(self.columns))
        loc, deviation = np.zeros(size), np.ones(size)  # entries that are 0 or 1 stay as they are
        entries = number_entries(self.columns)
        numbers = [index for index, column in enumerate(self.columns, d) if column.unit is not None]
        units = np.array([column.unit for column in self.columns if column.unit is not None])
        loc[entries] = mean[numbers] / units
        deviation[entries] = np.where(np.array(self.constant)[numbers], 1.0, scale[numbers] / units)
        return Standardization(mean[:d], event_scale, loc, deviation)
