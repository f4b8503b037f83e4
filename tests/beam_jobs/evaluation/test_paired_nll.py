"""Pairs of rows of two tables by their keys, against a dictionary."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from beam_jobs import DriftOptions, JobError, UsageError
from beam_jobs.evaluation.paired_nll import (
    BASELINE,
    TODAY,
    KeyedRows,
    PairedNll,
    check_pairs,
    judge_pairs,
    pair_rows,
)

TAIL = 0.01 / 25


def rows(table, keys, nll):
    return KeyedRows(table, pa.array(list(map(str, keys)), pa.string()), np.asarray(nll, np.float64))


def two_tables(seed, count=2_000, shift=0.0):
    """NLL that differs by key much more than by table; keys in another order, some of one table alone."""
    rng = np.random.default_rng(seed)
    level = 3 * rng.normal(size=count + 30)
    today, baseline = rng.permutation(count), 30 + rng.permutation(count)
    noise = 0.3 * rng.normal(size=(2, count))
    return (today, level[today] + shift + noise[0]), (baseline, level[baseline] + noise[1])


def judged(found, limit=0.0):
    return judge_pairs(found, limit=limit, tail=TAIL, baseline_rows=0, baseline_rejected={})


def test_pairs_are_those_of_a_dictionary_in_any_partition_and_order():
    (today, now), (baseline, then) = two_tables(0)
    merged = PairedNll()
    for part in range(7):
        mine, theirs = today % 7 == part, baseline % 7 == part
        parts = [rows(TODAY, keys, nll) for keys, nll in _cut(today[mine], now[mine])]
        parts += [rows(BASELINE, keys, nll) for keys, nll in _cut(baseline[theirs], then[theirs])]
        merged.merge(pair_rows(parts[::-1], "id"))
    before = dict(zip(baseline.tolist(), then.tolist(), strict=True))
    gaps = np.array([nll - before[key] for key, nll in zip(today.tolist(), now.tolist(), strict=True) if key in before])
    found = judged(merged)
    assert (found.keys, found.only_today, found.only_baseline) == (len(gaps), 30, 30)
    assert found.nll_difference == pytest.approx(gaps.mean(), rel=1e-9)
    assert found.standard_error == pytest.approx(gaps.std(ddof=1) / np.sqrt(len(gaps)), rel=1e-9)
    assert found.nll - found.baseline_nll == pytest.approx(found.nll_difference, rel=1e-9)


def _cut(keys, nll):
    return zip(np.array_split(keys, 3), np.array_split(nll, 3), strict=True)


def test_pairs_see_what_two_means_do_not():
    (today, now), (baseline, then) = two_tables(1, shift=0.1)
    found = judged(pair_rows([rows(TODAY, today, now), rows(BASELINE, baseline, then)], "id"), limit=0.05)
    assert found.verdict == "drift"
    assert found.reasons == (f"NLL {found.nll_difference:+.3f} nats of 1,970 keys",)
    assert abs(now.mean() - then.mean()) < 2 * np.hypot(now.std(), then.std()) / np.sqrt(2_000)
    small = judged(pair_rows([rows(TODAY, today, now - 0.08), rows(BASELINE, baseline, then)], "id"), limit=0.05)
    assert small.verdict == "no drift"
    less = judged(pair_rows([rows(TODAY, today, now - 0.3), rows(BASELINE, baseline, then)], "id"), limit=0.05)
    assert less.verdict == "drift"  # as likely as nothing was before


def test_pairs_of_one_distribution_are_no_drift():
    tables = [two_tables(seed, count=300) for seed in range(100, 500)]
    found = [judged(pair_rows([rows(TODAY, *today), rows(BASELINE, *then)], "id")) for today, then in tables]
    assert sum(each.verdict == "drift" for each in found) <= 1
    gaps = np.array([each.nll_difference / each.standard_error for each in found])
    assert gaps.std() == pytest.approx(1, abs=0.15)


def test_rows_of_density_zero_are_in_no_mean_and_counted():
    today = rows(TODAY, [1, 2, 3, 4], [np.inf, 1.0, np.inf, 5.0])
    baseline = rows(BASELINE, [1, 2, 3, 9], [1.0, 2.0, np.inf, 4.0])
    found = judged(pair_rows([today, baseline], "id"))
    assert (found.keys, found.nll_difference, found.standard_error) == (1, -1.0, None)
    assert (found.zero_density_today, found.zero_density_baseline, found.zero_density_both) == (1, 0, 1)
    assert (found.only_today, found.only_baseline, found.verdict) == (1, 1, "too few rows")


def test_keys_that_cannot_pair_are_refused():
    twice = [rows(TODAY, ["a", "b"], [1.0, 2.0]), rows(TODAY, ["b"], [2.0]), rows(BASELINE, ["b"], [2.0])]
    with pytest.raises(JobError, match="--key_column id: b comes 2 times in --input; expected a key to be of one row"):
        pair_rows(twice, "id")
    found = pair_rows([rows(TODAY, ["a"], [1.0]), rows(BASELINE, ["x", "y"], [1.0, 2.0])], "id")
    with pytest.raises(JobError, match="no key is in both tables: 1 of --input, such as a, and 2 of --baseline_input"):
        check_pairs(found, "id")
    check_pairs(pair_rows([rows(TODAY, ["a"], [1.0])], "id"), "id")  # an empty table has no drift, and too few rows


def test_a_baseline_and_its_key_come_together():
    options = {"model": "m", "input_patterns": ("a",), "output": "out"}
    with pytest.raises(UsageError, match="--baseline_input came without --key_column; expected both"):
        DriftOptions(**options, baseline_patterns=("b",))
    with pytest.raises(UsageError, match="--key_column came without --baseline_input; expected both"):
        DriftOptions(**options, key_column="id")
    with pytest.raises(UsageError, match="--max_nll_change is -1; expected a number of at least 0"):
        DriftOptions(**options, max_nll_change=-1.0)
    both = DriftOptions(**options, baseline_patterns=("b",), key_column="id")
    assert [flag for flag, _ in both.places()] == ["--model", "--input", "--output", "--baseline_input"]
    assert both.with_absolute_paths().baseline_patterns[0].startswith("/")
