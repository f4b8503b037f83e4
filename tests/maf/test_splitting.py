import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from maf import DataConfig, splitting
from maf.errors import ConfigError, DataError
from maf.rows import split_table
from maf.search.arguments import parse_search
from maf.splitting import DistinctKeys

ROWS = 4_000
SPLITS = ("training", "validation", "test")
FIRST = np.datetime64("2023-12-20T00:00:00")


@pytest.fixture(scope="module")
def table():
    """Rows in no order; `id` is an event column, so that a split file tells which rows it holds."""
    rng = np.random.default_rng(5)
    store = rng.geometric(0.03, ROWS)
    return pa.table(
        {
            "id": np.arange(float(ROWS)),
            "c": rng.normal(size=ROWS),
            "sold_at": FIRST + rng.integers(0, 60, ROWS).astype("timedelta64[D]").astype("timedelta64[s]"),
            "store": store,
            "city": pa.array([f"city {number % 17}" if number % 17 else None for number in store]),
        }
    )


def written(table, path):
    (pa.csv.write_csv if path.suffix == ".csv" else pq.write_table)(table, path)
    return str(path)


def split(tmp_path, table, split_by, *, seed=0, suffix=".parquet", name="rows", **other):
    files = (written(table[:1_500], tmp_path / f"a{suffix}"), written(table[1_500:], tmp_path / f"b{suffix}"))
    data = DataConfig(data=files, event=("id",), condition=("c",), split_by=split_by, **other)
    return split_table(data, tmp_path / name, dtype="float64", seed=seed)


def ids(rows, name):
    """Of the rows of a split, as they lie in its file."""
    return getattr(rows, name)[:, 0].astype(int)


def by_split(rows, values):
    return {name: np.asarray(values)[ids(rows, name)] for name in SPLITS}


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_by_time_the_last_rows_are_test_and_no_time_is_in_two_splits(tmp_path, table, suffix):
    rows = split(tmp_path, table, "time:sold_at", suffix=suffix)
    assert sorted(np.concatenate([ids(rows, name) for name in SPLITS])) == list(range(ROWS))
    times = by_split(rows, table["sold_at"].to_numpy())
    assert times["training"].max() < times["validation"].min()
    assert times["validation"].max() < times["test"].min()
    for name in ("validation", "test"):
        assert len(times[name]) == pytest.approx(ROWS / 10, abs=ROWS / 60)
    (line,) = (line for line in rows.findings if "split by" in line)
    days = [str(times[name].min())[:10] for name in ("validation", "test")]
    assert line == f"split by column 'sold_at': validation rows from {days[0]}, test rows from {days[1]}"


@pytest.mark.parametrize(
    "convert",
    [
        lambda column: column.cast(pa.date32()),
        lambda column: column.cast(pa.timestamp("ns", "America/Lima")),
        lambda column: column.cast(pa.string()),
        lambda column: column.cast(pa.timestamp("s")).cast(pa.int64()),
        lambda column: column.cast(pa.timestamp("s")).cast(pa.int64()).cast(pa.float64()),
    ],
    ids=["date", "zone", "text", "integers", "floats"],
)
def test_times_of_any_type_split_alike(tmp_path, table, convert):
    plain = split(tmp_path, table, "time:sold_at")
    other = table.set_column(2, "sold_at", convert(table["sold_at"]))
    again = split(tmp_path, other, "time:sold_at", name="other")
    for name in SPLITS:
        np.testing.assert_array_equal(ids(plain, name), ids(again, name))


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
@pytest.mark.parametrize("column", ["store", "city"])
def test_by_group_no_group_is_in_two_splits_and_shares_of_rows_are_kept(tmp_path, table, column, suffix):
    rows = split(tmp_path, table, f"group:{column}", suffix=suffix)
    assert sorted(np.concatenate([ids(rows, name) for name in SPLITS])) == list(range(ROWS))
    groups = {name: set(values) for name, values in by_split(rows, table[column].to_pylist()).items()}
    for first, second in (("training", "validation"), ("training", "test"), ("validation", "test")):
        assert not groups[first] & groups[second]
    for name in ("validation", "test"):
        assert len(ids(rows, name)) == pytest.approx(ROWS / 10, abs=ROWS / (200 if column == "store" else 20))


def test_groups_are_held_out_by_the_seed_and_the_same_from_any_file(tmp_path, table):
    first, again, other = (
        set(ids(split(tmp_path, table, "group:store", seed=seed, name=name, suffix=suffix), "test"))
        for seed, name, suffix in ((1, "a", ".parquet"), (1, "b", ".csv"), (2, "c", ".parquet"))
    )
    assert first == again
    assert first != other
    floats = table.set_column(3, "store", table["store"].cast(pa.float64()))
    assert set(ids(split(tmp_path, floats, "group:store", seed=1, name="d"), "test")) == first


def test_a_group_larger_than_its_share_stays_in_training(tmp_path):
    store = np.concatenate([np.zeros(900, int), np.repeat(np.arange(1, 21), 30)])
    table = pa.table({"id": np.arange(1_500.0), "c": np.arange(1_500.0), "store": store})
    for seed in range(8):
        rows = split(tmp_path, table, "group:store", seed=seed, name=str(seed))
        assert 0 in store[ids(rows, "training")]
        assert [len(ids(rows, name)) for name in ("validation", "test")] == [150, 150]


