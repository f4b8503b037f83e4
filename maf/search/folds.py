"""Several splits of a small table, so that a trial is judged by more than one split's few validation rows."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from maf.errors import DataError
from maf.rows import Rows

FEW_ROWS = 3_000
FOLDS = 5  # of a table of few rows
FOLD_STREAM = 0xF01D


def count_folds(rows: Rows, asked: int | None) -> int:
    """In how many splits each trial is trained: `asked`, or a number that the rows decide.

    Raises:
      DataError: if there are not enough rows for as many as asked.
    """
    most = 1 + len(rows.training) // max(1, len(rows.validation))
    if asked is None:
        return min(most, FOLDS) if len(rows.training) < FEW_ROWS else 1
    if asked > most:
        raise DataError(
            f"folds is {asked} but {len(rows.training):,} training and {len(rows.validation):,} validation rows make "
            f"at most {most}; ask for fewer or lower --validation_share"
        )
    return asked


def other_folds(rows: Rows, count: int, *, seed: int) -> Iterator[Rows]:
    """`count - 1` splits beside that of `rows`, with as many validation rows, no two of them the same.

    The validation rows of each are training rows of all others. Moments and vocabularies stay those of `rows`.
    """
    size = len(rows.validation)
    order = np.random.default_rng([seed, FOLD_STREAM]).permutation(len(rows.training))
    for fold in range(count - 1):
        held_out, others = np.split(np.roll(order, -fold * size), [size])
        yield dataclasses.replace(
            rows,
            training=np.concatenate([rows.training[np.sort(others)], rows.validation]),
            validation=np.asarray(rows.training[np.sort(held_out)]),
        )
