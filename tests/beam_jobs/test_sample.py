"""Draws: where they come from, how they are distributed, and that nothing but seed, row and conditions matters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_jobs import JobError, SampleOptions, UsageError, sample_table


@pytest.fixture
def sample(run_job, model_base):
    """Draws for conditions with the model; the samples, sorted, and the directory."""

    def run(*inputs: str, num_samples: int = 3, seed: int = 7, **values):
        values = {"model": str(model_base), "num_samples": num_samples, "seed": seed, **values}
        directory = run_job(sample_table, SampleOptions, *inputs, **values)
        table = pq.ParquetDataset(sorted(directory.glob("samples-*"))).read()
        return table.sort_by([(name, "ascending") for name in ("file", "row", "draw")]), directory

    return run


def draws_of(table: pa.Table) -> dict[tuple[int, int], float]:
    return {(row["row"], row["draw"]): row["x0"] for row in table.to_pylist()}


def same(draws: dict[tuple[int, int], float]):
    """To float32's last digits: the end of a batch may be computed with other instructions."""
    return pytest.approx(draws, rel=1e-4, abs=1e-5)


def rejected_in(directory: Path) -> list[tuple[int, str]]:
    rows = pq.ParquetDataset(sorted(directory.glob("_rejected-*"))).read().to_pylist()
    return sorted((row["row"], row["reason"]) for row in rows)


def test_each_row_gets_its_draws_with_their_density(sample, write_parquet, density):
    path = write_parquet("a.parquet", {"c0": np.linspace(-2, 2, 500), "id": range(500), "unused": ["x"] * 500})
    table, directory = sample(path, num_samples=40, keep=("id", "c0"), batch_size=333)
    assert table.schema.names == ["file", "row", "draw", "id", "c0", "x0", "x1", "log_prob"]
    assert table["row"].to_pylist() == table["id"].to_pylist() == [row for row in range(500) for _ in range(40)]
    assert table["draw"].to_pylist() == list(range(40)) * 500
    x0, x1, c0 = (table[name].to_numpy().astype(float) for name in ("x0", "x1", "c0"))
    np.testing.assert_allclose(table["log_prob"], density(x0, x1, c0), rtol=1e-3, atol=1e-3)
    z = np.stack([x0 - c0, (x1 + 2 * c0) / 3])
    np.testing.assert_allclose(z.mean(axis=1), 0, atol=4 / np.sqrt(20_000))
    np.testing.assert_allclose(np.cov(z), np.eye(2), atol=0.05)
    summary = json.loads((directory / "_summary.json").read_text())
    assert (summary["rows_read"], summary["rows_scored"], summary["draws_written"]) == (500, 500, 20_000)


def test_batches_files_runs_and_places_do_not_matter(sample, write_parquet, tmp_path):
    columns = {"c0": np.random.default_rng(1).normal(size=300)}
    path = write_parquet("a.parquet", columns, row_group_size=70)
    first = draws_of(sample(path, output="first")[0])
    assert draws_of(sample(path, output="again", batch_size=7)[0]) == same(first)
    (tmp_path / "elsewhere").mkdir()
    moved = shutil.copy(path, tmp_path / "elsewhere" / "a.parquet")
    assert draws_of(sample(str(moved), output="moved")[0]) == same(first)
    more = draws_of(sample(path, output="more", num_samples=5)[0])
    assert {key: value for key, value in more.items() if key[1] < 3} == same(first)
    other = draws_of(sample(path, output="other", seed=8)[0])
    assert sum(value == pytest.approx(first[key], rel=1e-4) for key, value in other.items()) < 9


def test_draws_follow_the_key_of_a_row(sample, write_parquet, write_csv):
    keys, c0 = list(range(100)), np.linspace(-1, 1, 100)
    order = np.random.default_rng(2).permutation(100)
    straight = write_parquet("a.parquet", {"c0": c0, "key": keys})
    shuffled = write_csv("b.csv", {"key": [keys[i] for i in order], "c0": [c0[i] for i in order]})

    def by_key(*inputs, output):
        table, _ = sample(*inputs, output=output, key_column="key", keep=("key",))
        return {(str(row["key"]), row["draw"]): row["x0"] for row in table.to_pylist()}

    assert by_key(straight, output="a") == pytest.approx(by_key(shuffled, output="b"), rel=1e-4, abs=1e-5)


def test_rows_that_cannot_be_drawn_for_are_rejected(sample, write_parquet, model_base):
    path = write_parquet("a.parquet", {"c0": [1.0, None, 777.0], "key": pa.array([1, 2, None])})
    table, directory = sample(path, key_column="key")
    assert set(table["row"].to_pylist()) == {0}
    assert rejected_in(directory) == [(1, "c0: null"), (2, "key: null key")]
    summary = json.loads((directory / "_summary.json").read_text())
    assert (summary["rows_read"], summary["rows_scored"], summary["rows_rejected"]) == (3, 1, 2)


def test_draws_that_are_not_finite_are_rejected_alone(sample, write_parquet):
    # Beyond float32 once it is doubled.
    path = write_parquet("a.parquet", {"c0": [0.0, 3e38]})
    table, directory = sample(path)
    assert set(table["row"].to_pylist()) == {0}
    assert rejected_in(directory) == [(1, f"draw {n}: not finite") for n in range(3)]
    summary = json.loads((directory / "_summary.json").read_text())
    assert (summary["rows_scored"], summary["draws_written"], summary["draws_rejected"]) == (2, 3, 3)


def test_a_job_whose_draws_are_all_rejected_has_failed(sample, write_parquet):
    path = write_parquet("a.parquet", {"c0": [3e38, 3e38]})
    with pytest.raises(JobError, match=r"6 of 6 draws \(100\.00%\) were rejected; .*\(6 .*not finite\)"):
        sample(path, max_rejected=0.99)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_samples": 0}, "--num_samples is 0; expected at least 1"),
        ({"key_column": "c0"}, "--key_column c0 is double; expected whole numbers or text"),
        ({"key_column": "none"}, r"--key_column: column\(s\) none not in"),
        ({"keep": ("x0",)}, r"column\(s\) x0, names that the output needs"),
    ],
)
def test_what_cannot_be_drawn_is_refused(values, message, sample, write_parquet):
    path = write_parquet("a.parquet", {"c0": [1.0], "x0": [1.0]})
    with pytest.raises(UsageError, match=message):
        sample(path, **values)
