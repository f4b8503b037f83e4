"""The evaluation as a whole, against the same statistics of all rows at once."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pytest

from beam_jobs import EvaluateOptions, JobError, evaluate_table

ROWS = 6_000


@pytest.fixture
def evaluate(run_job, model_base):
    def run(*inputs: str, model=model_base, **values):
        directory = run_job(evaluate_table, EvaluateOptions, *inputs, model=str(model), **values)
        return json.loads((directory / "_summary.json").read_text()), directory

    return run


def rows_of_the_model(seed: int, spread: float = 1.0) -> dict[str, np.ndarray]:
    z = np.random.default_rng(seed).normal(size=(3, ROWS))
    return {"x0": z[2] + spread * z[0], "x1": -2 * z[2] + 3 * spread * z[1], "c0": z[2]}


def ks_distance(z: np.ndarray) -> float:
    cdf = np.array([statistics.NormalDist().cdf(value) for value in np.sort(z)])
    steps = np.arange(len(z) + 1) / len(z)
    return max(np.abs(cdf - steps[1:]).max(), np.abs(cdf - steps[:-1]).max())


def test_rows_of_the_model_itself(evaluate, write_parquet, density):
    columns = rows_of_the_model(1)
    summary, directory = evaluate(write_parquet("a.parquet", columns, row_group_size=999), batch_size=500)
    log_prob = density(**columns)
    overall = summary["overall"]
    assert overall["rows"] == summary["rows_read"] == ROWS
    assert overall["mean_nll"] == pytest.approx(-log_prob.mean(), abs=1e-4)
    assert overall["nll_standard_error"] == pytest.approx(log_prob.std(ddof=1) / np.sqrt(ROWS), rel=1e-4)
    for level, value in overall["log_prob_quantiles"].items():
        assert value == pytest.approx(np.quantile(log_prob, float(level), method="inverted_cdf"), rel=1e-3)
    assert summary["reference"] == "standard normal"
    z = [columns["x0"] - columns["c0"], (columns["x1"] + 2 * columns["c0"]) / 3]
    for dimension, values in zip(overall["dimensions"], z, strict=True):
        assert dimension["ks"] == pytest.approx(ks_distance(values), abs=1 / 1024)
        assert dimension["ks"] < overall["ks_by_chance"]
        assert dimension["standard_deviation"] == pytest.approx(values.std(ddof=1), rel=1e-4)
    for covered in overall["coverage"]:
        exact = np.mean(z[0] ** 2 + z[1] ** 2 <= -2 * np.log(1 - covered["level"]))
        assert covered["observed"] == pytest.approx(exact, abs=2 / ROWS)
        assert covered["expected"] == pytest.approx(covered["level"], abs=1e-9)
    assert "report.html" in summary["output_files"]
    assert (directory / "report.html").is_file()


def test_a_model_that_is_too_narrow_shows(evaluate, write_parquet):
    summary, _ = evaluate(write_parquet("a.parquet", rows_of_the_model(2, spread=1.5)))
    overall = summary["overall"]
    assert all(dimension["ks"] > 5 * overall["ks_by_chance"] for dimension in overall["dimensions"])
    assert all(covered["observed"] < covered["expected"] - 0.02 for covered in overall["coverage"])


def test_batches_bundles_and_formats_give_the_same_counts(evaluate, write_parquet, write_csv):
    columns = {name: values.astype(np.float32) for name, values in rows_of_the_model(3).items()}
    first, _ = evaluate(write_parquet("a.parquet", columns), output="a")
    second, _ = evaluate(write_csv("b.csv", columns), output="b", batch_size=77)
    first, second = first["overall"], second["overall"]
    assert first["mean_nll"] == pytest.approx(second["mean_nll"], rel=1e-12)
    for name in ("log_prob_quantiles", "coverage"):
        assert first[name] == second[name]
    assert [d["ks"] for d in first["dimensions"]] == [d["ks"] for d in second["dimensions"]]


def test_a_base_that_is_not_normal_is_its_own_reference(evaluate, write_parquet, uniform_model_base):
    generator = np.random.default_rng(4)
    c0, uniform = generator.normal(size=ROWS), generator.uniform(-0.5, 0.5, size=(2, ROWS))
    columns = {"x0": c0 + uniform[0], "x1": -2 * c0 + 3 * uniform[1], "c0": c0}
    summary, _ = evaluate(write_parquet("a.parquet", columns), model=uniform_model_base)
    assert summary["reference"] == "draws of the base"
    assert summary["reference_draws"] > 4_000
    # Two samples, of the rows and of the base.
    assert all(d["ks"] < 2 * summary["overall"]["ks_by_chance"] for d in summary["overall"]["dimensions"])
    for covered in summary["overall"]["coverage"]:
        assert covered["observed"] == pytest.approx(covered["expected"], abs=0.04)


def test_groups_have_statistics_of_their_own(evaluate, write_parquet, density):
    columns = rows_of_the_model(5)
    region = np.array(["north", '<b>south & "east"</b>', None], object)[np.arange(ROWS) % 3]
    log_prob = density(**columns)
    columns["x0"][30:60] = np.nan
    path = write_parquet("a.parquet", {**columns, "region": region})
    summary, directory = evaluate(path, group_column="region")
    groups = {group["group"]: group for group in summary["groups"]}
    assert set(groups) == {"(null)", "north", '<b>south & "east"</b>'}
    for number, name in enumerate(["north", '<b>south & "east"</b>', "(null)"]):
        mine = np.arange(ROWS) % 3 == number
        mine[30:60] = False
        assert groups[name]["rows"] == mine.sum()
        assert groups[name]["rows_rejected"] == 10
        assert groups[name]["mean_nll"] == pytest.approx(-log_prob[mine].mean(), abs=1e-4)
    page = (directory / "report.html").read_text()
    assert "<b>south" not in page
    assert "&lt;b&gt;south &amp;" in page
    assert "http" not in page


def test_too_many_groups_fail_the_job(evaluate, write_parquet):
    path = write_parquet("a.parquet", {**rows_of_the_model(6), "id": range(ROWS)})
    with pytest.raises(JobError, match=r"--group_column id has more than 100 values; .*--max_groups"):
        evaluate(path, group_column="id")


def test_rows_of_density_zero_and_failed_ones(evaluate, write_parquet):
    path = write_parquet("a.parquet", {"x0": [0.0, 777.0, 888.0, 999.0], "x1": [0.0] * 4, "c0": [0.0] * 4})
    summary, _ = evaluate(path)
    assert summary["rejected_by_kind"] == {"log_prob: +infinite": 1, "log_prob: NaN": 1}
    assert summary["overall"]["rows"] == 2
    assert summary["overall"]["rows_with_zero_density"] == 1
    assert summary["overall"]["nll_standard_error"] is None


def test_an_empty_table_has_a_report(evaluate, write_parquet):
    summary, directory = evaluate(write_parquet("a.parquet", {"x0": [], "x1": [], "c0": []}))
    assert summary["overall"]["mean_nll"] is None
    assert summary["rows_read"] == 0
    assert (directory / "report.html").read_text().startswith("<!DOCTYPE html>")
