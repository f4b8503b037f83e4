"""Rows that cannot be scored: each comes out once, with its file, row number and reason; no other row suffers."""

from __future__ import annotations

import csv
import gzip
import io

import numpy as np
import pyarrow as pa
import pytest

from beam_jobs import JobError

PARQUET_DAMAGE = {
    "null": None,
    "NaN": float("nan"),
    "infinite": float("-inf"),
    "overflow: 1e+39 does not fit float32": 1e39,
}
TEXT_DAMAGE = {
    "null": "  ",
    "NaN": "nan",
    "infinite": "-Infinity",
    "overflow: -1e39 does not fit float32": "-1e39",
    "not a number: 'abc'": "abc",
    "not a number: '1,5'": "1,5",
    "not a number: '0x10'": "0x10",
    "not a number: 'NA'": "NA",
}


def damage(columns: dict[str, list], kinds: dict, seed: int) -> dict[int, str]:
    """Puts each kind of damage in each column at random rows; returns the reason expected for each row."""
    rows = np.random.default_rng(seed).permutation(len(columns["x0"])).tolist()
    reasons = {}
    for name in ("x0", "x1", "c0"):
        for reason, value in kinds.items():
            for _ in range(5):
                row = rows.pop()
                columns[name][row] = value
                reasons[row] = f"{name}: {reason}"
    return reasons


def test_parquet_rows_are_rejected_for_their_value(score, write_parquet, make_columns, density):
    clean = make_columns(3_000, 5)
    columns = {name: values.tolist() for name, values in clean.items()}
    expected = damage(columns, PARQUET_DAMAGE, seed=5)
    path = write_parquet("a.parquet", columns, row_group_size=500)

    result = score(path, batch_size=128, keep=("x0",))

    result.assert_each_row_once({(path, row) for row in range(3_000)})
    assert result.reasons() == {(path, row): reason for row, reason in expected.items()}
    assert result.summary.rejected_by_kind == {"null": 15, "NaN": 15, "infinite": 15, "overflow": 15}
    log_prob = density(**clean)
    for (_, row), value in result.log_probs().items():
        assert value == pytest.approx(log_prob[row], abs=1e-4)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "parquet"])
def test_text_that_is_no_number_rejects_its_row_alone(form, score, write_parquet, write_text, make_columns, density):
    clean = make_columns(2_000, 6)
    columns = {name: [repr(float(value)) for value in values] for name, values in clean.items()}
    expected = damage(columns, TEXT_DAMAGE, seed=6)
    if form == "parquet":
        path = write_parquet("a.parquet", {name: pa.array(values) for name, values in columns.items()})
    else:
        text = io.StringIO()
        csv.writer(text).writerows([columns, *zip(*columns.values(), strict=True)])
        data = text.getvalue().encode()
        path = write_text(f"a.{form}", gzip.compress(data) if form == "csv.gz" else data)

    result = score(path, batch_size=200)

    result.assert_each_row_once({(path, row) for row in range(2_000)})
    if form != "parquet":  # in CSV that is how a number that is not there is spelled
        expected = {row: reason.replace("not a number: 'NA'", "null") for row, reason in expected.items()}
    assert result.reasons() == {(path, row): reason for row, reason in expected.items()}
    log_prob = density(**clean)
    for (_, row), value in result.log_probs().items():
        assert value == pytest.approx(log_prob[row], abs=1e-4)


@pytest.mark.parametrize("block_bytes", [150, 1 << 20])
@pytest.mark.parametrize("line_break", ["\n", "\r\n"])
def test_ragged_rows_leave_the_row_numbers_right(block_bytes, line_break, score, write_text, density, monkeypatch):
    monkeypatch.setattr("maf_serving.csv_files.BLOCK_BYTES", block_bytes)
    generator = np.random.default_rng(block_bytes)
    lines, expected, row = ["x0,x1,c0,note"], {}, 0
    for _ in range(400):
        kind = generator.choice(["good", "good", "quoted", "blank", "short", "long"])
        if kind == "blank":
            lines.append("")
            continue
        if kind in {"short", "long"}:
            fields = 2 if kind == "short" else 6
            lines.append(",".join(["1"] * fields))
            expected[row] = f"ragged row: {fields} fields where the header has 4"
        else:
            lines.append(f'{row / 1000},0,0,"a{line_break}b"' if kind == "quoted" else f"{row / 1000},0,0,-")
        row += 1
    path = write_text("a.csv", line_break.join(lines))

    result = score(path, batch_size=7)

    result.assert_each_row_once({(path, number) for number in range(row)})
    assert result.reasons() == {(path, number): reason for number, reason in expected.items()}
    for (_, number), value in result.log_probs().items():
        assert value == pytest.approx(density(number / 1000, 0.0, 0.0), abs=1e-6)


