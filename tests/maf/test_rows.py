import dataclasses

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
    [(3_600, "float32", True), (30, "float32", False), (3_600, "float64", False), (3e7, "float32", False)],
)
def test_events_that_float32_cannot_tell_apart_are_said(tmp_path, spread, dtype, told):
    rng = np.random.default_rng(0)
    when = 1.7e9 + rng.uniform(0, spread, 2_000)
    data = config(write(tmp_path / "a.parquet", when, rng.normal(size=2_000)))
    if spread == 30:
        with pytest.raises(
            DataError, match=r"event column 'y' is constant, 1\.7e\+09 in every training row; leave it out"
        ):
            split(tmp_path, data, dtype=dtype)
        return
    lines = [line for line in split(tmp_path, data, dtype=dtype).findings if "cannot tell them apart" in line]
    assert len(lines) == told
    if told:
        assert lines[0].startswith("warning: column 'y' has values up to 1.7e+09, where float32 has steps of 128, and")
        assert lines[0].endswith("or use --dtype float64")


@pytest.mark.parametrize(
    ("spread", "dtype", "offset"),
    [
        (30, "float32", 1_700_000_015),
        (86_400, "float32", 1_700_040_000),
        (86_400, "float64", 0),
        (3e7, "float32", 0),
    ],
)
def test_seconds_since_1970_get_an_offset_where_float32_needs_one(tmp_path, spread, dtype, offset):
    rng = np.random.default_rng(0)
    when, y = 1.7e9 + rng.uniform(0, spread, 2_000), np.arange(2_000.0)
    data = config(write(tmp_path / "a.parquet", y, when))
    rows = split(tmp_path, data, dtype=dtype)
    (column,) = rows.columns
    assert column.offset == offset
    together = np.concatenate([rows.training, rows.validation, rows.test])
    assert together.dtype == dtype
    together = together[together[:, 0].argsort()]
    np.testing.assert_array_equal(together[:, 1], (when - offset).astype(dtype))
    np.testing.assert_allclose(rows.standardization.condition_loc, rows.training[:, 1].mean(dtype=np.float64))
    assert rows.constant == ()
    said = [line for line in rows.findings if "is taken off in float64 first" in line]
    assert len(said) == bool(offset)
    # a run's offset is kept when its rows are read again, whatever they are
    known = dataclasses.replace(data, condition_columns=rows.columns)
    again = split_table(known, tmp_path / "again", dtype=dtype, seed=0)
    np.testing.assert_array_equal(again.training, rows.training)
    assert again.columns == rows.columns


def test_offsets_go_with_nulls_categories_and_rows_that_are_left_out(tmp_path):
    rng = np.random.default_rng(0)
    when, kind = 1.7e9 + rng.uniform(0, 600, 3_000), rng.choice(["a", "b"], 3_000)
    y = np.arange(3_000.0)
    y[5] = np.nan
    columns = {"y": y, "when": pa.array(when, mask=rng.random(3_000) < 0.2), "kind": kind}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    data = DataConfig(data=(str(tmp_path / "a.parquet"),), event=("y",), condition=("kind", "when"))
    rows = split(tmp_path, data, dtype="float32")
    assert [column.offset for column in rows.columns] == [0, pytest.approx(1_700_000_300, abs=100)]
    assert rows.columns[1].nullable
    assert rows.dropped == 1
    known = ~np.isnan(rows.training[:, 2])
    wanted = (when - rows.columns[1].offset).astype(np.float32)[rows.training[known, 0].astype(int)]
    np.testing.assert_array_equal(rows.training[known, 2], wanted)
    assert set(np.unique(rows.training[:, 1])) == {0, 1}


@pytest.mark.parametrize(
    "values",
    [16_000_000 + np.arange(500) % 7, np.full(500, 0.1), 2000 + np.arange(500) % 24, np.full(500, np.pi * 1e9)],
)
def test_numbers_that_float32_holds_or_that_never_change_get_no_offset(tmp_path, values):
    rows = split(tmp_path, config(write(tmp_path / "a.parquet", np.arange(500.0), values)), dtype="float32")
    assert rows.columns[0].offset == 0
    np.testing.assert_array_equal(np.sort(rows.training[:, 1]), np.sort(rows.training[:, 1].astype(np.float32)))


def test_a_file_a_day_gets_the_offset_of_all_days(tmp_path):
    """The first rows alone, which are equal, do not say how far the others are."""
    files = []
    for day in range(4):
        when = np.full(300, 1.7e9 + 300.5 * day)
        files.append(write(tmp_path / f"{day}.parquet", np.arange(300.0), when))
    (column,) = split(tmp_path, config(*files), dtype="float32").columns
    assert column.offset == pytest.approx(1_700_000_450, abs=100)
