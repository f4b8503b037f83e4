"""The NLL of the same things at two times: rows of two tables that have the same key, whatever their order.

    rows that the model answers -> KeyRows -> by partition -> GroupByKey -> PairRows -> PairedNll -> PairedDrift

A row is its key, as text, and its NLL; a hash of the key says in which of `PARTITIONS` it is. The rows of a partition
meet in one worker, which pairs them: memory is that of a partition, and nothing but keys and numbers is sent around.

Differences row by row have less noise than the two means where what makes a row likely or not stays with its key.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from beam_jobs.errors import JobError
from beam_jobs.output.writing import at_end
from maf_serving.answers import LOG_PROB, is_failed
from maf_serving.moments import Moments
from maf_serving.row_seeds import row_keys_of_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from apache_beam.ml.inference.base import PredictionResult

TODAY, BASELINE = "--input", "--baseline_input"
PARTITIONS = 256
_HELD_ROWS = 1 << 17  # in a bundle, before they are sent
FEW_PAIRS = 100
Verdict = Literal["drift", "no drift", "too few rows"]


class KeyedRows(NamedTuple):
    """Rows of one table: their keys `[B]`, each once in the table, and NLL `[B]`, infinite where the density is 0."""

    table: str
    keys: pa.StringArray
    nll: npt.NDArray[np.float64]


class KeyRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """`PredictionResult` with `log_prob` to pairs of a partition and `KeyedRows`; rows that fail are left out."""

    def __init__(self, table: str, key_column: str) -> None:
        """See the class; `table` is `TODAY` or `BASELINE`."""
        super().__init__()
        self._table = table
        self._key_column = key_column

    def start_bundle(self) -> None:
        """Begins anew."""
        self._keys: list[pa.StringArray] = []
        self._nll: list[npt.NDArray[np.float64]] = []

    def process(self, result: PredictionResult) -> Iterator[tuple[int, KeyedRows]]:
        """Takes in one batch."""
        log_prob = result.inference[LOG_PROB]
        answered = ~is_failed(log_prob)
        keys = result.example.columns.column(self._key_column).cast(pa.string())
        self._keys.append(keys.filter(pa.array(answered)))
        self._nll.append(-log_prob[answered].astype(np.float64))
        if sum(map(len, self._nll)) >= _HELD_ROWS:
            yield from self._sent()

    def finish_bundle(self) -> Iterator[object]:
        """Emits what is left."""
        for each in self._sent():
            yield at_end(each)

    def _sent(self) -> Iterator[tuple[int, KeyedRows]]:
        if not self._keys:
            return
        keys, nll = pa.concat_arrays(self._keys), np.concatenate(self._nll)
        self._keys, self._nll = [], []
        partitions = (row_keys_of_values(0, keys.to_pylist()) % np.uint64(PARTITIONS)).astype(np.int64)
        order = np.argsort(partitions, kind="stable")
        found, starts = np.unique(partitions[order], return_index=True)
        for partition, mine in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
            yield partition, KeyedRows(self._table, keys.take(pa.array(mine)), nll[mine])


class PairedNll:
    """What pairs of rows say; can be merged.

    Attributes:
      nll: moments of today's NLL, of the baseline's, and of their difference, in nats.
      alone: keys of one table alone, by table; `zero` those in both, whose rows have a density of 0 in one, or both.
      examples: by table a key of it alone, where there is one.
    """

    def __init__(self) -> None:
        self.nll = Moments(3)
        self.alone = {TODAY: 0, BASELINE: 0}
        self.zero = {TODAY: 0, BASELINE: 0, "both": 0}
        self.examples: dict[str, str] = {}

    def add(self, today: npt.NDArray[np.float64], baseline: npt.NDArray[np.float64]) -> None:
        """Takes in the NLL of pairs, `[N]` of each."""
        finite = {TODAY: np.isfinite(today), BASELINE: np.isfinite(baseline)}
        both = finite[TODAY] & finite[BASELINE]
        self.zero[TODAY] += int((~finite[TODAY] & finite[BASELINE]).sum())
        self.zero[BASELINE] += int((finite[TODAY] & ~finite[BASELINE]).sum())
        self.zero["both"] += int((~finite[TODAY] & ~finite[BASELINE]).sum())
        self.nll.add(np.stack([today[both], baseline[both], today[both] - baseline[both]], axis=1))

    def merge(self, other: PairedNll) -> None:
        """Takes in what another has seen."""
        self.nll.merge(other.nll)
        for mine, theirs in ((self.alone, other.alone), (self.zero, other.zero)):
            for name, count in theirs.items():
                mine[name] += count
        self.examples = other.examples | self.examples


class PairRows(beam.DoFn):  # type: ignore[misc]  # Beam is untyped here
    """A partition, and all `KeyedRows` of it, to `PairedNll`."""

    def __init__(self, key_column: str) -> None:
        super().__init__()
        self._key_column = key_column

    def process(self, partition: tuple[int, Iterable[KeyedRows]]) -> Iterator[PairedNll]:
        """Pairs them. Raises `JobError` if a key comes twice in a table."""
        yield pair_rows(partition[1], self._key_column)


def pair_rows(parts: Iterable[KeyedRows], key_column: str) -> PairedNll:
    """The pairs of some rows, in any order, of which the rows of a key are all.

    Raises:
      JobError: a key comes twice in a table.
    """
    each = list(parts)
    keys, nll = {}, {}
    for table in (TODAY, BASELINE):
        mine = [part for part in each if part.table == table]
        keys[table] = pa.concat_arrays([pa.array([], pa.string()), *(part.keys for part in mine)])
        nll[table] = np.concatenate([np.empty(0), *(part.nll for part in mine)])
        _check_once(keys[table], table, key_column)
    places = pc.index_in(keys[TODAY], value_set=keys[BASELINE])
    paired = places.is_valid().to_numpy(zero_copy_only=False)
    there = places.drop_null().to_numpy()
    found = PairedNll()
    found.add(nll[TODAY][paired], nll[BASELINE][there])
    lonely = {TODAY: ~paired, BASELINE: np.ones(len(nll[BASELINE]), bool)}
    lonely[BASELINE][there] = False
    for table, mask in lonely.items():
        found.alone[table] = int(mask.sum())
        if mask.any():
            found.examples[table] = keys[table][int(mask.argmax())].as_py()
    return found


def _check_once(keys: pa.StringArray, table: str, key_column: str) -> None:
    counts = pc.value_counts(keys)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        first = twice[0].as_py()
        raise JobError(
            f"--key_column {key_column}: {first['values']} comes {first['counts']} times in {table}; expected a key to "
            "be of one row in each table"
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PairedDrift:
    """The NLL of today's rows against that of the baseline's rows of the same keys.

    Attributes:
      keys: in both tables, whose rows have a density above 0 in both: the means are of them.
      only_today, only_baseline: keys that a row of one table alone has, of the rows that the model answers.
      zero_density_today, zero_density_baseline, zero_density_both: keys in both whose rows have a density of 0 in one
        alone, or in both.
      baseline_rows: rows of the baseline that were read; `baseline_rejected` of them the model could not answer, by
        kind of reason.
      nll, baseline_nll: mean, in nats.
      nll_difference: today's less the baseline's, row by row: above 0, the rows are less likely now.
      standard_error: of that.
      noise: what the difference stays below by chance, all figures of the table together, in 99 of 100 tables.
      reasons: what says drift, in words.
      verdict: of the difference.
    """

    keys: int
    only_today: int
    only_baseline: int
    zero_density_today: int
    zero_density_baseline: int
    zero_density_both: int
    baseline_rows: int
    baseline_rejected: Mapping[str, int]
    nll: float | None
    baseline_nll: float | None
    nll_difference: float | None
    standard_error: float | None
    noise: float | None
    reasons: tuple[str, ...]
    verdict: Verdict


def judge_pairs(
    found: PairedNll, *, limit: float, tail: float, baseline_rows: int, baseline_rejected: Mapping[str, int]
) -> PairedDrift:
    """The verdict on pairs.

    Args:
      found: of all.
      limit: a difference up to this, in nats, is no drift, however sure it is.
      tail: how probable a figure of no drift may be above its noise.
      baseline_rows: see `PairedDrift`.
      baseline_rejected: see `PairedDrift`.
    """
    keys = found.nll.count
    means = [float(mean) if keys else None for mean in found.nll.mean]
    error = float(found.nll.standard_error()[2]) if keys > 1 else math.nan
    noise = NormalDist().inv_cdf(1 - tail / 2) * error
    reasons = []
    if keys >= FEW_PAIRS and means[2] is not None and abs(means[2]) > max(limit, noise):
        reasons.append(f"NLL {means[2]:+.3f} nats of {keys:,} keys")
    return PairedDrift(
        keys=keys,
        only_today=found.alone[TODAY],
        only_baseline=found.alone[BASELINE],
        zero_density_today=found.zero[TODAY],
        zero_density_baseline=found.zero[BASELINE],
        zero_density_both=found.zero["both"],
        baseline_rows=baseline_rows,
        baseline_rejected=dict(sorted(baseline_rejected.items())),
        nll=means[0],
        baseline_nll=means[1],
        nll_difference=means[2],
        standard_error=_finite(error),
        noise=_finite(noise),
        reasons=tuple(reasons),
        verdict="drift" if reasons else "no drift" if keys >= FEW_PAIRS else "too few rows",
    )


def check_pairs(found: PairedNll, key_column: str) -> None:
    """Raises `JobError` if no key is in both tables."""
    pairs = found.nll.count + sum(found.zero.values())
    if pairs or not (found.alone[TODAY] and found.alone[BASELINE]):
        return
    here, there = (f"{found.alone[table]:,} of {table}, such as {found.examples[table]}" for table in (TODAY, BASELINE))
    raise JobError(f"--key_column {key_column}: no key is in both tables: {here}, and {there}; expected keys in common")


def _finite(value: Any) -> float | None:
    """JSON has no infinity and no NaN."""
    return float(value) if math.isfinite(value) else None
