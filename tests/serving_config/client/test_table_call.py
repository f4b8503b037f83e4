"""The rows of a table through every operation: columns, order, nulls, and what does not fit."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from export import Contract
from serving_config import JobError, UsageError
from serving_config.client.options import parse_call
from serving_config.client.table_call import call_table
from serving_config.errors import InputError
from tests.serving_config.flow_server import draw, log_prob


def _matrix(table, *names):
    return np.column_stack([table[name].to_numpy() for name in names])


def _call(operation, flags, *more):
    return call_table(parse_call([operation, *map(str, [*flags, *more])]))


def test_log_prob_keeps_columns_and_order(flags, rows, table, tmp_path):
    out = tmp_path / "out.parquet"
    assert (
        _call("log_prob", flags, "--input", rows, "--output", out, "--keep", "id", "--rows_per_request", 3).rows == 40
    )
    written = pq.read_table(out)
    assert written.column_names == ["id", "row", "log_prob"]
    assert written["row"].to_pylist() == list(range(40))
    assert written["id"].equals(table["id"])
    expected = log_prob(_matrix(table, "x0", "x1"), _matrix(table, "c0"))
    np.testing.assert_allclose(written["log_prob"].to_numpy(), expected, rtol=1e-6)
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == ["out.parquet"]


def test_csv_in_and_out_with_text_kept_as_it_is(flags, table, tmp_path):
    source, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    pyarrow.csv.write_csv(table, source)
    _call("inverse", flags, "--input", source, "--output", out, "--keep", "*")
    types = {"id": pa.string()}
    written = pyarrow.csv.read_csv(out, convert_options=pyarrow.csv.ConvertOptions(column_types=types))
    assert written.column_names == ["id", "c0", "x0", "x1", "row", "z_x0", "z_x1", "log_prob"]
    assert written["id"].to_pylist() == table["id"].to_pylist()
    np.testing.assert_allclose(_matrix(written, "z_x0"), _matrix(table, "x0") - _matrix(table, "c0"), rtol=1e-5)


def test_forward_reads_what_inverse_wrote(flags, rows, table, tmp_path):
    base, back = tmp_path / "base.parquet", tmp_path / "back.parquet"
    _call("inverse", flags, "--input", rows, "--output", base, "--keep", "c0")
    _call("forward", flags, "--input", base, "--output", back)
    assert pq.read_table(back).column_names == ["row", "x0", "x1"]
    np.testing.assert_allclose(
        _matrix(pq.read_table(back), "x0", "x1"), _matrix(table, "x0", "x1"), rtol=1e-5, atol=1e-6
    )


def test_samples_are_the_same_however_the_file_is_cut(flags, rows, table, tmp_path):
    more = ["--num_samples", 4, "--seed", 5, "--keep", "id"]
    for name, size in (("a", 1000), ("b", 3)):
        _call(
            "sample",
            flags,
            "--input",
            rows,
            "--output",
            tmp_path / f"{name}.parquet",
            *more,
            "--rows_per_request",
            size,
        )
    written = pq.read_table(tmp_path / "a.parquet")
    assert written.equals(pq.read_table(tmp_path / "b.parquet"))
    assert written.column_names == ["id", "row", "draw", "x0", "x1", "log_prob"]
    assert written["row"].to_pylist() == [row for row in range(40) for _ in range(4)]
    assert written["draw"].to_pylist()[:5] == [0, 1, 2, 3, 0]
    assert written["id"].to_pylist()[4:8] == ["001"] * 4
    c = np.repeat(_matrix(table, "c0"), 4, axis=0)
    np.testing.assert_allclose(
        written["log_prob"].to_numpy(), log_prob(_matrix(written, "x0", "x1"), c), rtol=1e-4, atol=1e-5
    )
    offset = _matrix(written, "x0", "x1") - draw(c, np.zeros(len(c), np.int64))
    assert (np.abs(offset) < 1.1).all()


def test_the_contract_names_the_columns(address, rows, tmp_path):
    ((name, value),) = address.items()
    contract = Contract(
        event_columns=("x0", "x1"),
        conditional_columns=("c0",),
        dtype="float32",
        signatures={},
        toolkit_version="1",
        tensorflow_version="1",
    )
    path = tmp_path / "contract.json"
    path.write_text(contract.to_json())
    flags = [f"--{name}", value, "--model_name", "flow", "--contract", str(path)]
    assert _call("log_prob", flags, "--input", rows, "--output", tmp_path / "o.csv").rows == 40


def test_an_empty_table_gives_an_empty_one_and_asks_nothing(flags, server, table, tmp_path):
    pq.write_table(table.slice(0, 0), tmp_path / "none.parquet")
    out = tmp_path / "o.parquet"
    assert _call("sample", flags, "--input", tmp_path / "none.parquet", "--output", out, "--keep", "id").rows == 0
    assert pq.read_table(out).column_names == ["id", "row", "draw", "x0", "x1", "log_prob"]
    assert server.requests == []


def _rejected(path):
    return [(row["row"], row["reason"]) for row in pq.read_table(path).to_pylist()]


def test_rows_that_the_model_cannot_take_are_beside_the_others(flags, tmp_path):
    x1 = [1.0, None, 1.0, math.nan, 1.0, math.inf, 1e39, 1.0]
    pq.write_table(pa.table({"c0": [0.0] * 8, "x0": range(8), "x1": x1}), tmp_path / "rows.parquet", row_group_size=2)
    flags = [*flags, "--input", tmp_path / "rows.parquet", "--output", tmp_path / "o.parquet", "--keep", "x0"]
    result = _call("log_prob", flags, "--rows_per_request", 1, "--concurrency", 1)
    assert (result.rows, result.rejected) == (8, 4)
    assert result.kinds == {"null": 1, "NaN": 1, "infinite": 1, "overflow": 1}
    written = pq.read_table(tmp_path / "o.parquet")
    assert written["row"].to_pylist() == written["x0"].to_pylist() == [0, 2, 4, 7]
    assert pq.read_schema(tmp_path / "o.rejected.parquet").names == ["file", "row", "reason"]
    assert _rejected(tmp_path / "o.rejected.parquet") == [
        (1, "x1: null"), (3, "x1: NaN"), (5, "x1: infinite"), (6, "x1: overflow: 1e+39 does not fit float32"),
    ]  # fmt: skip


def test_rejected_rows_of_an_earlier_call_do_not_stay(flags, rows, tmp_path):
    (tmp_path / "o.rejected.parquet").touch()
    _call("log_prob", flags, "--input", rows, "--output", tmp_path / "o.parquet")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.parquet", "rows.parquet"]


def test_too_many_rejected_rows_fail_the_call_and_are_kept_alone(flags, tmp_path):
    source = tmp_path / "rows.csv"
    source.write_text("c0,x0,x1\n0,1,1\n0,NA,1\n0,1\n0,1,1\n")
    flags = [*flags, "--input", source, "--output", tmp_path / "o.csv"]
    assert _call("log_prob", flags, "--max_rejected", 0.5).rejected == 2
    (tmp_path / "o.csv").unlink()
    message = r"2 of 4 rows \(50\.00%\) were rejected; --max_rejected allows 40\.00%; they are in .*o\.rejected\.csv"
    with pytest.raises(JobError, match=message):
        _call("log_prob", flags, "--max_rejected", 0.4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["o.rejected.csv", "rows.csv"]
    reasons = [line.rpartition(",")[2] for line in (tmp_path / "o.rejected.csv").read_text().splitlines()]
    assert sorted(reasons) == ['"ragged row: 2 fields where the header has 3"', '"reason"', '"x0: null"']


def test_a_file_of_which_no_row_can_be_used(flags, tmp_path):
    (tmp_path / "rows.csv").write_text("c0,x0,x1\n0,,1\n")
    result = _call("inverse", flags, "--input", tmp_path / "rows.csv", "--output", tmp_path / "o.parquet")
    assert (result.rows, result.rejected) == (1, 1)
    assert pq.read_table(tmp_path / "o.parquet").num_rows == 0
    assert _rejected(tmp_path / "o.rejected.parquet") == [(0, "x0: null")]


@pytest.mark.parametrize("compression", ["gzip", "bz2", "zstd"])
def test_compressed_csv_with_numbers_that_stay_numbers(flags, tmp_path, compression):
    suffix = {"gzip": "gz", "bz2": "bz2", "zstd": "zst"}[compression]
    source = tmp_path / f"rows.csv.{suffix}"
    with pa.output_stream(source, compression=compression) as stream:
        stream.write(b"c0,x0,x1,id,zip,flag\n0,true,1,7,007,True\n0,#NA,0,8,008,\n")
    _call("log_prob", flags, "--input", source, "--output", tmp_path / "o.parquet", "--keep", "*")
    (row,) = pq.read_table(tmp_path / "o.parquet").drop_columns(["log_prob"]).to_pylist()
    assert row == {"c0": 0.0, "x0": 1.0, "x1": 1.0, "id": 7, "zip": "007", "flag": True, "row": 0}
    assert _rejected(tmp_path / "o.rejected.parquet") == [(1, "x0: null")]


def test_a_damaged_file_fails_and_leaves_nothing(flags, tmp_path, rows):
    data = rows.read_bytes()
    rows.write_bytes(data[:200] + b"\xff" * 60 + data[260:])
    with pytest.raises(JobError, match=r"rows\.parquet cannot be read from row \d+ \(from 0\)"):
        _call("log_prob", flags, "--input", rows, "--output", tmp_path / "o.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_draws_follow_a_key_column(flags, tmp_path):
    (tmp_path / "a.csv").write_text("c0,key\n1,k1\n2,k2\n3,\n")
    (tmp_path / "b.csv").write_text("key,c0\nk2,2\nk1,1\n")
    drawn = {}
    for name in ("a", "b"):
        out = tmp_path / f"{name}.parquet"
        flags_of_call = [*flags, "--input", tmp_path / f"{name}.csv", "--output", out, "--seed", 7, "--keep", "key"]
        _call("sample", flags_of_call, "--key_column", "key", "--num_samples", 2)
        drawn[name] = {(row["key"], row["draw"]): (row["x0"], row["x1"]) for row in pq.read_table(out).to_pylist()}
    assert drawn["a"] == drawn["b"]
    assert _rejected(tmp_path / "a.rejected.parquet") == [(2, "key: null key")]


def test_an_output_that_exists_is_replaced_only_if_asked(flags, rows, tmp_path):
    out = tmp_path / "o.csv"
    _call("log_prob", flags, "--input", rows, "--output", out)
    with pytest.raises(UsageError, match=r"--output .*o.csv exists; name another file, or add --overwrite"):
        _call("log_prob", flags, "--input", rows, "--output", out)
    assert _call("log_prob", flags, "--input", rows, "--output", out, "--overwrite").rows == 40


NOBODY_SAID = (
    r"which columns of .* \(id, c0, x0, x1\) go into the model\? The server knows no names: version \d+ of model flow "
    "has no log_prob_columns; say --model DIR .*none of them"
)


def test_without_names_of_columns_nothing_is_guessed(address, rows):
    ((name, value),) = address.items()
    options = parse_call(["log_prob", f"--{name}", value, "--model_name", "flow", "--input", str(rows)])
    with pytest.raises(UsageError, match=NOBODY_SAID):
        call_table(options)


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        (["--event_columns", "x0,nope"], UsageError, r"input column\(s\) nope not in .*; it has: id, c0, x0, x1"),
        (["--event_columns", "x0"], InputError, r"x has shape \[40, 1\]; the model expects \[B, 2\]"),
        (["--keep", "id,nope"], UsageError, r"lacks the column\(s\) nope"),
        (["--model", "models/nowhere"], UsageError, "more than one of them came"),
    ],
)
def test_columns_that_do_not_fit_are_refused(flags, rows, tmp_path, more, kind, message):
    with pytest.raises(kind, match=message):
        _call("log_prob", flags, "--input", rows, "--output", tmp_path / "o.csv", *more)
    assert not (tmp_path / "o.csv").exists()


def test_the_usual_place_of_a_model_names_the_columns(address, rows, tmp_path, monkeypatch, capsys):
    ((name, value),) = address.items()
    version = tmp_path / "models" / "flow" / "3"
    (version / "assets.extra").mkdir(parents=True)
    (version / "saved_model.pb").touch()
    contract = Contract(
        event_columns=("x0", "x1"),
        conditional_columns=("c0",),
        dtype="float32",
        signatures={},
        toolkit_version="1",
        tensorflow_version="1",
    )
    (version / "assets.extra" / "contract.json").write_text(contract.to_json())
    monkeypatch.chdir(tmp_path)
    flags = [f"--{name}", value, "--model_name", "flow"]
    assert _call("log_prob", flags, "--input", rows, "--output", tmp_path / "o.csv").rows == 40
    assert capsys.readouterr().err == "columns x0, x1 | c0: from models/flow/3; --model names another\n"
