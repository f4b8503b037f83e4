"""Drift of columns whose training distribution is known: what must be found, and how often it is found by chance."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from beam_jobs.evaluation.column_counts import ColumnCounts, NumberCounts
from beam_jobs.evaluation.drift import Judge, Limits, stability_index
from maf_serving.columns import ConditionColumn
from maf_serving.training_profile import ColumnProfile, NllProfile, Quantiles

ROWS, TRAINED = 5_000, 6_000
REGIONS = ("north", "south", "east", "west")
REGION = ConditionColumn(name="region", kind="string", vocabulary=REGIONS, nullable=True)
DRAW = {
    "normal": lambda random, rows: random.normal(size=rows),
    "heavy": lambda random, rows: random.standard_t(1.5, size=rows),
    "whole": lambda random, rows: random.poisson(3.0, size=rows).astype(float),
    "constant": lambda random, rows: np.full(rows, 5.0),
    "often zero": lambda random, rows: np.maximum(random.normal(size=rows), 0.0),
    "nullable": lambda random, rows: np.where(random.uniform(size=rows) < 0.1, np.nan, random.exponential(size=rows)),
}


def quantiles_of(values: np.ndarray) -> Quantiles:
    """Of values, as training has them: 64 steps, each value once."""
    kept = np.unique(np.quantile(values, np.linspace(0, 1, 65), method="inverted_cdf"))
    cumulative = np.searchsorted(np.sort(values), kept, side="right") / len(values)
    return Quantiles(values=tuple(kept.tolist()), cumulative=tuple(cumulative.tolist()))


def profile_of(name: str, values: np.ndarray, kind: str = "number") -> ColumnProfile:
    there = values[~np.isnan(values)]
    return ColumnProfile(
        name=name,
        kind=kind,
        rows=len(values),
        nulls=len(values) - len(there),
        mean=float(there.mean()),
        stddev=float(there.std()),
        quantiles=quantiles_of(there),
    )


def region_profile(random: np.random.Generator) -> ColumnProfile:
    values = random.choice([*REGIONS, "new"], size=TRAINED, p=[0.4, 0.3, 0.2, 0.095, 0.005])
    shares = [float(np.mean(values == name)) for name in REGIONS[:3]]
    return ColumnProfile(
        name="region",
        kind="string",
        rows=TRAINED,
        nulls=0,
        categories=REGIONS[:3],
        shares=tuple(shares),
        others=float(np.mean(values == "new")),
    )


@pytest.fixture(scope="module")
def profiles():
    random = np.random.default_rng(0)
    made = {name: profile_of(name, draw(random, TRAINED)) for name, draw in DRAW.items()}
    return made | {"region": region_profile(random)}


def judge(profile, values, *, looked_at=8, limits=None, column=None):
    counts = ColumnCounts(profile, column, "float64")
    counts.add(values if isinstance(values, pa.Array) else pa.array(values))
    return Judge(looked_at, limits or Limits()).column(profile, counts)


def test_tables_of_the_training_distribution_are_no_drift():
    """200 tables, each against a training of its own, with the limits at zero: chance alone is judged."""
    anything = Limits(ks=0.0, psi=0.0, share=0.0)
    alarms = 0
    for seed in range(200):
        random = np.random.default_rng([1, seed])
        found = []
        for name, draw in DRAW.items():
            found.append(judge(profile_of(name, draw(random, TRAINED)), draw(random, ROWS), limits=anything))
        regions = random.choice([*REGIONS, "new"], size=ROWS, p=[0.4, 0.3, 0.2, 0.095, 0.005])
        found.append(judge(region_profile(random), pa.array(regions), column=REGION, limits=anything))
        nll = random.normal(size=TRAINED) ** 2
        profile = NllProfile(rows=TRAINED, mean=1.0, stddev=1.4, quantiles=quantiles_of(nll))
        counts = NumberCounts(profile.quantiles)
        counts.add(random.normal(size=ROWS) ** 2)
        found.append(Judge(8, anything).nll(profile, counts, zero_density=0))
        alarms += any(each.verdict != "no drift" for each in found)
    assert alarms <= 2


@pytest.mark.parametrize("name", ["normal", "heavy", "whole", "often zero", "nullable"])
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x + 0.25 * np.nanstd(np.clip(x, -5, 5)),
        lambda x: x * 1.5,
        lambda x: x[x < np.nanquantile(x, 0.9)],
        lambda x: np.minimum(x, np.nanquantile(x, 0.5)),
        lambda x: np.where(np.arange(len(x)) % 20 == 0, np.nan, x),
        lambda x: np.where(np.arange(len(x)) % 20 == 0, 1e30, x),
    ],
    ids=["shifted", "scaled", "truncated", "capped", "nulls", "spikes"],
)
def test_what_has_changed_is_drift(profiles, name, change):
    values = change(DRAW[name](np.random.default_rng(2), ROWS))
    found = judge(profiles[name], values)
    assert found.verdict == "drift", (found.ks, found.psi, found.shares)
    assert found.reasons


def test_swapped_columns_are_drift(profiles):
    random = np.random.default_rng(3)
    columns = {name: draw(random, ROWS) for name, draw in DRAW.items()}
    for one, other in (("normal", "whole"), ("constant", "heavy"), ("often zero", "normal"), ("whole", "nullable")):
        assert judge(profiles[one], columns[other]).verdict == "drift"
        assert judge(profiles[other], columns[one]).verdict == "drift"


@pytest.mark.parametrize("value", [4.0, 6.0])
def test_a_constant_that_is_another_is_drift(profiles, value):
    found = judge(profiles["constant"], np.full(ROWS, value))
    assert found.ks == 1
    assert found.verdict == "drift"
    assert "100.0 % outside (0.0 %)" in found.reasons


@pytest.mark.parametrize(
    ("shares", "reason"),
    [
        ([0.2, 0.5, 0.2, 0.1, 0.0], "PSI"),
        ([0.38, 0.28, 0.2, 0.1, 0.04], "4.0 % unknown"),
    ],
)
def test_categories_that_shift_are_drift(profiles, shares, reason):
    values = np.repeat([*REGIONS, "new"], (np.array(shares) * ROWS).astype(int))
    found = judge(profiles["region"], pa.array(values), column=REGION)
    assert found.verdict == "drift"
    assert any(each.startswith(reason) for each in found.reasons), found.reasons
    assert found.ks is None
    assert found.bin_names == ("north", "south", "east", "others", "unknown")


def test_values_that_are_none_are_counted_for_what_they_are(profiles):
    text = pa.array(["1.5", "", None, "nan", "cheap", "inf"] * 100)
    found = judge(profiles["normal"], text)
    shares = {each.name: each.today for each in found.shares}
    assert shares["null"] == pytest.approx(3 / 6)
    assert shares["unusable"] == pytest.approx(1 / 6)
    assert shares["outside"] == pytest.approx(1 / 2)  # of the values
    counts = ColumnCounts(profiles["region"], REGION, "float64")
    counts.add(pa.array(["north", None, "west", "far"]))
    assert (counts.rows, counts.nulls, counts.unusable) == (4, 1, 0)
    assert counts.cells.tolist() == [1, 0, 0, 1, 1]
    number = ColumnProfile(name="n", kind="integer", rows=200, categories=(1, 2), shares=(0.5, 0.5))
    counts = ColumnCounts(number, ConditionColumn(name="n", kind="integer", vocabulary=(1, 2)), "float64")
    counts.add(pa.array([1.0, 2.0, 2.5, None, float("nan")]))
    assert (counts.nulls, counts.unusable, counts.cells.tolist()) == (2, 1, [1, 1, 0, 0])


def test_time_passes_and_is_no_drift_for_it():
    day = 86_400.0
    profile = profile_of("when", np.arange(500) * day, kind="timestamp")
    when = ConditionColumn(name="when", kind="timestamp", parts=("hour", "trend"), offset=day)
    later = pa.array((np.arange(500) * day + 600 * day) * 1_000, pa.float64()).cast(pa.int64()).cast(pa.timestamp("ms"))
    found = judge(profile, later, column=when)
    assert (found.ks, found.verdict) == (1, "no drift")
    assert found.mean == pytest.approx(849.5 * day)
    gone = pa.array(["2024-03-01", "soon", None, "1971-01-01T00:00:00Z"] * 50)
    found = judge(profile, gone, column=when)
    assert [each.today for each in found.shares] == [0.25, 0.25, 0.5]
    assert found.reasons == ("25.0 % null (0.0 %)", "25.0 % unusable (0.0 %)")


def test_few_rows_are_said_to_be_few(profiles):
    assert judge(profiles["normal"], np.full(99, 9.0)).verdict == "too few rows"
    assert judge(profiles["normal"], np.array([])).verdict == "too few rows"
    assert judge(profiles["nullable"], np.full(ROWS, np.nan)).reasons == ("100.0 % null (10.6 %)",)


def test_counts_are_the_same_whatever_the_batches(profiles):
    values = DRAW["nullable"](np.random.default_rng(4), ROWS)
    whole = ColumnCounts(profiles["nullable"], None, "float32")
    whole.add(pa.array(values))
    merged = ColumnCounts(profiles["nullable"], None, "float32")
    for part in np.array_split(values, 7):
        one = ColumnCounts(profiles["nullable"], None, "float32")
        one.add(pa.array(part))
        merged.merge(one)
    assert merged.cells.tolist() == whole.cells.tolist()
    assert (merged.rows, merged.nulls) == (whole.rows, whole.nulls)


def test_numbers_are_compared_in_the_models_type_and_less_their_offset():
    base = 1_700_000_000.0
    quantiles = Quantiles(values=(base, base + 1, base + 2), cumulative=(0.25, 0.5, 1.0))
    counts = NumberCounts(quantiles, offset=base, dtype="float32")
    counts.add(np.array([base - 1, base, base + 0.5, base + 1, base + 2, base + 3]))
    assert counts.cells.tolist() == [1, 1, 2, 1, 1]
    assert counts.mean == pytest.approx(base + 5.5 / 6)
    third = Quantiles(values=(float(np.float32(1 / 3)),), cumulative=(1.0,))
    counts = NumberCounts(third, dtype="float32")
    counts.add(np.array([1 / 3]))
    assert counts.cells.tolist() == [0, 1, 0]


def test_the_stability_index_is_that_of_the_shares():
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.3, 0.3, 0.4])
    assert stability_index(p * 1e7, q, 10**7) == pytest.approx(((p - q) * np.log(p / q)).sum(), rel=1e-4)


def test_an_nll_of_rows_that_are_not_likely():
    random = np.random.default_rng(5)
    profile = NllProfile(rows=TRAINED, mean=0.5, stddev=1.0, quantiles=quantiles_of(random.exponential(size=TRAINED)))
    values = random.exponential(size=ROWS)
    for change, zero, reason in (
        (values + 0.2, 0, "KS"),
        (np.where(np.arange(ROWS) % 25 == 0, 50.0, values), 0, "5.5 % unlikely"),
        (values, 300, "5.7 % zero density"),
    ):
        counts = NumberCounts(profile.quantiles)
        counts.add(change)
        found = Judge(1, Limits()).nll(profile, counts, zero_density=zero)
        assert found.verdict == "drift"
        assert any(each.startswith(reason) for each in found.reasons), found.reasons