def test_an_unclosed_quote_is_told_from_a_short_row(score, write_text):
    path = write_text("a.csv", 'x0,x1,c0\n1,2,3\n1,"2,3\n4,5,6\n7,8,9\n')
    assert score(path).reasons() == {
        (path, 1): "ragged row: 2 fields where the header has 3, over 3 lines: is a quote not closed?"
    }


def test_an_unclosed_quote_that_swallows_a_block_fails_the_job(score, write_text, monkeypatch):
    monkeypatch.setattr("maf_serving.csv_files.BLOCK_BYTES", 200)
    path = write_text("a.csv", "x0,x1,c0\n" + "1,2,3\n" * 100 + '1,"2,3\n' + "1,2,3\n" * 100)
    with pytest.raises(JobError, match=r"a\.csv cannot be read from row \d+: .* is a quote not closed\?"):
        score(path)


def test_a_file_of_ragged_rows_alone(score, write_text):
    path = write_text("a.csv", "x0,x1,c0\n1,2\n1\n1,2,3,4\n")
    result = score(path)
    assert list(result.reasons()) == [(path, 0), (path, 1), (path, 2)]
    assert result.summary.rows_scored == 0


def test_kept_bytes_that_are_no_text_reject_their_row(score, write_text):
    path = write_text("a.csv", b"x0,x1,c0,note\n1,2,3,fine\n1,2,3,\xff\xfe\n\xff,2,3,fine\n1,2,3,\xc3\xa9\n")
    result = score(path, keep=("note",))
    assert result.reasons() == {
        (path, 1): "note: not UTF-8: byte 0xFF in '\\xff\\xfe'",
        (path, 2): "x0: not a number: '\\\\xff'",
    }
    assert result.scored.sort_by("row")["note"].to_pylist() == ["fine", "é"]


def test_a_row_with_several_faults_is_rejected_once_for_the_first(score, write_parquet):
    path = write_parquet("a.parquet", {"c0": [None, 1.0], "x1": [np.nan, 1.0], "x0": [1.0, 1.0]})
    result = score(path)
    assert result.reasons() == {(path, 0): "x1: NaN"}
    assert result.summary.rejected_by_kind == {"NaN": 1}


def test_a_column_of_nulls_rejects_every_row(score, write_parquet):
    path = write_parquet("a.parquet", {"x0": pa.nulls(3), "x1": [1.0] * 3, "c0": [1.0] * 3})
    assert score(path).reasons() == {(path, row): "x0: null" for row in range(3)}


def test_what_the_model_answers_decides_too(score, write_parquet):
    path = write_parquet("a.parquet", {"x0": [0.0, 777.0, 888.0, 999.0], "x1": [0.0] * 4, "c0": [0.0] * 4})
    result = score(path)
    result.assert_each_row_once({(path, row) for row in range(4)})
    assert result.reasons() == {(path, 1): "log_prob: NaN", (path, 3): "log_prob: +infinite"}
    assert result.log_probs()[path, 2] == -np.inf
    assert result.summary.rows_with_zero_density == 1


def test_bytes_that_are_no_text_in_a_ragged_row(score, write_text):
    private = "\uf7ff\uf780".encode()
    lines = [b"x0,x1,c0,note", b"1,2,3,fine", b"\xff\xb1,2", b"1,2,3,\xb1", b"1,2,3," + private, b"\xef\x9f,2,3,fine"]
    path = write_text("a.csv", b"\n".join(lines))
    result = score(path, keep=("note",))
    assert result.reasons() == {
        (path, 1): "ragged row: 2 fields where the header has 4",
        (path, 2): "note: not UTF-8: byte 0xB1 in '\\xb1'",
        (path, 4): "x0: not a number: '\\\\xef\\\\x9f'",
    }
    assert result.scored.sort_by("row")["note"].to_pylist() == ["fine", private.decode()]
