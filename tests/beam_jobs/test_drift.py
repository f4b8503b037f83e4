"""The drift job as a whole; `evaluation/test_drift.py` has the statistics."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

import maf_serving as ms
from beam_jobs import DriftOptions, DriftSummary, JobError, UsageError, find_drift
from beam_jobs.drift import main
from export.contract import CONTRACT_PATH, TrainingSummary, read_contract
from maf_serving.training_profile import NllProfile, TrainingProfile
from tests.beam_jobs.conftest import MINUS_INFINITY_AT, NAN_AT, log_prob
from tests.beam_jobs.evaluation.test_drift import profile_of, quantiles_of

ROWS = 5_000


def rows_of_the_model(seed: int) -> dict[str, np.ndarray]:
    z = np.random.default_rng(seed).normal(size=(3, ROWS)).astype(np.float32)
    return {"x0": z[2] + z[0], "x1": -2 * z[2] + 3 * z[1], "c0": z[2]}


@pytest.fixture(scope="module")
def trained(model_base, tmp_path_factory):
    """The model of `model_base`, with a profile of rows of its own distribution."""
    return with_training(model_base, tmp_path_factory.mktemp("trained") / "3")


def with_training(model_base, version, **more):
    shutil.copytree(model_base / "3", version)
    columns = {name: values.astype(np.float64) for name, values in rows_of_the_model(1).items()}
    nll = -log_prob(**columns)
    profile = TrainingProfile(
        event=(profile_of("x0", columns["x0"]), profile_of("x1", columns["x1"])),
        condition=(profile_of("c0", columns["c0"]),),
        nll=NllProfile(rows=ROWS, mean=float(nll.mean()), stddev=float(nll.std()), quantiles=quantiles_of(nll)),
    )
    summary = TrainingSummary(ROWS, ROWS, 0, 1, float(nll.mean()), profile=profile, **more)
    contract = dataclasses.replace(read_contract(version), training=summary)
    (version / CONTRACT_PATH).write_text(contract.to_json())
    return version.parent


@pytest.fixture
def drift(run_job, trained):
    def run(*inputs: str, model=trained, **values):
        directory = run_job(find_drift, DriftOptions, *inputs, model=str(model), **values)
        return DriftSummary.from_json((directory / "_summary.json").read_text()), directory

    return run


def test_rows_like_those_of_training(drift, write_parquet):
    columns = rows_of_the_model(2)
    path = write_parquet("a.parquet", columns, row_group_size=999)
    summary, directory = drift(path, batch_size=700)
    assert summary.verdict == "no drift"
    assert summary.exit_status == 0
    assert [each.column for each in summary.columns] == ["x0", "x1", "c0"]
    assert all(each.values == ROWS for each in summary.columns)
    assert summary.columns[1].mean == pytest.approx(float(columns["x1"].mean()), abs=1e-3)
    assert summary.nll.mean == pytest.approx(-log_prob(**columns).mean(), abs=1e-4)
    exact = max(
        abs(np.mean(columns["x0"] <= value) - np.mean(rows_of_the_model(1)["x0"] <= value))
        for value in quantiles_of(rows_of_the_model(1)["x0"].astype(np.float64)).values
    )
    assert summary.columns[0].ks == pytest.approx(exact, abs=1e-6)
    assert "No drift:" in (directory / "report.html").read_text()


def test_drift_is_named_and_a_scheduler_hears_of_it(trained, write_csv, tmp_path, capsys):
    columns = rows_of_the_model(3)
    text = np.char.mod("%.6f", columns["x1"]).astype(object)
    text[:500], text[500:700] = "", "cheap"
    path = write_csv("a.csv", {**columns, "x1": text, "cold": columns["c0"] + 1})
    flags = ["--model", str(trained), "--input", path, "--output", str(tmp_path / "out"), "--rename", "c0=cold"]
    assert main(flags) == 3
    out = capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "_summary.json").read_text())
    assert summary["drifted"] == ["x1", "c0", "NLL"]
    assert summary["rows_rejected"] == 700
    x1 = {share["name"]: share["today"] for share in summary["columns"][1]["shares"]}
    assert (x1["null"], x1["unusable"]) == (0.1, 0.04)
    assert "drift         x1: 10.0 % null (0.0 %), 4.0 % unusable (0.0 %)" in out
    assert "verdict       Drift: 2 of 3 columns beyond what matters and what is chance, and the NLL." in out


def test_columns_that_go_together_otherwise_show_in_the_nll_alone(drift, write_parquet):
    columns = rows_of_the_model(4)
    columns["c0"] = np.roll(columns["c0"], 1)
    summary, _ = drift(write_parquet("a.parquet", columns))
    assert summary.drifted == ("NLL",)


def test_rows_that_the_model_fails_on_or_holds_impossible(drift, write_parquet):
    columns = rows_of_the_model(5)
    columns["x0"][:100], columns["x0"][100:103] = MINUS_INFINITY_AT, NAN_AT
    summary, _ = drift(write_parquet("a.parquet", columns))
    assert summary.rows_rejected == 3
    assert summary.drifted == ("x0", "NLL")
    assert "2.0 % zero density (0.0 %)" in summary.nll.reasons


def test_a_column_that_was_trained_with_noise_gets_it_again(drift, write_parquet, model_base, tmp_path):
    noisy = with_training(model_base, tmp_path / "noisy" / "3", dequantization={"x1": 4.0})
    columns = rows_of_the_model(6)
    found = [drift(write_parquet("a.parquet", columns), model=noisy, output=name)[0] for name in ("a", "b")]
    assert found[0].nll == found[1].nll
    u = np.random.default_rng(0).uniform(-2, 2, size=ROWS)
    assert found[0].nll.mean == pytest.approx(-log_prob(**{**columns, "x1": columns["x1"] + u}).mean(), abs=0.02)
    assert found[0].columns[1].mean == pytest.approx(float(columns["x1"].mean()), abs=1e-3)  # as it was read


def test_what_cannot_be_compared(drift, write_parquet, model_base):
    columns = rows_of_the_model(7)
    path = write_parquet("a.parquet", columns)
    with pytest.raises(UsageError, match="does not know what its training saw: expected a version of a run"):
        drift(path, model=model_base)
    del columns["c0"]
    with pytest.raises(UsageError, match=r"input column.s. c0 not in"):
        drift(write_parquet("b.parquet", columns))
    with pytest.raises(UsageError, match="--max_ks is -1; expected a number of at least 0"):
        drift(path, max_ks=-1.0)


def test_few_rows_are_no_drift_but_few(drift, write_parquet):
    columns = {name: values[:50] + 9 for name, values in rows_of_the_model(8).items()}
    summary, _ = drift(write_parquet("a.parquet", columns))
    assert summary.verdict == "too few rows"
    assert summary.findings[0].startswith("Too few rows to tell:")


def test_earlier_rows_of_the_same_things_pair_by_key(trained, write_parquet, tmp_path):
    """In Python: a table in memory against files, in another order and with other keys too."""
    before = rows_of_the_model(9)
    now = {**before, "x0": before["x0"] + np.float32(0.4) * (before["x0"] - before["c0"])}
    order = np.random.default_rng(0).permutation(ROWS)
    keys = np.array([f"k{row}" for row in range(ROWS)], object)
    earlier = {name: values[100:].copy() for name, values in before.items()}
    earlier["c0"][0] = np.nan
    keys_before = keys[100:].copy()
    keys_before[1] = None
    path = write_parquet("earlier.parquet", {**earlier, "id": keys_before}, row_group_size=700)
    found = ms.drift(
        trained,
        {**{name: values[order] for name, values in now.items()}, "id": keys[order]},
        baseline_table=path,
        key_column="id",
        output=tmp_path / "out",
        rows_per_call=900,
    )
    gap = log_prob(**before)[102:] - log_prob(**now)[102:]
    paired = found.paired
    assert (paired.keys, paired.only_today, paired.only_baseline) == (ROWS - 102, 102, 0)
    assert (paired.baseline_rows, paired.baseline_rejected) == (ROWS - 100, {"NaN": 1, "null key": 1})
    assert (found.rows_read, found.rows_rejected) == (ROWS, 0)
    assert paired.nll_difference == pytest.approx(gap.mean(), abs=1e-5)
    assert paired.standard_error == pytest.approx(gap.std(ddof=1) / np.sqrt(len(gap)), rel=1e-3)
    assert found.verdict == paired.verdict == "drift"
    assert "NLL of pairs" in found.drifted
    told = f"of {ROWS - 102:,} keys of both tables; 102 of the input alone, 0 of the baseline alone."
    assert any(each.startswith("Row by row less likely than the baseline:") and told in each for each in found.findings)
    assert "NLL, row by row" in (tmp_path / "out" / "report.html").read_text()
    lines = found.to_text("out")
    assert f"baseline rows {ROWS - 100:>12,}  rejected of them: 1 NaN, 1 null key" in lines


def test_a_key_that_is_not_there_or_comes_twice(drift, write_parquet):
    columns = {name: values[:300] for name, values in rows_of_the_model(10).items()}
    path = write_parquet("a.parquet", {**columns, "id": np.arange(300), "day": np.arange(300) // 2})
    with pytest.raises(UsageError, match=r"--key_column: column\(s\) nokey not in"):
        drift(path, baseline_patterns=(path,), key_column="nokey")
    with pytest.raises(UsageError, match="--key_column x0 is float; expected whole numbers or text"):
        drift(path, baseline_patterns=(path,), key_column="x0")
    with pytest.raises(UsageError, match=r"--baseline_input none\.parquet matches no file"):
        drift(path, baseline_patterns=("none.parquet",), key_column="id")
    with pytest.raises(JobError, match=r"--key_column day: \d+ comes 2 times in --"):
        drift(path, baseline_patterns=(path,), key_column="day")
