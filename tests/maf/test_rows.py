import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from maf import DataConfig
from maf.errors import DataError
from maf.rows import SPLITS, split_table
from maf_serving.moments import Moments


def write(path, y, c):
    pq.write_table(pa.table({"y": y, "c": c}), path)
    return str(path)


def config(*files, **other):
    return DataConfig(data=files, event=("y",), condition=("c",), **other)


def split(tmp_path, data, dtype="float64", seed=0):
    return split_table(data, tmp_path / "rows", dtype=dtype, seed=seed)


def test_every_usable_row_is_in_one_split_and_shares_are_kept(tmp_path):
    rng = np.random.default_rng(0)
    y, c = np.arange(20_000.0), rng.normal(size=20_000)
    y[17], c[40], c[41] = np.nan, np.inf, np.nan
    rows = split(tmp_path, config(write(tmp_path / "a.parquet", y, c)))
    together = np.concatenate([rows.training, rows.validation, rows.test])
    usable = np.isfinite(y) & np.isfinite(c)
    np.testing.assert_array_equal(together[together[:, 0].argsort()], np.stack([y, c], axis=1)[usable])
    assert rows.dropped == 3
    assert len(rows.validation) == pytest.approx(2_000, abs=200)
    assert len(rows.test) == pytest.approx(2_000, abs=200)
    np.testing.assert_allclose(rows.standardization.event_loc, rows.training[:, 0].mean())
    np.testing.assert_allclose(rows.standardization.condition_scale, rows.training[:, 1].std())


def test_equal_seeds_give_equal_splits_and_other_seeds_others(tmp_path):
    file = write(tmp_path / "a.parquet", np.arange(1_000.0), np.arange(1_000.0))
    first, again, other = (
        np.array(split_table(config(file), tmp_path / str(i), dtype="float32", seed=seed).test)
        for i, seed in enumerate((1, 1, 2))
    )
    np.testing.assert_array_equal(first, again)
    assert len(first) != len(other) or not np.array_equal(first, other)


def test_the_split_does_not_depend_on_rows_drawn_with_the_same_seed(tmp_path):
    drawn = np.random.default_rng(0).random(20_000)
    rows = split(tmp_path, config(write(tmp_path / "a.parquet", np.arange(20_000.0), drawn)), seed=0)
    assert rows.test[:, 1].mean() == pytest.approx(0.5, abs=0.03)
    assert rows.validation[:, 1].mean() == pytest.approx(0.5, abs=0.03)


def test_rows_are_read_once_and_read_again_after_an_interruption(tmp_path):
    file = write(tmp_path / "a.parquet", np.arange(1_000.0), np.arange(1_000.0))
    whole = np.array(split(tmp_path, config(file)).training)
    (tmp_path / "a.parquet").unlink()
    np.testing.assert_array_equal(split(tmp_path, config(file)).training, whole)
    (tmp_path / "rows" / "rows.json").unlink()
    with pytest.raises(DataError, match="no file matches"):
        split(tmp_path, config(file))
    write(tmp_path / "a.parquet", np.arange(1_000.0), np.arange(1_000.0))
    np.testing.assert_array_equal(split(tmp_path, config(file)).training, whole)


def test_test_data_replace_the_test_share(tmp_path):
    train = write(tmp_path / "a.parquet", np.arange(1_000.0), np.arange(1_000.0))
    held_out = write(tmp_path / "b.parquet", -np.arange(30.0), np.arange(30.0))
    rows = split(tmp_path, config(train, test_data=(held_out,)))
    np.testing.assert_array_equal(rows.test[:, 0], -np.arange(30.0))
    assert len(rows.training) + len(rows.validation) == 1_000


@pytest.mark.parametrize(
    ("y", "c", "message"),
    [
        ([], [], "has no rows"),
        ([1.0, np.nan] * 50, np.arange(100.0), "50 of 100 rows have a missing, NaN or infinite value"),
        (np.arange(3.0), np.arange(3.0), "3 usable rows, split"),
        (np.full(100, 2.5), np.arange(100.0), "event column 'y' is constant, 2.5 in every training row"),
        (
            1e12 + np.arange(100.0),
            np.arange(100.0),
            r"'y' is constant, 1e\+12 in every training row; .* --dtype float64",
        ),
    ],
    ids=["no rows", "missing", "too few", "constant event", "constant in float32"],
)
def test_tables_that_cannot_be_trained_on_are_refused(tmp_path, y, c, message):
    file = write(tmp_path / "a.parquet", np.array(y, float), np.array(c, float))
    with pytest.raises(DataError, match=message):
        split(tmp_path, config(file), dtype="float32")


def test_a_constant_condition_is_named_and_gets_scale_one(tmp_path):
    rows = split(tmp_path, config(write(tmp_path / "a.parquet", np.arange(1_000.0), np.full(1_000, 0.1))))
    assert rows.constant == ("c",)
    assert rows.standardization.condition_scale == [1.0]


def test_values_beyond_the_dtype_count_as_infinite(tmp_path):
    y = np.arange(1_000.0)
    y[3] = 1e300
    rows = split(tmp_path, config(write(tmp_path / "a.parquet", y, y[::-1].copy())), dtype="float32")
    assert rows.dropped == 2
    assert all(np.isfinite(getattr(rows, name)).all() for name in SPLITS)


def test_moments_over_batches_equal_moments_of_all_rows():
    rows = 1e9 + np.random.default_rng(0).normal(size=(10_000, 3)) * [1, 10, 100]
    moments = Moments(3)
    for batch in np.array_split(rows, [1, 1, 7, 5_000]):
        moments.add(batch)
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(moments.scale, rows.std(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(moments.maximum, rows.max(axis=0))


@pytest.mark.parametrize(
    ("spread", "dtype", "told"),
    [(3_600, "float32", True), (30, "float32", True), (3_600, "float64", False), (3e7, "float32", False)],
)
def test_seconds_since_1970_that_float32_cannot_tell_apart_are_said(tmp_path, spread, dtype, told):
    rng = np.random.default_rng(0)
    when = 1.7e9 + rng.uniform(0, spread, 2_000)
    rows = split(tmp_path, config(write(tmp_path / "a.parquet", rng.normal(size=2_000), when)), dtype=dtype)
    lines = [line for line in rows.findings if "cannot tell them apart" in line]
    assert len(lines) == told
    if told:
        assert lines[0].startswith("warning: column 'c' has values up to 1.7e+09, where float32 has steps of 128, and")
        assert lines[0].endswith("or use --dtype float64")
