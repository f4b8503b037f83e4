"""Points in time of a table on their way to rows and encodings."""

import dataclasses
import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from maf import DataConfig, FlowConfig, RunConfig, TrainingConfig
from maf.arguments import parse_training
from maf.errors import ConfigError, DataError
from maf.preparation import prepare
from maf.rows import split_table
from maf_serving.columns import ConditionColumn, encoded_columns
from maf_serving.front.training import _make_config
from maf_serving.time_parts import CYCLES, DAY, encode_time

ROWS = 3_000
PARTS = ("hour", "weekday", "month", "trend")
DATE = ("when=hour", "weekday", "month", "trend", "due=day", "yearday")


def make_table(null_share=0.0):
    rng = np.random.default_rng(3)
    seconds = 1.7e9 + rng.uniform(0, 400 * DAY, ROWS).round(3)
    when = pa.array((seconds * 1e6).round().astype("datetime64[us]"), mask=rng.random(ROWS) < null_share)
    due = pa.array(rng.integers(-20_000, 20_000, ROWS).astype("datetime64[D]"))
    return pa.table({"id": np.arange(float(ROWS)), "when": when, "due": due, "c": rng.normal(size=ROWS)})


def split(tmp_path, table, *, suffix=".parquet", name="rows", **other):
    path = tmp_path / f"{name}{suffix}"
    (pa.csv.write_csv if suffix == ".csv" else pq.write_table)(table, path)
    data = DataConfig(data=(str(path),), event=("id",), condition=("when", "due", "c"), **{"date": DATE, **other})
    return data, split_table(data, tmp_path / f"{name} split", dtype="float32", seed=0)


def seconds_of(column):
    return column.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy(zero_copy_only=False) / 1e6


def encoded(rows):
    return np.asarray(rows.condition.encode(tf.constant(rows.training[:, 1:])))


def check(rows, table):
    ids = rows.training[:, 0].astype(int)
    when = rows.columns[0]
    expected = [
        *encode_time(seconds_of(table["when"].combine_chunks())[ids] - when.offset, PARTS, when.offset, np),
        *encode_time(seconds_of(table["due"].combine_chunks())[ids], ("day", "yearday"), 0.0, np),
        table["c"].to_numpy()[ids],
    ]
    np.testing.assert_allclose(encoded(rows), np.stack(expected, axis=1), atol=1e-6)


@pytest.mark.parametrize(
    ("suffix", "convert"),
    [
        (".parquet", lambda column: column),
        (".csv", lambda column: column),
        (".parquet", lambda column: column.cast(pa.string())),
        (".csv", lambda column: column.cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "Asia/Kolkata"))),
        (".parquet", lambda column: pa.chunked_array([pa.array(seconds_of(column.combine_chunks()))])),
    ],
    ids=["parquet", "csv", "text", "csv with offsets", "seconds"],
)
def test_dates_and_timestamps_are_encoded_as_named(tmp_path, suffix, convert):
    table = make_table()
    _, rows = split(tmp_path, table.set_column(1, "when", convert(table["when"])), suffix=suffix)
    when = ConditionColumn(name="when", kind="timestamp", parts=PARTS, offset=rows.columns[0].offset)
    assert rows.columns == (
        when,
        ConditionColumn(name="due", kind="timestamp", parts=("day", "yearday")),
        ConditionColumn(name="c"),
    )
    assert when.offset % DAY == 0
    assert abs(when.offset - 1.7e9 - 200 * DAY) < 10 * DAY
    assert encoded_columns(rows.columns)[5:8] == ("when month cos", f"when days since {origin(when)}", "due day sin")
    check(rows, table)
    days = encoded(rows)[:, 6]
    assert rows.standardization.condition_loc[6] == pytest.approx(days.mean(), abs=1e-6)
    assert rows.standardization.condition_scale[6] == pytest.approx(days.std())
    np.testing.assert_array_equal(rows.standardization.condition_loc[:6], 0)
    assert rows.findings[0].startswith("column 'when': from 2023-11-1")
    assert rows.findings[0].endswith("UTC; hour, weekday, month, trend")


def origin(column):
    return dt.datetime.fromtimestamp(column.offset, tz=dt.timezone.utc).date().isoformat()


def test_rows_that_are_read_again_are_the_same(tmp_path):
    data, rows = split(tmp_path, make_table(null_share=0.1))
    known = dataclasses.replace(data, condition_columns=rows.columns)
    again = split_table(known, tmp_path / "again", dtype="float32", seed=0)
    assert again.training.dtype == np.float64
    np.testing.assert_array_equal(rows.training, again.training)
    np.testing.assert_array_equal(rows.standardization.condition_scale, again.standardization.condition_scale)
    assert rows.findings == again.findings