def test_three_groups_are_enough_and_two_are_not(tmp_path, table):
    thirds = table.set_column(3, "store", pa.array(np.arange(ROWS) % 3))
    rows = split(tmp_path, thirds, "group:store")
    assert all(len(ids(rows, name)) == pytest.approx(ROWS / 3, abs=1) for name in SPLITS)
    halves = table.set_column(3, "store", pa.array(np.arange(ROWS) % 2))
    for by, kind in (("group", "groups"), ("time", "different times")):
        message = (
            f"column 'store' that --split_by {by}:store reads has 2 {kind} in 4,000 rows; expected at least 3, "
            "one for each of training, validation, test"
        )
        with pytest.raises(DataError, match=message):
            split(tmp_path, halves, f"{by}:store", name="halves")
    rows = split(tmp_path, halves, "group:store", name="no test", test_share=0.0)
    assert len(rows.test) == 0
    assert len(rows.validation) == ROWS / 2


def test_rows_without_a_time_are_left_out_and_counted(tmp_path, table):
    late = table["sold_at"].to_pylist()
    late[:10] = [None] * 10
    rows = split(tmp_path, table.set_column(2, "sold_at", pa.array(late)), "time:sold_at")
    assert rows.dropped == 10
    assert rows.findings[0].endswith("; 10 rows have no time, and are left out")
    assert not set(range(10)) & {index for name in SPLITS for index in ids(rows, name)}


def test_the_column_may_be_one_of_the_model_or_of_its_directories(tmp_path, table):
    rows = split(tmp_path, table, "time:c")
    values = by_split(rows, table["c"].to_numpy())
    assert values["training"].max() < values["validation"].min() < values["validation"].max() < values["test"].min()
    for day in range(1, 21):
        (tmp_path / f"parts/day=2024-01-{day:02}").mkdir(parents=True)
        written(table[day * 100 : day * 100 + 100], tmp_path / f"parts/day=2024-01-{day:02}/part.parquet")
    data = DataConfig(data=(str(tmp_path / "parts"),), event=("id",), condition=("c",), split_by="time:day")
    rows = split_table(data, tmp_path / "of parts", dtype="float64", seed=0)
    assert sorted(ids(rows, "test")) == list(range(1_900, 2_100))
    assert sorted(ids(rows, "validation")) == list(range(1_700, 1_900))


def test_rows_of_test_tables_are_test_whatever_they_hold(tmp_path, table):
    held_out = written(table.select(["id", "c"])[:30], tmp_path / "held out.parquet")
    rows = split(tmp_path, table, "time:sold_at", test_data=(held_out,))
    assert sorted(ids(rows, "test")) == list(range(30))
    times = by_split(rows, table["sold_at"].to_numpy())
    assert times["training"].max() < times["validation"].min()
    assert len(times["validation"]) == pytest.approx(ROWS / 10, abs=ROWS / 60)


@pytest.mark.parametrize(
    ("column", "split_by", "message"),
    [
        (None, "time:sold", r"has no column 'sold'; did you mean 'sold_at'\?"),
        (["soon"] * ROWS, "time:x", r"a\.parquet, row 0 \(from 0\): x: not a point in time: 'soon'; expected dates or"),
        ([[1]] * ROWS, "group:x", "holds lists or records; --split_by group:x expects text, numbers or dates"),
        ([True] * ROWS, "time:x", "holds truth values; --split_by time:x expects dates, timestamps or numbers"),
    ],
    ids=["no column", "no time", "lists", "booleans"],
)
def test_columns_that_cannot_decide_are_refused(tmp_path, table, column, split_by, message):
    table = table if column is None else table.append_column("x", pa.array(column))
    with pytest.raises(DataError, match=message):
        split(tmp_path, table, split_by)


@pytest.mark.parametrize("split_by", ["sold_at", "time:", "day:sold_at", ""])
def test_a_rule_that_is_none_is_refused(split_by):
    with pytest.raises(ConfigError, match="expected time:COLUMN or group:COLUMN, as in group:store"):
        DataConfig(data=("a.csv",), event=("y",), split_by=split_by)


def test_a_search_has_no_folds_that_would_leak():
    command = ["--input", "a.csv", "--event", "y", "--output", "out", "--split_by", "group:store"]
    assert parse_search(command).config.data.split_by == "group:store"
    with pytest.raises(ConfigError, match="folds is 5 with --split_by group:store; other folds are drawn row by row"):
        parse_search([*command, "--folds", "5"])


def test_more_times_than_are_kept_apart_are_cut_nearly_where_they_should_be(monkeypatch):
    monkeypatch.setattr(splitting, "LEAST_MERGED", 1_000)
    rng = np.random.default_rng(0)
    for order in (1, -1):
        values = np.sort(rng.random(200_000))[::order]
        distinct = DistinctKeys(most=4_096)
        for batch in np.array_split(values, 100):
            distinct.add(batch)
        assert distinct.rows == 200_000
        assert len(distinct.keys) <= 4_096
        exact = np.searchsorted(np.sort(values), distinct.keys, side="right")
        assert np.abs(np.cumsum(distinct.counts) - exact).max() < 0.02 * 200_000
        assert distinct.counts.max() < 0.02 * 200_000
