"""Group lasso on the condition encoder of a flow: weights of a column that has no say vanish together.

Which conditional columns may have none is asked of the rows, before the fit: a lasso on all of them would also flatten
what those that matter have to say.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from maf.condition_encoder import MAGNITUDES, condition_encoders
from maf.flow import chosen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from maf.condition_encoder import ConditionEncoder
    from maf.config import TrainingConfig

LEAST = 1e-12
UNGROUPED = -1
NUM_BINS = 16
DEVIATIONS = 5.0  # of the statistic of a test, above what chance gives it
MOST_ROWS = 40_000  # looked at
MOST_EVENT_PAIRS = 100
MOST_PRODUCTS = 25_000
Array = np.ndarray[Any, Any]


def find_unrelated(numbers: Array, event: Array) -> tuple[int, ...]:
    """Which of the conditional columns `[N, K]` show no relation to any event column `[N, D]`; NaN is a value apart.

    Chi-squared tests of independence between quantile bins: of each column with each event column, and with each pair
    of these, by whether the two are on the same side of their medians. Then the product of each two columns with each
    event column, as only both together may matter; left out where there would be more than `MOST_PRODUCTS` of them.
    """
    numbers, event = (np.asarray(part[:: -(-len(part) // MOST_ROWS)]) for part in (numbers, event))
    codes = [_codes(column) for column in event.T]
    pairs = itertools.combinations(_above(event).T, 2)
    sides = [(one == other).astype(np.int64) for one, other in itertools.islice(pairs, MOST_EVENT_PAIRS)]
    related = {k for k, column in enumerate(numbers.T) for code in codes + sides if _is_related(_codes(column), code)}
    if len(related) < numbers.shape[1] and numbers.shape[1] ** 2 * len(codes) / 2 <= MOST_PRODUCTS:
        related.update(*_related_products(numbers, codes))
    return tuple(k for k in range(numbers.shape[1]) if k not in related)


def _codes(column: Array) -> Array:
    """The quantile bin of each value, `[N]` whole numbers from 0 on; NaN is above all."""
    known = column[~np.isnan(column)]
    if not len(known):
        return np.zeros(len(column), np.int64)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, NUM_BINS + 1)[1:-1]))
    return np.where(np.isnan(column), len(edges) + 1, np.searchsorted(edges, column, side="right"))


def _above(columns: Array) -> Array:
    """Which values of columns `[N, K]` are above their column's median."""
    known = [column[~np.isnan(column)] for column in columns.T]
    medians = [np.median(values) if len(values) else 0.0 for values in known]
    found: Array = columns > np.array(medians)
    return found


def _related_products(numbers: Array, codes: Sequence[Array]) -> Iterator[tuple[int, int]]:
    """Pairs of the columns `[N, K]` whose product, of being above the median or not, differs between the codes."""
    above = _above(numbers)
    centred = (above - above.mean(axis=0)).astype(np.float32)
    for first in range(numbers.shape[1] - 1):
        products = centred[:, first, None] * centred[:, first + 1 :]
        products -= products.mean(axis=0)
        for code in codes:
            member = (code[:, None] == np.arange(code.max() + 1)).astype(np.float32)
            sums, squares = products.T @ member, np.square(products).T @ member
            statistics = (np.square(sums) / np.maximum(squares, LEAST)).sum(axis=1)
            most = member.shape[1] + DEVIATIONS * np.sqrt(2 * member.shape[1])
            for second in np.flatnonzero(statistics > most):
                yield first, first + 1 + int(second)


def _is_related(first: Array, second: Array) -> bool:
    """Whether a table of the two codes is further from independence than chance takes it."""
    counts = np.bincount(first * (second.max() + 1) + second, minlength=(first.max() + 1) * (second.max() + 1))
    table = counts.reshape(first.max() + 1, -1).astype(np.float64)
    table = table[table.any(axis=1)][:, table.any(axis=0)]
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    freedom = (table.shape[0] - 1) * (table.shape[1] - 1)
    statistic = float((np.square(table - expected) / expected).sum())
    return freedom > 0 and statistic > freedom + DEVIATIONS * np.sqrt(2 * freedom)


@dataclasses.dataclass(frozen=True, slots=True)
class Shrinkage:
    """Proximal steps towards no weights at all, after each step of the optimiser (Yuan and Lin 2006, section 2).

    A group is what one of `config.unrelated_columns` brings into the first layer of the condition encoder, its
    standardised value and its bins. A step takes `learning_rate * strength` off the root mean square of its weights.
    Decay takes a share, so that nothing ever vanishes, and what matters loses as much of itself as what does not.

    Reference, for networks: https://arxiv.org/abs/1607.00485

    Attributes:
      kernels: of each, the variable `[F, U]`, the group of each of its F rows, `UNGROUPED` for none, and the strength.
    """

    kernels: tuple[tuple[tf.Variable, tuple[int, ...], float], ...]

    @classmethod
    def of(cls, distribution: Any, config: TrainingConfig) -> Shrinkage:
        """What `config` asks for, of a flow of `build_flow`; there is nothing to shrink in one of another making."""
        kernels = []
        for encoder in condition_encoders(distribution) if config.column_shrinkage and config.unrelated_columns else ():
            if encoder.layers:
                groups = _columns(encoder, chosen(config.unrelated_columns))
                kernels.append((encoder.layers[0].kernel, groups, chosen(config.column_shrinkage)))
        return cls(tuple(kernels))

    def step(self, learning_rate: tf.Tensor) -> None:
        """One step."""
        for kernel, groups, strength in self.kernels:
            rate = tf.cast(learning_rate, kernel.dtype) * strength
            member = np.equal.outer(groups, np.arange(max(groups) + 1)).astype(kernel.dtype.as_numpy_dtype)  # [F, G]
            powers = tf.linalg.matvec(member, tf.reduce_mean(tf.square(kernel), axis=1), transpose_a=True)
            sizes = tf.sqrt(powers / np.maximum(member.sum(axis=0), 1))
            kept = tf.maximum(1 - rate / (sizes + LEAST), 0)
            by_row = tf.linalg.matvec(member, kept) + (1 - member.sum(axis=1))
            kernel.assign(kernel * by_row[:, tf.newaxis])


def _columns(encoder: ConditionEncoder, shrunk: Sequence[int]) -> tuple[int, ...]:
    """The column of each feature, if it is one of `shrunk`."""
    bins = 0 if encoder.bin_low is None else encoder.bin_low.shape[1]
    projections = 0 if encoder.projection is None else len(MAGNITUDES) * encoder.projection.shape[1]
    features = [*range(encoder.loc.shape[0]), *np.repeat(encoder.number_columns, bins).tolist()]
    features += [UNGROUPED] * projections  # of columns that are related
    return tuple(column if column in shrunk else UNGROUPED for column in features)
