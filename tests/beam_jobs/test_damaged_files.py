"""Files that cannot be read, or not to their end: the job fails and says which; or rejects no more than is lost."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import JobError, UsageError
from beam_jobs.options.flags import parse_score_flags
from beam_jobs.options.job_options import DEFAULT_MAX_REJECTED
from beam_jobs.sources import input_files
from beam_jobs.sources.source import ReadPlan
from maf_serving.rejection import RejectedRows
from maf_serving.table_formats import Damage
from tests.beam_jobs.write_table import FORMATS, write_table

# seconds each: two of them at every run, the others with the other faults
ANY_BYTE = [pytest.param(each, marks=[] if each in {"csv", "parquet"} else pytest.mark.faults) for each in FORMATS]
PLAN = ReadPlan(model_columns=("x0", "x1", "c0"), kept=pa.schema([]), batch_size=64)


@pytest.fixture
def columns(make_columns):
    return {name: values.tolist() for name, values in make_columns(2_000, 3).items()}


def assert_values(result, columns, density):
    expected = density(*(np.array(columns[name]) for name in ("x0", "x1", "c0")))
    for (_, row), value in result.log_probs().items():
        assert value == pytest.approx(expected[row], rel=1e-4, abs=1e-4)


def flip_byte_in_group(path, group: int) -> None:
    chunk = pq.read_metadata(path).row_group(group).column(1)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 0xFF
    path.write_bytes(content)


def test_damage_in_parquet_costs_the_rows_of_its_row_group_alone(columns, score, density, tmp_path):
    path = tmp_path / "a.parquet"
    write_table(path, columns, row_group_size=100)
    flip_byte_in_group(path, 7)
    with pytest.raises(JobError, match=r"a\.parquet cannot be read from row 7\d\d: .*; see --on_bad_file"):
        score(str(path), batch_size=330)
    result = score(str(path), batch_size=330, on_bad_file="reject")
    result.assert_each_row_once({(str(path), row) for row in range(2_000)})
    assert [row for _, row in result.reasons()] == list(range(700, 800))
    assert result.summary.rejected_by_kind == {"unreadable": 100}
    (unreadable,) = result.summary.unreadable_files
    assert (unreadable.file, unreadable.first_row, unreadable.rows_lost) == (str(path), 700, 100)
    assert_values(result, columns, density)


@pytest.mark.parametrize("extension", ["csv.gz", "jsonl.gz", "avro", "tfrecord.gz", "tfrecord"])
def test_a_truncated_file_is_used_up_to_its_last_whole_row(extension, columns, score, density, tmp_path):
    path = tmp_path / f"a.{extension}"
    write_table(path, columns)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(JobError, match=r"cannot be read from row \d+: .*; see --on_bad_file"):
        score(str(path))
    result = score(str(path), on_bad_file="reject", batch_size=128)
    read = result.summary.rows_scored
    assert 800 < read < 1_900
    result.assert_each_row_once({(str(path), row) for row in range(read + 1)})
    assert list(result.reasons()) == [(str(path), read)]
    assert result.reasons()[str(path), read].startswith("unreadable from here on: ")
    (unreadable,) = result.summary.unreadable_files
    assert (unreadable.first_row, unreadable.rows_lost) == (read, None)
    assert_values(result, columns, density)


@pytest.mark.parametrize("extension", ["csv", "jsonl"])
@pytest.mark.parametrize("rows", [1, 2, 200])
def test_a_text_file_that_ends_within_a_row_was_cut_off(extension, rows, columns, score, tmp_path):
    path = tmp_path / f"a.{extension}"
    write_table(path, {name: values[:rows] for name, values in columns.items()})
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]) + lines[-1][: len(lines[-1]) // 4])
    refusal = UsageError if (extension, rows) == ("jsonl", 1) else JobError  # nothing is left to tell the columns by
    with pytest.raises(refusal, match=r"the file ends within a row; see"):
        score(str(path))
    result = score(str(path), on_bad_file="reject", batch_size=50)
    assert (result.summary.rows_scored, result.summary.rows_rejected) == (rows - 1, 1)
    assert "the file ends within a row" in result.reasons()[str(path), rows - 1]
    assert len(result.summary.unreadable_files) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "x0,x1,c0\n1,2,3\n1,2\n1,2,3"),
        ("b.csv", "x0,x1,c0\n1,2,3\n1,2,3\n1,2\n"),
        ("c.csv", "x0,x1,c0\n1,2,3\n1,2,3\n1,2,3,4"),
        ("d.jsonl", '{"x0": 1, "x1": 2, "c0": 3}\n{"x0": 1, "x1": 2, "c0": 3}\n{"x0": 1\n'),
        ("e.jsonl", '{"x0": 1\n{"x0": 1, "x1": 2, "c0": 3}\n{"x0": 1, "x1": 2, "c0": 3}'),
    ],
)
def test_a_bad_row_alone_does_not_say_so(name, text, score, write_text):
    summary = score(write_text(name, text)).summary
    assert (summary.rows_scored, summary.rows_rejected, summary.unreadable_files) == (2, 1, ())


def test_a_number_cut_in_two_is_not_scored(score, tmp_path):
    path = tmp_path / "a.csv.gz"
    generator = np.random.default_rng(1)
    lines = "".join(f"{value},{value},{value}\n" for value in generator.normal(size=50_000))
    content = gzip.compress(f"x0,x1,c0\n{lines}".encode())
    for cut in generator.integers(2_000, len(content) - 10, 5):
        path.write_bytes(content[:cut])
        result = score(str(path), on_bad_file="reject", existing_output="replace", keep=("x0", "c0"))
        table = result.scored.to_pydict()
        assert table["x0"] == table["c0"]


def test_unreadable_files_beside_good_ones(columns, score, tmp_path, write_text):
    good = write_table(tmp_path / "good.parquet", columns)
    truncated = tmp_path / "truncated.parquet"
    write_table(truncated, columns)
    truncated.write_bytes(truncated.read_bytes()[:-100])
    bad = [str(truncated)]
    bad += [write_text(f"noise.{form}", bytes(range(256)) * 20) for form in ("parquet", "csv.gz", "avro", "tfrecord")]
    bad += [write_text("text.jsonl", "this is\nno JSON\n"), write_text("lacking.csv", "x0,x1\n1,2\n3,4\n")]
    for path in bad:
        with pytest.raises(UsageError, match=path):
            score(good, path)
    result = score(good, *bad, on_bad_file="reject")
    result.assert_each_row_once({(good, row) for row in range(2_000)} | {(path, 0) for path in bad})
    assert "input column(s) c0 not in" in result.reasons()[bad[-1], 0]
    assert result.summary.rejected_by_kind == {"unreadable": len(bad)}
    assert "lost files               7" in result.summary.to_text("out")


@pytest.mark.parametrize("extension", ANY_BYTE)
def test_whatever_is_wrong_with_a_header_the_file_is_read_or_refused(extension, columns, tmp_path):
    path = tmp_path / f"a.{extension}"
    write_table(path, {name: values[:20] for name, values in columns.items()}, row_group_size=100)
    source = input_files.FORMATS[extension.removesuffix(".gz")]
    content = path.read_bytes()
    for place in range(min(len(content), 300)):
        for value in (0xFF, ord("y")):
            path.write_bytes(content[:place] + bytes([value]) + content[place + 1 :])
            try:
                units = source(str(path)).inspect().units
            except UsageError as error:
                assert "\n" not in str(error)  # noqa: PT017  # most of them raise none
            else:
                for unit in units:
                    rows, _ = read_all(unit)
                    assert len(set(rows)) == len(rows)


def test_names_that_are_no_text(score, write_text):
    path = write_text("a.csv", b"x0,x1,c0,gr\xf6\xdfe\n1,2,3,4\n")
    with pytest.raises(
        UsageError, match=r"a\.csv cannot be read as CSV: its header is not UTF-8: byte 0xF6 in 'gr\\xf6\\xdfe'; say"
    ):
        score(path)
    path = write_text("a.jsonl", '{"x0": 1, "x1": 2, "c0": 3, "\\ud800": 4}\n')
    assert score(path).summary.rows_scored == 1


def test_columns_that_no_file_has_are_a_mistake_not_damage(score, write_text):
    path = write_text("a.csv", "x0,x1,age\n1,2,3\n")
    with pytest.raises(UsageError, match=r"input column\(s\) c0 not in"):
        score(path, on_bad_file="reject")


@pytest.mark.parametrize("extension", ANY_BYTE)
def test_whatever_byte_is_wrong_each_row_comes_out_at_most_once(extension, columns, tmp_path):
    path = tmp_path / f"a.{extension}"
    write_table(path, columns, row_group_size=100)
    source = input_files.FORMATS[extension.removesuffix(".gz")]
    content = path.read_bytes()
    (unit,) = source(str(path)).inspect().units
    for place in np.random.default_rng(7).integers(len(content) // 20, len(content), 25):
        damaged = bytearray(content)
        damaged[place] ^= 1 + int(place) % 255
        path.write_bytes(damaged)
        rows, lost = read_all(unit)
        assert len(set(rows)) == len(rows)
        if extension == "parquet" and not lost:
            assert sorted(rows) == list(range(2_000))
        if not extension.endswith(".gz"):  # where damage may decode to lines that never were
            assert len(rows) <= 2_001


def read_all(unit) -> tuple[list[int], bool]:
    """Numbers of the rows that were read, rejected, or said to be lost; whether their number is unknown."""
    rows, lost = [], False
    for part in unit.read(PLAN):
        if isinstance(part, Damage):
            lost = lost or part.rows is None
            rows += range(part.first_row, part.first_row + (part.rows or 1))
        elif isinstance(part, RejectedRows):
            rows += part.table.column("row").to_pylist()
        else:
            rows += part.rows.to_pylist()
    return rows, lost


def test_a_job_that_could_use_no_row_has_failed(make_columns, write_parquet, score, tmp_path):
    columns = make_columns(300, 1)
    columns["x0"][:] = np.nan
    columns["x0"][:2] = 0.0
    path = write_parquet("a.parquet", columns)
    message = r"298 of 300 rows \(99.33%\) were rejected; --max_rejected allows 99.00%; nothing was .*\(298 NaN\)"
    with pytest.raises(JobError, match=message):
        score(path, max_rejected=DEFAULT_MAX_REJECTED)
    (kept,) = tmp_path.glob("scores*")
    assert pq.read_table(kept / "_rejected-00000-of-00001.parquet").num_rows == 298
    assert parse_score_flags(["--model=m", "--input=a", "--output=o"])[0].max_rejected == DEFAULT_MAX_REJECTED
    assert score(path, max_rejected=1, output="allowed").summary.rows_rejected == 298
    columns["x0"][:3] = 0.0
    enough = score(write_parquet("b.parquet", columns), max_rejected=DEFAULT_MAX_REJECTED, output="enough")
    assert enough.summary.rows_scored == 3


def test_too_many_rejected_rows_fail_the_job_and_are_kept(score, write_parquet, make_columns, tmp_path):
    columns = make_columns(1_000, 1)
    columns["x0"][:50] = np.nan
    path = write_parquet("a.parquet", columns)
    assert score(path, max_rejected=0.05).summary.rows_rejected == 50
    with pytest.raises(JobError) as failure:
        score(path, max_rejected=0.04, output="failed")
    message = str(failure.value)
    assert message.startswith(
        "50 of 1,000 rows (5.00%) were rejected; --max_rejected allows 4.00%; nothing was published"
    )
    (kept,) = tmp_path.glob("failed*")
    assert message.endswith(str(kept))
    assert "the rows or allow more; they and their reasons (50 NaN) are in " in message
    assert sorted(entry.name for entry in kept.iterdir()) == ["_rejected-00000-of-00001.parquet", "_summary.json"]
    assert pq.read_table(kept / "_rejected-00000-of-00001.parquet").num_rows == 50