def test_a_null_is_in_the_middle_and_a_state_of_its_own(tmp_path):
    _, rows = split(tmp_path, make_table(null_share=0.1))
    assert rows.columns[0].nullable
    entries = encoded(rows)
    null = entries[:, 7] == 1
    assert 0.08 < null.mean() < 0.12
    np.testing.assert_array_equal(entries[null, :6], 0)
    np.testing.assert_allclose(entries[null, 6], entries[~null, 6].mean(), rtol=1e-5)
    _, dropped = split(tmp_path, make_table(null_share=0.1), name="dropped", nulls="drop", max_dropped_share=0.5)
    assert not dropped.columns[0].nullable
    assert 0.08 < dropped.dropped / ROWS < 0.12


def test_the_trend_has_bins_and_angles_have_none(tmp_path):
    data, rows = split(tmp_path, make_table())
    config = RunConfig(
        data=data,
        flow=FlowConfig(event_size=1, condition_size=3, num_layers=1, condition_bins=4),
        training=TrainingConfig(max_epochs=1),
    )
    prepared = prepare(config, rows)
    assert prepared.config.flow.condition_size == 12
    assert prepared.config.flow.number_columns == (6, 11)
    assert prepared.config.data.condition_columns == rows.columns
    assert RunConfig.from_json(prepared.config.to_json()) == prepared.config


@pytest.mark.parametrize(
    ("column", "date", "message"),
    [
        (["soon"] * ROWS, ("when=hour",), r"rows\.parquet, row 0 \(from 0\): when: not a point in time: 'soon'"),
        ([True] * ROWS, ("when=hour",), "holds truth values; --date expects dates, timestamps, ISO 8601 text"),
        (None, (), "'when' of .* holds points in time; say --date when=hour,weekday,month,trend, or those of hour,"),
    ],
    ids=["text", "booleans", "not said"],
)
def test_columns_that_are_no_times_are_refused(tmp_path, column, date, message):
    table = make_table()
    table = table if column is None else table.set_column(1, "when", pa.array(column))
    with pytest.raises(DataError, match=message):
        split(tmp_path, table, date=(*date, "due=day"))


@pytest.mark.parametrize(
    ("date", "message"),
    [
        (("hour",), "date has 'hour'; expected COLUMN=PART,... once a column, as in when=hour,trend"),
        (("c=hour", "c=day"), "date has 'c=day'; expected COLUMN=PART"),
        (("c=hour", "hours"), "date has c=hour,hours; expected some of hour, weekday, day, month, yearday, trend"),
        (("c=hour", "hour"), "date has c=hour,hour; expected some of"),
        (("x=hour",), "date has 'x'; expected one of the conditional columns c"),
    ],
)
def test_parts_that_are_none_are_refused(date, message):
    with pytest.raises(ConfigError, match=message):
        DataConfig(data=("a.csv",), event=("y",), condition=("c",), date=date)


def test_a_time_is_no_category():
    with pytest.raises(ConfigError, match="date and categorical both have 'c'; expected one of them"):
        DataConfig(data=("a.csv",), event=("y",), condition=("c",), date=("c=hour",), categorical=("c",))


def test_flags_and_python_say_the_same():
    flags = ["--input", "a.csv", "--event", "y", "--condition", "c,due", "--run", "r"]
    config = parse_training([*flags, "--date", "c=hour,trend", "due=day"]).config
    assert config.data.date_parts == {"c": ("hour", "trend"), "due": ("day",)}
    own = {"data": ("a.csv",), "event": ("y",), "condition": ("c", "due")}
    for date in ({"c": ["hour", "trend"], "due": "day"}, ["c=hour", "trend", "due=day"]):
        assert _make_config(own, {"date": date}).data == config.data


def test_tensorflow_reckons_as_numpy():
    days = np.arange(-250_000, 250_000, 97) * DAY
    seconds = np.concatenate([days, days - 1e-6, days + 1e-6, days + 0.7 * DAY])
    for origin_seconds in (0.0, 1.7e9):
        expected = encode_time(seconds - origin_seconds, (*CYCLES, "trend"), origin_seconds, np)
        function = tf.function(lambda t, o=origin_seconds: encode_time(t, (*CYCLES, "trend"), o, tf), jit_compile=True)
        for eager, jit, numpy in zip(
            encode_time(tf.constant(seconds - origin_seconds), (*CYCLES, "trend"), origin_seconds, tf),
            function(tf.constant(seconds - origin_seconds)),
            expected,
            strict=True,
        ):
            np.testing.assert_allclose(eager, numpy, rtol=1e-12, atol=1e-9)
            np.testing.assert_allclose(jit, numpy, rtol=1e-12, atol=1e-9)
