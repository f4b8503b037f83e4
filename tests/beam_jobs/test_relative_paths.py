"""Files named relative to the current directory, for workers here and elsewhere."""

from __future__ import annotations

import pytest

from beam_jobs import ScoreOptions
from beam_jobs.jobs.running import prepare_job
from beam_jobs.jobs.score import plan_score
from beam_jobs.options.job_options import Files
from beam_jobs.runner.options import parse_beam_flags
from beam_jobs.sources.input_files import find_sources
from maf_serving.row_seeds import file_names


@pytest.fixture
def here(tmp_path, monkeypatch):
    (tmp_path / "d" / "e").mkdir(parents=True)
    for name in ("a.parquet", "d/b.parquet", "d/e/c.parquet"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found_by(pattern):
    return {source.path: str(source.found_by) for source in find_sources([Files(pattern)])}


@pytest.mark.parametrize(
    ("pattern", "count"), [("*.parquet", 1), ("a.parquet", 1), ("./d/*.parquet", 1), ("d/**/*.parquet", 1)]
)
def test_a_relative_pattern_means_what_the_absolute_one_means(pattern, count, here):
    relative, absolute = found_by(pattern), found_by(str(here / pattern))
    assert len(relative) == len(absolute) == count
    assert [str((here / path).resolve()) for path in relative] == [str(here.resolve() / path) for path in absolute]
    assert list(file_names(relative).values()) == list(file_names(absolute).values())


@pytest.mark.parametrize(("flags", "absolute"), [([], False), (["--runner=PortableRunner"], True)])
def test_a_function_makes_paths_absolute_for_workers_elsewhere(
    flags, absolute, model_base, write_parquet, make_columns, tmp_path, monkeypatch
):
    path = write_parquet("a.parquet", make_columns(10, 1))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(model_base)
    options = ScoreOptions(model="models", input_patterns=("a.parquet",), output="out")
    job, staged = prepare_job(plan_score, options, parse_beam_flags(flags))
    staged.discard()
    assert [source.path for source in job.plan.sources] == [path if absolute else "a.parquet"]
    assert job.plan.model.location.path == str(tmp_path / "models" / "3")
    assert staged.directory.startswith(f"{tmp_path}/out.staging-")
