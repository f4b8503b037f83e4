"""Scored values, identity of rows, columns carried through: what comes out for good rows."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from beam_jobs import JobError, UsageError


def test_log_prob_equals_the_formula_for_every_row(score, write_parquet, make_columns, density):
    columns = make_columns(5_000, 1)
    path = write_parquet("a.parquet", columns, row_group_size=700)

    result = score(path, batch_size=256)

    result.assert_each_row_once({(path, row) for row in range(5_000)})
    expected = density(**columns)
    log_probs = result.log_probs()
    got = np.array([log_probs[path, row] for row in range(5_000)])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
    assert result.summary.mean_log_prob == pytest.approx(expected.mean(), abs=1e-4)


def test_files_of_both_formats_in_one_job(score, write_parquet, write_csv, make_columns, density, tmp_path):
    tables = {name: make_columns(rows, rows) for name, rows in (("a.parquet", 300), ("b.parquet", 1), ("c.csv", 200))}
    paths = {
        name: (write_csv if name.endswith("csv") else write_parquet)(name, columns) for name, columns in tables.items()
    }

    result = score(str(tmp_path / "*.parquet"), paths["c.csv"], paths["a.parquet"], batch_size=64)

    result.assert_each_row_once(
        {(paths[name], row) for name, table in tables.items() for row in range(len(table["x0"]))}
    )
    log_probs = result.log_probs()
    for name, table in tables.items():
        got = [log_probs[paths[name], row] for row in range(len(table["x0"]))]
        np.testing.assert_allclose(got, density(**table), rtol=1e-5, atol=1e-5)


def test_large_row_groups_are_shared_between_workers(score, write_parquet, make_columns, monkeypatch):
    monkeypatch.setattr("beam_jobs.sources.parquet_source.MIN_UNIT_ROWS", 1)
    path = write_parquet("a.parquet", make_columns(1_000, 1), row_group_size=100)
    result = score(path)
    result.assert_each_row_once({(path, row) for row in range(1_000)})


@pytest.mark.parametrize(
    "column",
    [
        pa.array([1, 2, None, 4], pa.int8()),
        pa.array([2**63, 2, 3, 2**60 + 1], pa.uint64()),
        pa.array([True, False, True, None]),
        pa.array([1.5, 2.5, 3.5, 4.5], pa.float16()),
        pa.array(["1.5", " 2 ", "+3e0", "x"]),
        pa.array(["1.5", "2", "1.5", "2"]).dictionary_encode(),
        pa.array([b"1", b"2", b"3", b"\xff"]),
        pa.array([1, 2, 3, 4]).cast(pa.decimal128(25, 3)),
        pa.array([1, 2, 3, 4]).cast(pa.decimal256(40, 3)),
        pa.array([1, 2, 3, 4], pa.float32()),
        pa.array(["1", "2", "3", "4"], pa.large_string()),
    ],
    ids=lambda column: str(column.type),
)
def test_numbers_of_any_type_are_scored(column, score, write_parquet, density):
    path = write_parquet("a.parquet", {"x0": column, "x1": [0.0] * 4, "c0": [0.0] * 4})
    result = score(path)
    result.assert_each_row_once({(path, row) for row in range(4)})
    for (_, row), value in result.log_probs().items():
        assert value == pytest.approx(density(float(column[row].as_py()), 0.0, 0.0), rel=1e-5)


def test_kept_columns_keep_their_types(score, write_parquet, make_columns):
    rows = 50
    columns = {
        "id": pa.array(range(rows), pa.uint32()),
        "name": pa.array([None if row % 7 == 0 else f"n{row}" for row in range(rows)], pa.large_string()),
        "group": pa.array([f"g{row % 3}" for row in range(rows)]).dictionary_encode(),
        "when": pa.array(range(rows), pa.timestamp("us", tz="Europe/Paris")),
        "tags": pa.array([[row, row + 1] for row in range(rows)]),
        "price": pa.array(range(rows)).cast(pa.decimal128(25, 2)),
        **make_columns(rows, 2),
    }
    path = write_parquet("a.parquet", columns, row_group_size=20)

    result = score(path, keep=("*",), batch_size=16)

    kept = result.scored.sort_by("row").drop_columns(["file", "row", "log_prob"])
    original = pq.read_table(path)
    assert kept.schema.equals(original.schema)
    assert kept.to_pydict() == original.to_pydict()
    chosen = score(path, keep=("when", "x0"), output="chosen").scored
    assert chosen.schema.names == ["file", "row", "log_prob", "when", "x0"]
    assert chosen.schema.field("log_prob").type == pa.float32()


def test_kept_csv_columns_are_numbers_where_all_their_values_are_written_as_numbers(score, write_text):
    header, first, second = "x0,id,x1,c0,note,n,flag", '1.50,007,0,0,"a, b",12,True', "2,008, 1e0 ,0,,NA,FALSE"
    path = write_text("a.csv", f"{header}\n{first}\n{second}\n")
    result = score(path, keep=("note", "id", "x0", "n", "flag"))
    assert result.scored.select(["note", "id", "x0", "n", "flag"]).to_pydict() == {
        "note": ["a, b", None],
        "id": ["007", "008"],  # no number is written so
        "x0": [1.5, 2.0],
        "n": [12, None],
        "flag": [True, False],
    }
    assert result.summary.rows_scored == 2


def test_a_kept_value_that_is_no_number_further_down_rejects_its_row(score, write_text):
    lines = ["x0,x1,c0,id", *(f"1,2,3,{row}" for row in range(200_000)), "1,2,3,A17", "1,2,3,007", "1,2,3,8"]
    path = write_text("a.csv", "\n".join(lines) + "\n")
    result = score(path, keep=("id",))
    assert result.scored.schema.field("id").type == pa.int64()
    assert result.reasons() == {
        (path, 200_000): "id: wrong type: expected a whole number, got 'A17'",
        (path, 200_001): "id: wrong type: expected a whole number, got '007'",
    }
    assert result.summary.rows_scored == 200_001


def test_types_of_kept_csv_columns_are_those_of_all_files(score, write_text, write_parquet):
    first = write_text("a.csv", "x0,x1,c0,n,m\n1,2,3,4,5\n")
    second = write_text("b.csv", "x0,x1,c0,n,m\n1,2,3,4.5,x\n")
    scored = score(first, second, keep=("n", "m")).scored.sort_by("file")
    assert scored.select(["n", "m"]).to_pydict() == {"n": [4.0, 4.5], "m": ["5", "x"]}
    typed = write_parquet("c.parquet", {"x0": [1.0], "x1": [2.0], "c0": [3.0], "n": [7]})
    assert score(first, typed, keep=("n",), output="mixed").scored.sort_by("file")["n"].to_pylist() == [4, 7]
    with pytest.raises(UsageError, match=r"n is double in .*b\.csv but int64 in .*c\.parquet"):
        score(second, typed, keep=("n",), output="refused")


def test_csv_to_csv_keeps_the_text(score, write_text):
    path = write_text("a.csv", "x0,x1,c0,price,id\n1,2,3,1.50,007\n")
    directory = score(path, keep=("price", "id"), output_format="csv").directory
    (written,) = directory.glob("scored-*.csv")
    assert '"1.50","007"' in written.read_text()


def test_the_output_is_a_table_for_whoever_reads_its_directory(score, write_parquet):
    path = write_parquet("a.parquet", {"x0": [1.0, None], "x1": [2.0, 3.0], "c0": [0.0, 0.0]})
    directory = score(path).directory
    assert len(list(directory.glob("_rejected-*"))) == 1
    assert pq.read_table(directory).num_rows == 1
    assert pyarrow.dataset.dataset(directory).count_rows() == 1
    pandas = pytest.importorskip("pandas")
    assert pandas.read_parquet(directory)["row"].tolist() == [0]


def test_empty_tables_give_an_empty_table_of_the_same_schema(score, write_parquet, write_text, make_columns):
    empty = write_parquet("a.parquet", {**make_columns(0, 1), "id": pa.array([], pa.int16())})
    full = write_parquet("b.parquet", {**make_columns(3, 1), "id": pa.array([1, 2, 3], pa.int16())})
    nothing = score(empty, keep=("id",), output="nothing")
    something = score(full, keep=("id",), output="something")
    assert nothing.summary.rows_read == 0
    assert nothing.summary.mean_log_prob is None
    assert nothing.scored.schema.equals(something.scored.schema)
    assert nothing.rejected.schema.equals(something.rejected.schema)

    header_alone = write_text("c.csv", "x0,x1,c0")
    no_byte = write_text("d.csv", "")
    assert score(header_alone, no_byte, output="csv").summary.rows_read == 0
    assert score(no_byte, keep=("id",), output="none").scored.schema.names == ["file", "row", "log_prob", "id"]


def test_summary_says_what_was_done(score, write_parquet, make_columns, model_base):
    path = write_parquet("a.parquet", make_columns(10, 1))
    result = score(path)
    summary = json.loads((result.directory / "_summary.json").read_text())
    assert summary["rows_read"] == summary["rows_scored"] == 10
    assert summary["rows_rejected"] == 0
    assert summary["model_version"] == "3"
    assert summary["model"] == str(model_base / "3")
    assert summary["event_columns"] == ["x0", "x1"]
    assert summary["input_files"] == [path]
    assert summary["options"]["batch_size"] == result.summary.options["batch_size"]
    assert sorted([*summary["output_files"], "_summary.json"]) == sorted(p.name for p in result.directory.iterdir())


def test_an_earlier_output_is_refused_or_replaced(score, write_parquet, make_columns, tmp_path):
    path = write_parquet("a.parquet", make_columns(10, 1))
    other = write_parquet("b.parquet", make_columns(20, 1))
    score(path)
    with pytest.raises(UsageError, match=r"exists; .*--overwrite"):
        score(other)
    assert score(other, existing_output="replace").summary.rows_read == 20
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.parquet", "b.parquet", "scores"]


def test_a_directory_of_another_kind_is_never_replaced(score, write_parquet, make_columns, tmp_path):
    path = write_parquet("a.parquet", make_columns(10, 1))
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("all of it")
    with pytest.raises(UsageError, match=r"holds no _summary\.json"):
        score(path, output="precious", existing_output="replace")
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "all of it"


def test_a_failed_job_leaves_nothing(score, write_parquet, make_columns, tmp_path):
    good = write_parquet("a.parquet", make_columns(1_000, 1))
    damaged = tmp_path / "b.parquet"
    pq.write_table(pa.table(make_columns(1_000, 2)), damaged, write_page_checksum=True)
    content = bytearray(damaged.read_bytes())
    content[1_000] ^= 0xFF
    damaged.write_bytes(content)
    with pytest.raises(JobError, match=r"b\.parquet cannot be read from row 0"):
        score(good, str(damaged))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]
