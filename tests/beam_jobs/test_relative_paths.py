"""Files named relative to the current directory, for workers here and elsewhere."""

from __future__ import annotations

import pytest

from beam_jobs.row_seeds import file_names
from beam_jobs.sources.input_files import find_files


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "d" / "e").mkdir(parents=True)
    for name in ("a.parquet", "d/b.parquet", "d/e/c.parquet"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "count"), [("*.parquet", 1), ("a.parquet", 1), ("./d/*.parquet", 1), ("d/**/*.parquet", 1)]
)
def test_a_relative_pattern_means_what_the_absolute_one_means(pattern, count, here):
    relative, absolute = find_files([pattern]), find_files([str(here / pattern)])
    assert len(relative) == len(absolute) == count
    assert [str((here / path).resolve()) for path in relative] == [str(here.resolve() / path) for path in absolute]
    assert list(file_names(relative).values()) == list(file_names(absolute).values())
