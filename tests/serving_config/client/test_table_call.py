"""The rows of a table through every operation: columns, order, nulls, and what does not fit."""

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from export.contract import Contract
from serving_config.client.options import parse_call
from serving_config.client.table_call import call_table
from serving_config.errors import InputError, JobError, UsageError
from tests.serving_config.flow_server import draw, log_prob


def _matrix(table, *names):
    return np.column_stack([table[name].to_numpy() for name in names])


def _call(operation, flags, *more):
    return call_table(parse_call([operation, *flags, *map(str, more)]))


def test_log_prob_keeps_columns_and_order(flags, rows, table, tmp_path):
    out = tmp_path / "out.parquet"
    assert _call("log_prob", flags, "--input", rows, "--output", out, "--keep", "id", "--rows_per_request", 3) == 40
    written = pq.read_table(out)
    assert written.column_names == ["id", "log_prob"]
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
    assert written.column_names == ["id", "c0", "x0", "x1", "z_x0", "z_x1", "log_prob"]
    assert written["id"].to_pylist() == table["id"].to_pylist()
    np.testing.assert_allclose(_matrix(written, "z_x0"), _matrix(table, "x0") - _matrix(table, "c0"), rtol=1e-5)


def test_forward_reads_what_inverse_wrote(flags, rows, table, tmp_path):
    base, back = tmp_path / "base.parquet", tmp_path / "back.parquet"
    _call("inverse", flags, "--input", rows, "--output", base, "--keep", "c0")
    _call("forward", flags, "--input", base, "--output", back)
    assert pq.read_table(back).column_names == ["x0", "x1"]
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
    assert _call("log_prob", flags, "--input", rows, "--output", tmp_path / "o.csv") == 40


def test_an_empty_table_gives_an_empty_one_and_asks_nothing(flags, server, table, tmp_path):
    pq.write_table(table.slice(0, 0), tmp_path / "none.parquet")
    out = tmp_path / "o.parquet"
    assert _call("sample", flags, "--input", tmp_path / "none.parquet", "--output", out, "--keep", "id") == 0
    assert pq.read_table(out).column_names == ["id", "row", "draw", "x0", "x1", "log_prob"]
    assert server.requests == []


def test_a_null_is_refused_by_its_row_and_nothing_is_written(flags, tmp_path):
    table = pa.table({"c0": [0.0] * 10, "x0": [1.0] * 10, "x1": [1.0] * 7 + [None] * 3})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=2)
    with pytest.raises(JobError, match=r"row 7 of .*rows\.parquet \(from 0\) has no x1"):
        _call(
            "log_prob", flags, "--input", tmp_path / "rows.parquet", "--output", tmp_path / "o.csv",
            "--rows_per_request", 1, "--concurrency", 1,
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_nan_in_a_csv_is_a_value_and_an_empty_field_is_not(flags, tmp_path):
    source, out = tmp_path / "rows.csv", tmp_path / "o.csv"
    source.write_text("c0,x0,x1\n0,nan,1\n0,0,0\n")
    _call("log_prob", flags, "--input", source, "--output", out)
    assert out.read_text().splitlines()[1] == "nan"
    source.write_text("c0,x0,x1\n0,,1\n")
    with pytest.raises(UsageError, match=r"--output .*o.csv exists; name another file, or add --overwrite"):
        _call("log_prob", flags, "--input", source, "--output", out)
    with pytest.raises(JobError, match=r"row 0 .* has no x0"):
        _call("log_prob", flags, "--input", source, "--output", out, "--overwrite")


def test_without_names_of_columns_nothing_is_guessed(address, rows):
    ((name, value),) = address.items()
    options = parse_call(["log_prob", f"--{name}", value, "--model_name", "flow", "--input", str(rows)])
    with pytest.raises(UsageError, match=r"which columns of .* \(id, c0, x0, x1\) go into the model\?.*none of them"):
        call_table(options)


@pytest.mark.parametrize(
    ("more", "kind", "message"),
    [
        (["--event_columns", "x0,nope"], UsageError, r"lacks the column\(s\) nope; it has id, c0, x0, x1"),
        (["--event_columns", "x0"], InputError, r"x has shape \[40, 1\]; the model expects \[B, 2\]"),
        (["--event_columns", "x0,id"], JobError, "column id of .* is of type string; expected numbers"),
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
    assert _call("log_prob", flags, "--input", rows, "--output", tmp_path / "o.csv") == 40
    assert capsys.readouterr().err == "columns x0, x1 | c0: from models/flow/3; --model names another\n"
