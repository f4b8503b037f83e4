"""What is refused before a pipeline starts: one line that names the file, what it has and what was expected."""

from __future__ import annotations

import doctest

import pyarrow as pa
import pytest

from beam_jobs import ScoreOptions, UsageError
from beam_jobs.jobs.score import plan_score
from beam_jobs.options import job_options
from beam_jobs.sources import source

GOOD = {"x0": [1.0], "x1": [1.0], "c0": [1.0]}


def test_a_missing_column_names_the_file_and_what_it_has(score, write_parquet, write_csv):
    good = write_parquet("a.parquet", GOOD)
    bad = write_csv("b.csv", {"x0": [1.0], "x1": [1.0], "age": [1.0]})
    with pytest.raises(UsageError) as refusal:
        score(good, bad)
    assert str(refusal.value) == (
        f"input column(s) c0 not in {bad}; it has: x0, x1, age; the model expects: x0, x1, c0"
    )


@pytest.mark.parametrize(
    "column", [pa.array([[1.0]]), pa.array([0], pa.timestamp("s")), pa.array([{"a": 1}])], ids=lambda c: str(c.type)
)
def test_a_type_that_holds_no_numbers_is_refused(column, score, write_parquet):
    path = write_parquet("a.parquet", {**GOOD, "x1": column})
    with pytest.raises(UsageError, match=r"input column x1 of .* expected numbers or text"):
        score(path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.parquet", "x0,x1,c0\n1,2,3\n", "cannot be read as Parquet"),
        ("a.parquet", "", "cannot be read as Parquet"),
        ("a.csv.gz", "x0,x1,c0\n1,2,3\n", "cannot be read as CSV"),
        ("a.csv", "x0,x0,c0\n1,2,3\n", "names column.* x0 more than once"),
        ("a.txt", "x0,x1,c0\n1,2,3\n", "name its format with --input_format"),
    ],
)
def test_a_file_that_is_no_table_is_refused(name, text, message, score, write_text):
    with pytest.raises(UsageError, match=message):
        score(write_text(name, text))


def test_input_format_overrides_the_extension(score, write_text):
    path = write_text("a.txt", "x0,x1,c0\n1,2,3\n")
    assert score(path, input_format="csv").summary.rows_scored == 1


def test_patterns_without_a_file_and_directories_are_refused(score, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no\*\.csv matches no file"):
        score(str(tmp_path / "no*.csv"))
    with pytest.raises(UsageError, match="is a directory without a file that ends in"):
        score(str(tmp_path / "empty"))


@pytest.mark.parametrize("keep", [("*",), ("row",)])
def test_a_kept_column_may_not_take_a_name_of_the_output(keep, score, write_parquet):
    path = write_parquet("a.parquet", {**GOOD, "row": [1]})
    with pytest.raises(UsageError, match=r"column\(s\) row, names that the output needs for itself"):
        score(path, keep=keep)


def test_kept_columns_must_be_in_every_file_with_one_type(score, write_parquet):
    first = write_parquet("a.parquet", {**GOOD, "id": [1]})
    lacking = write_parquet("b.parquet", GOOD)
    other = write_parquet("c.parquet", {**GOOD, "id": ["1"]})
    with pytest.raises(UsageError, match=r"column\(s\) id not in .*b\.parquet"):
        score(first, lacking, keep=("id",))
    with pytest.raises(UsageError, match=r"id not in .*b\.parquet"):
        score(first, lacking, keep=("*",))
    with pytest.raises(UsageError, match=r"--keep id: id is string in .*c\.parquet but int64 in .*a\.parquet"):
        score(first, other, keep=("id",))
    with pytest.raises(UsageError, match=r"id of .*a\.parquet not in .*b\.parquet"):
        score(lacking, first, keep=("*",))


def test_a_model_that_is_none_is_refused(score, write_parquet, tmp_path):
    path = write_parquet("a.parquet", GOOD)
    for model in (tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="expected"):
            plan_score(ScoreOptions(model=str(model), input_patterns=(path,), output=str(tmp_path / "o")))


def test_the_examples_of_places_and_sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("x0,x1,c0\n1,2,3\n")
    for module in (job_options, source):
        result = doctest.testmod(module)
        assert result.attempted
        assert not result.failed
