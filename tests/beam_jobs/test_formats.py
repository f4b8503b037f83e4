"""The same rows in any input format give the same table; the output formats hold the same rows."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from beam_jobs import ScoreOptions, UsageError, score_table
from beam_jobs.sources import input_files
from beam_jobs.sources.source import ReadPlan
from tests.beam_jobs.write_table import FORMATS, example, frame, write_table


@pytest.fixture
def columns(make_columns):
    return {**{name: values.tolist() for name, values in make_columns(1_200, 3).items()}, "id": list(range(1_200))}


@pytest.mark.parametrize("extension", FORMATS)
def test_every_format_gives_the_same_log_probs(extension, columns, score, density, tmp_path):
    path = write_table(tmp_path / f"rows.{extension}", columns)
    result = score(path, keep=("id",), batch_size=100)
    result.assert_each_row_once({(path, row) for row in range(1_200)})
    table = result.scored.sort_by("row")
    expected = density(*(np.array(columns[name]) for name in ("x0", "x1", "c0")))
    np.testing.assert_allclose(table["log_prob"].to_numpy(), expected, rtol=1e-4, atol=1e-4)
    assert [int(value) for value in table["id"].to_pylist()] == columns["id"]
    assert table.schema.field("id").type == pa.int64()


def test_rows_of_json_lines_that_are_no_rows_are_rejected_alone(score, write_text):
    lines = [
        '{"x0": 1, "x1": 2, "c0": 3, "id": 1}',
        "",
        '{"x0": 1, "x1": 2, "c0": 3, "id": "one"}',
        "[1, 2, 3]",
        '{"x0": 1, "x1": 2',
        '{"x0": "1.5", "x1": true, "c0": 3, "id": 4}',
        '{"x0": [1], "x1": 2, "c0": 3}',
        '{"x0": NaN, "x1": 2, "c0": 3}',
        '{"x1": 2, "c0": 3}',
        '{"x0": 1e400, "x1": 2, "c0": 3}',
    ]
    path = write_text("a.jsonl", "\n".join(lines))
    result = score(path, keep=("id",))
    result.assert_each_row_once({(path, row) for row in range(9)})
    assert result.reasons() == {
        (path, 1): "id: wrong type: expected a whole number, got 'one'",
        (path, 2): "not a JSON object",
        (path, 3): "not a JSON object",
        (path, 5): "x0: not a number: '[1]'",
        (path, 6): "x0: NaN",
        (path, 7): "x0: null",
        (path, 8): "x0: infinite",
    }
    assert result.scored.schema.field("id").type == pa.int64()


def test_records_that_are_no_examples_are_rejected_alone(score, tmp_path):
    good = {"x0": 1.0, "x1": 2.0, "c0": 3.0}
    damaged = bytearray(frame(example(good)))
    damaged[20] ^= 1
    content = [frame(example(good)), bytes(damaged), frame(b"\xff\xff\xff"), frame(example({"x0": 1.0, "c0": 3.0}))]
    path = tmp_path / "a.tfrecord"
    path.write_bytes(b"".join(content))
    result = score(str(path))
    assert result.reasons() == {
        (str(path), 1): "wrong checksum",
        (str(path), 2): "not a tf.Example",
        (str(path), 3): "x1: null",
    }
    assert result.summary.rows_scored == 1


def test_files_without_a_row_give_an_empty_table(score, write_text):
    paths = [write_text(name, "") for name in ("a.jsonl", "b.tfrecord")]
    assert score(*paths).summary.rows_read == 0


@pytest.mark.parametrize("extension", ["parquet", "jsonl", "avro", "tfrecord", "csv"])
def test_the_columns_may_have_other_names(extension, columns, score, tmp_path):
    names = {"x0": "price", "x1": "volume", "c0": "season", "id": "id"}
    renamed = {names[name]: values for name, values in columns.items()}
    path = write_table(tmp_path / f"rows.{extension}", renamed)
    plain = write_table(tmp_path / f"plain.{extension}", columns)
    given = {"event_columns": ("price", "volume"), "conditional_columns": ("season",)}
    first, second = score(path, output="renamed", **given), score(plain, output="plain")
    assert list(first.log_probs().values()) == list(second.log_probs().values())
    by_name = (("c0", "season"), ("x1", "volume"), ("x0", "price"))
    third = score(path, output="by_name", rename=by_name)
    assert list(third.log_probs().values()) == list(second.log_probs().values())


@pytest.mark.parametrize(
    ("rename", "message"),
    [
        ((("x00", "a"),), "--rename has 'x00', which is no column of the model; did you mean 'x0'?"),
        ((("price", "a"),), "--rename has 'price', which is no column of the model; it has: x0, x1, c0"),
        ((("x0", "a"), ("x0", "b")), "--rename has 'x0' twice"),
        ((("x0", "x1"),), "named for more than one column of the model"),
    ],
)
def test_a_rename_that_makes_no_sense_is_refused(rename, message, score, write_parquet, make_columns):
    path = write_parquet("a.parquet", make_columns(3, 1))
    with pytest.raises(UsageError) as refused:
        score(path, rename=rename)
    assert message in str(refused.value)


def test_names_for_too_few_columns_are_refused(score, write_parquet, make_columns):
    path = write_parquet("a.parquet", make_columns(3, 1))
    with pytest.raises(UsageError, match=r"--event_columns names 1 column\(s\): x0; the model expects 2: x0, x1"):
        score(path, event_columns=("x0",))
    with pytest.raises(UsageError, match=r"input column\(s\) x0 named for more than one column of the model"):
        score(path, conditional_columns=("x0",))


def test_csv_and_json_lines_hold_the_same_rows_as_parquet(write_parquet, make_columns, run_job, model_base):
    columns = {**make_columns(300, 1), "name": pa.array(["a, b", 'c"d', None] * 100).dictionary_encode()}
    path = write_parquet("a.parquet", columns)
    tables = {}
    for form in ("parquet", "csv", "jsonl"):
        directory = run_job(
            score_table, ScoreOptions, path, model=str(model_base), keep=("name",), output=form, output_format=form
        )
        (file,) = directory.glob("scored-*")
        assert [entry.suffix for entry in directory.glob("_rejected-*")] == [f".{form}"]
        tables[form] = file
    rows = pq.read_table(tables["parquet"]).to_pylist()
    lines = [json.loads(line) for line in tables["jsonl"].read_text().splitlines()]
    assert [{**line, "log_prob": float(np.float32(line["log_prob"]))} for line in lines] == rows
    read = pacsv.read_csv(tables["csv"], convert_options=pacsv.ConvertOptions(strings_can_be_null=True))
    assert [row["name"] for row in read.to_pylist()] == [row["name"] for row in rows]
    np.testing.assert_allclose(read["log_prob"].to_numpy(), [row["log_prob"] for row in rows], rtol=1e-6)


def test_nested_columns_do_not_go_into_csv(score, write_parquet):
    path = write_parquet("a.parquet", {"x0": [1.0], "x1": [1.0], "c0": [1.0], "tags": [[1]]})
    with pytest.raises(UsageError, match="--output_format csv cannot hold column tags"):
        score(path, keep=("tags",), output_format="csv")


def test_files_are_split_and_compressed_as_asked(score, write_parquet, make_columns):
    path = write_parquet("a.parquet", make_columns(1_000, 1))
    result = score(path, rows_per_file=300, compression="zstd", batch_size=128)
    files = sorted(result.directory.glob("scored-*.parquet"))
    assert sorted((pq.read_metadata(file).num_rows for file in files), reverse=True) == [300, 300, 300, 100]
    assert pq.read_metadata(files[0]).row_group(0).column(0).compression == "ZSTD"
    result.assert_each_row_once({(path, row) for row in range(1_000)})


@pytest.mark.parametrize("extension", FORMATS)
def test_rows_are_counted_where_no_column_is_read(extension, columns, tmp_path):
    # Draws from an unconditional model need the rows, and nothing in them.
    path = write_table(tmp_path / f"rows.{extension}", columns)
    source = input_files.FORMATS[extension.removesuffix(".gz")](path)
    plan = ReadPlan(model_columns=(), kept=pa.schema([]), batch_size=100)
    rows = [part.rows.to_pylist() for unit in source.inspect().units for part in unit.read(plan)]
    assert sorted(number for part in rows for number in part) == list(range(1_200))
