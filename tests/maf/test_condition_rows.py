"""Categories and nulls of a table on their way to rows and encodings."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from maf import DataConfig
from maf.errors import DataError
from maf.rows import split_table
from maf_serving.columns import ConditionColumn, encoded_columns

ROWS = 4_000


def make_table(rows=ROWS, seed=0):
    rng = np.random.default_rng(seed)
    region = rng.choice(["north", "south", "NA"], rows, p=[0.5, 0.3, 0.2])
    region[:3] = "rare"
    store = rng.choice([10, 20, 30], rows, p=[0.2, 0.5, 0.3])
    income = rng.normal(50, 5, rows)
    columns = {
        "y": pa.array(rng.normal(size=rows)),
        "region": pa.array(region),
        "store": pa.array(store, mask=rng.random(rows) < 0.1),
        "income": pa.array(income, mask=rng.random(rows) < 0.2),
        "age": pa.array(rng.normal(size=rows)),
    }
    return pa.table(columns)


def config(*files, **other):
    condition = ("region", "store", "income", "age")
    return DataConfig(data=files, event=("y",), condition=condition, categorical=("store",), **other)


def write(path, table):
    pq.write_table(table, path)
    return str(path)


def split(tmp_path, data, name="rows"):
    return split_table(data, tmp_path / name, dtype="float32", seed=0)


def test_vocabularies_and_nulls_are_found(tmp_path):
    table = make_table()
    rows = split(tmp_path, config(write(tmp_path / "a.parquet", table)))
    assert rows.columns == (
        ConditionColumn(name="region", kind="string", vocabulary=("north", "south", "NA")),
        ConditionColumn(name="store", kind="integer", vocabulary=(20, 30, 10), nullable=True),
        ConditionColumn(name="income", nullable=True),
        ConditionColumn(name="age"),
    )
    assert rows.dropped == 0
    assert len(rows.training) + len(rows.validation) + len(rows.test) == ROWS
    text = "\n".join(rows.findings)
    assert "column 'region': 3 categories (string), most frequent 'north'" in text
    assert "column 'income': " in text
    assert "--nulls drop leaves such rows out" in text


def test_rows_are_encoded_as_named(tmp_path):
    """Each row, by way of file and batch, is what its raw values say."""
    table = make_table()
    rows = split(tmp_path, config(write(tmp_path / "a.parquet", table)))
    names = encoded_columns(rows.columns)
    by_y = {np.float32(row["y"]): row for row in table.to_pylist()}
    encoded = rows.condition.encode(tf.constant(rows.test[:, 1:])).numpy()
    mean = rows.standardization.condition_loc[names.index("income")]
    assert len(encoded) > 300
    for y, values in zip(rows.test[:, 0], encoded, strict=True):
        raw = by_y[y]
        region = raw["region"] if raw["region"] != "rare" else "<other>"
        store = "store is null" if raw["store"] is None else f"store={raw['store']}"
        expected = {f"region={region}": 1.0, store: 1.0, "age": np.float32(raw["age"])}
        expected["income"] = np.float32(mean if raw["income"] is None else raw["income"])
        expected["income is null"] = float(raw["income"] is None)
        np.testing.assert_array_equal(values, np.array([expected.get(name, 0.0) for name in names], np.float32))


def test_moments_are_those_of_the_values_there_are(tmp_path):
    rows = split(tmp_path, config(write(tmp_path / "a.parquet", make_table())))
    names = encoded_columns(rows.columns)
    loc, scale = rows.standardization.condition_loc, rows.standardization.condition_scale
    income = np.asarray(rows.training[:, 3], np.float64)
    place = names.index("income")
    assert loc[place] == pytest.approx(np.nanmean(income))
    assert scale[place] == pytest.approx(np.nanstd(income))
    indicators = [i for i, name in enumerate(names) if "=" in name or "null" in name]
    assert (loc[indicators] == 0).all()
    assert (scale[indicators] == 1).all()


@pytest.mark.parametrize(("nulls", "states"), [("auto", ["income"]), ("state", ["store", "income"]), ("drop", [])])
def test_few_nulls_are_dropped_unless_they_are_asked_for(tmp_path, nulls, states):
    """10 nulls of store are too few to learn from, 800 of income are not."""
    table = make_table()
    store = np.asarray(table["store"].fill_null(20))
    few = pa.array(store, mask=np.arange(ROWS) % 400 == 5)
    file = write(tmp_path / "a.parquet", table.set_column(2, "store", few))
    rows = split(tmp_path, config(file, nulls=nulls, max_dropped_share=0.5))
    assert [column.name for column in rows.columns if column.nullable] == states
    lost = sum(
        1 for row in pq.read_table(file).to_pylist() if any(v is None for k, v in row.items() if k not in states)
    )
    assert rows.dropped == lost
    assert sum(map(len, (rows.training, rows.validation, rows.test))) == ROWS - lost
    assert not np.isnan(rows.training[:, 0]).any()


def test_a_run_reads_other_rows_with_its_own_vocabulary(tmp_path):
    """As the report does: other values are others, a null where none was is dropped."""
    first = split(tmp_path, config(write(tmp_path / "a.parquet", make_table())))
    table = make_table(seed=1)
    region = pa.array(np.where(np.arange(ROWS) % 2, "elsewhere", table["region"].to_numpy(zero_copy_only=False)))
    age = pa.array(np.asarray(table["age"]), mask=np.arange(ROWS) < 100)
    other = table.set_column(1, "region", region).set_column(4, "age", age)
    known = dataclasses.replace(config(write(tmp_path / "b.parquet", other)), condition_columns=first.columns)
    rows = split(tmp_path, known, "other")
    assert rows.columns == first.columns
    assert rows.dropped == 100
    assert (rows.training[:, 1] == 3).mean() == pytest.approx(0.5, abs=0.05)


def test_csv_reads_text_and_empty_cells(tmp_path):
    """NA is a region, an empty cell is null, and a file where regions look like numbers is text as well."""
    rng = np.random.default_rng(0)
    lines = [
        f"{rng.normal():.6f},{r},{s},{n},0"
        for r, s, n in zip(["x", "NA", ""] * 200, ["7", "", "8.0"] * 200, ["1.5", "2", "nan"] * 200, strict=True)
    ]
    (tmp_path / "a.csv").write_text("\n".join(["y,region,store,income,age", *lines]))
    more = [f"{rng.normal():.6f},{i % 2},7,1,0" for i in range(600)]
    (tmp_path / "b.csv").write_text("\n".join(["y,region,store,income,age", *more]))
    rows = split(tmp_path, config(str(tmp_path / "*.csv"), min_category_rows=20))
    region, store, income, _ = rows.columns
    assert set(region.vocabulary) == {"x", "NA", "0", "1"}
    assert set(store.vocabulary) == {7, 8}
    assert (region.nullable, store.nullable, income.nullable) == (True, True, True)


REFUSED = {
    "a category in one file, a number in another": (
        {"region": pa.array(np.arange(100.0))},
        "column 'region' is a string in .* and a number in .*; expected the same in all files",
    ),
    "fractions for integers": (
        {"store": pa.array(np.arange(100) + 0.5)},
        r"row 0 \(from 0\): store: not an integer: '0.5'; expected integers",
    ),
    "truth values for categories": (
        {"store": pa.array([True] * 100)},
        "'store' of .* holds truth values; expected integers or",
    ),
    "dates": (
        {"region": pa.array([0] * 100, pa.date32())},
        "'region' of .* holds dates; say --date region=hour,weekday,month,trend, or those of",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_category_is_refused(tmp_path, case):
    columns, message = REFUSED[case]
    table = make_table(100)
    first = write(tmp_path / "a.parquet", make_table(2_000))
    for name, column in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, column)
    second = write(tmp_path / "b.parquet", table)
    with pytest.raises(DataError, match=message):
        split(tmp_path, config(first, second))


def test_names_that_mean_two_things_are_refused(tmp_path):
    table = make_table().rename_columns(["y", "region", "store", "income", "region=NA"])
    data = DataConfig(data=(write(tmp_path / "a.parquet", table),), event=("y",), condition=("region", "region=NA"))
    with pytest.raises(DataError, match="both named 'region=NA' once they are encoded"):
        split(tmp_path, data)


def test_a_column_without_values_is_refused(tmp_path):
    empty = make_table().set_column(3, "income", pa.nulls(ROWS, pa.float64()))
    with pytest.raises(DataError, match="'income' is missing in every training row"):
        split(tmp_path, config(write(tmp_path / "a.parquet", empty)))


def test_a_share_of_categories_is_taken_for_unknown(tmp_path):
    rows = split(tmp_path, config(write(tmp_path / "a.parquet", make_table())))
    seen = np.array(rows.training)
    changed, same = rows.condition.with_hidden(seen, 0.6, event_size=1, seed=(0, 1))
    region, store = (changed[:, 1:3] != seen[:, 1:3]).T
    known = (seen[:, 1] < 3) & (seen[:, 2] >= 0)
    assert (changed[region, 1] == 3).all()
    assert region[known].mean() == pytest.approx(0.3, abs=0.03)
    np.testing.assert_array_equal(same[known], ~(region | store)[known])
    for count in (0, 1, 2):  # of the rows that are chosen a third each
        share = (region.astype(int) + store)[known] == count
        assert share.mean() == pytest.approx(0.2 + 0.4 * (count == 0), abs=0.03)
    null = seen[:, 2] == -1
    np.testing.assert_array_equal(changed[null, 2], -1)  # null is known
    np.testing.assert_array_equal(changed[:, [0, 3, 4]], seen[:, [0, 3, 4]])
    np.testing.assert_array_equal(rows.condition.with_hidden(seen, 0.6, event_size=1, seed=(0, 1))[0], changed)
