from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf import DataConfig
from maf.profiling import MOST_ROWS_SORTED, make_quantiles, profile_rows
from maf.rows import split_table
from maf.run_directory import RunDirectory, RunSummary
from maf_serving.training_profile import MOST_CATEGORIES, QUANTILE_STEPS

ROWS = 4_000
WHEN = 1_700_040_000.0


def make_table():
    rng = np.random.default_rng(0)
    age = rng.normal(40, 10, ROWS)
    return pa.table(
        {
            "price": np.round(rng.gamma(2, 50, ROWS), 1),
            "volume": rng.normal(size=ROWS),
            "age": pa.array(age, mask=rng.random(ROWS) < 0.1),
            "flag": np.full(ROWS, 5.5),
            "when": WHEN + np.round(rng.random(ROWS) * 1000, 1),
            "zeros": np.where(rng.random(ROWS) < 0.7, 0.0, rng.exponential(size=ROWS)),
            "region": pa.array(np.array(["north", "south", "east", "rare"])[np.r_[3, rng.integers(0, 3, ROWS - 1)]]),
            "store": rng.integers(0, 150, ROWS),
        }
    )


EVENT = ("price", "volume")
CONDITION = ("age", "flag", "when", "zeros", "region", "store")


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    directory = tmp_path_factory.mktemp("profiled")
    table = make_table()
    pq.write_table(table, directory / "t.parquet")
    data = DataConfig(
        data=(str(directory / "t.parquet"),),
        event=EVENT,
        condition=CONDITION,
        categorical=("store",),
        max_categories=120,
        nullable=("zeros",),
        test_share=0.0,
        validation_share=0.1,
    )
    return split_table(data, directory / "rows", dtype="float32", seed=0)


@pytest.fixture(scope="module")
def profile(split):
    return profile_rows(split, EVENT, -np.arange(len(split.validation)) / 7)


def column(profile, name):
    return next(each for each in (*profile.event, *profile.condition) if each.name == name)


def test_every_column_in_its_role(profile, split):
    assert [each.name for each in profile.event] == list(EVENT)
    assert [each.name for each in profile.condition] == list(CONDITION)
    assert {each.rows for each in (*profile.event, *profile.condition)} == {len(split.training)}
    assert [each.kind for each in profile.condition] == ["number"] * 4 + ["string", "integer"]
    assert [each.name for each in profile.condition if each.null_is_trained] == ["zeros"]


def test_numbers_are_those_of_the_training_rows(profile, split):
    for index, each in enumerate((*profile.event, *profile.condition[:4])):
        offset = split.columns[index - 2].offset if index > 1 else 0.0
        values = np.asarray(split.training[:, index], np.float64)
        known = values[~np.isnan(values)] + offset
        assert each.nulls == np.isnan(values).sum()
        np.testing.assert_allclose([each.mean, each.stddev], [known.mean(), known.std()], rtol=1e-6, atol=1e-6)
        ends = np.float64([each.quantiles.minimum, each.quantiles.maximum]) - offset
        np.testing.assert_array_equal(ends.astype(np.float32), [np.nanmin(values), np.nanmax(values)])
        # a thousandth of a deviation more, for what the digits leave out
        at_most = (known[:, None] <= np.array(each.quantiles.values) + each.stddev / 1000).mean(axis=0)
        assert (at_most >= np.array(each.quantiles.cumulative) - 1e-6).all()
        np.testing.assert_allclose(at_most, each.quantiles.cumulative, atol=0.01)
    assert column(profile, "age").nulls > 200
    assert column(profile, "when").mean == pytest.approx(WHEN + 500, abs=20)


def test_values_are_as_the_table_has_them(profile):
    table = make_table()
    for name in ("price", "when"):
        assert set(column(profile, name).quantiles.values) <= set(table.column(name).to_pylist()), name


def test_a_value_of_many_rows_has_its_exact_share(profile, split):
    assert column(profile, "flag").quantiles == make_quantiles(np.array([5.5]))
    zeros = column(profile, "zeros").quantiles
    index = len(EVENT) + CONDITION.index("zeros")
    assert zeros.values[0] == 0
    assert zeros.cumulative[0] == pytest.approx((split.training[:, index] == 0).mean(), abs=1e-6)
    gaps = [high - low for low, high in itertools.pairwise(zeros.cumulative)]
    assert max(gaps) <= 1 / QUANTILE_STEPS + 1e-3


def test_categories_are_the_most_frequent_with_their_shares(profile, split):
    region = column(profile, "region")
    assert set(region.categories) == {"north", "south", "east"}
    assert region.shares == tuple(sorted(region.shares, reverse=True))
    place = len(EVENT) + CONDITION.index("region")
    others = (split.training[:, place] == 3).sum()
    assert region.others == others / len(split.training)
    assert sum(region.shares) + region.others == pytest.approx(1, abs=1e-5)
    store = column(profile, "store")
    assert len(store.categories) == MOST_CATEGORIES
    assert store.others > 0
    assert sum(store.shares) + store.others < 1


def test_likelihoods_of_the_validation_rows(profile, split):
    rows = len(split.validation)
    assert profile.nll.rows == rows
    assert (profile.nll.quantiles.minimum, profile.nll.mean) == (0, pytest.approx((rows - 1) / 14))
    assert profile_rows(split, EVENT, np.full(rows, -np.inf)).nll is None
    assert profile_rows(split, EVENT, np.r_[np.zeros(rows - 1), -np.inf]).nll.rows == rows - 1


def test_many_rows_are_known_by_a_part_of_them_but_their_ends_by_all():
    rng = np.random.default_rng(1)
    values = rng.normal(size=2 * MOST_ROWS_SORTED).astype(np.float32)
    values[1] = 100.0
    quantiles = make_quantiles(values[::2], ends=np.array([values.min(), values.max()]))
    assert quantiles.maximum == 100
    assert quantiles.minimum == float(str(values.min()))
    assert quantiles.at(0.5) == pytest.approx(0, abs=0.02)
    assert len(quantiles.values) == QUANTILE_STEPS + 1


@pytest.mark.parametrize("values", [[1.0], [2.0, 2.0], [1.0, 2.0], [0.1, 0.2, 0.7]])
def test_few_rows(values):
    quantiles = make_quantiles(np.array(values, np.float32))
    assert quantiles.values == tuple(sorted(set(values)))
    assert quantiles.cumulative[-1] == 1


def test_a_run_keeps_it_and_an_older_run_has_none(profile, tmp_path):
    directory = RunDirectory(tmp_path)
    assert directory.read_profile() is None
    directory.finish(RunSummary(80, 10, 10, 0, 3, 1.5, 1.25, 0.1), profile)
    assert directory.read_profile() == profile
