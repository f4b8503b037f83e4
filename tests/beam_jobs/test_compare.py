"""Two models on the same rows, against what numpy says of their densities."""

from __future__ import annotations

import json
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from beam_jobs import JobError, UsageError
from beam_jobs.compare import main
from beam_jobs.jobs.compare import CompareSummary, _inputs_of_both, compare_table
from beam_jobs.options.judging import CompareOptions
from maf_serving.columns import ConditionColumn
from maf_serving.model_inputs import ModelInputs, RawColumn
from tests.beam_jobs.conftest import MINUS_INFINITY_AT, NAN_AT, log_prob, save_model

ROWS = 4_000


@pytest.fixture(scope="session")
def wider(tmp_path_factory):
    """The model of `model_base` with standard deviations of 1.2 and 3.6."""
    return save_model(tmp_path_factory.mktemp("models") / "wider", base_kind="normal", stretch=1.2)


def rows_of_the_model(seed: int) -> dict[str, np.ndarray]:
    z = np.random.default_rng(seed).normal(size=(3, ROWS)).astype(np.float32)
    return {"x0": z[2] + z[0], "x1": -2 * z[2] + 3 * z[1], "c0": z[2]}


@pytest.fixture
def compare(run_job, model_base, wider):
    def run(*inputs: str, model=model_base, baseline=wider, **values):
        directory = run_job(compare_table, CompareOptions, *inputs, model=str(model), baseline=str(baseline), **values)
        return CompareSummary.from_json((directory / "_summary.json").read_text()), directory

    return run


def test_the_right_model_is_better(compare, write_parquet):
    columns = rows_of_the_model(1)
    region = np.array(["north", None], object)[np.arange(ROWS) % 2]
    path = write_parquet("a.parquet", {**columns, "region": region}, row_group_size=999)
    summary, directory = compare(path, batch_size=500, group_column="region", crps_rows=1_000)
    overall = summary.overall
    gap = log_prob(**columns, stretch=1.2) - log_prob(**columns)
    assert overall.rows == summary.rows_read == ROWS
    assert overall.nll == pytest.approx(-log_prob(**columns).mean(), abs=1e-4)
    assert overall.nll_difference == pytest.approx(gap.mean(), abs=1e-5)
    assert overall.standard_error == pytest.approx(gap.std(ddof=1) / np.sqrt(ROWS), rel=1e-3)
    assert overall.share_ahead == pytest.approx(np.mean(gap < 0), abs=2 / ROWS)
    assert summary.quantiles["0.5"] == pytest.approx(np.median(gap), rel=1e-2)
    assert summary.verdict == "better"
    assert summary.exit_status == 0
    assert [each.column for each in overall.crps] == ["x0", "x1"]
    for each, sigma in zip(overall.crps, (1, 3), strict=True):
        # What a normal forecast of the right and of 1.2 times the deviation scores, on average.
        assert each.model == pytest.approx(sigma / np.sqrt(np.pi), rel=0.1)
        assert each.difference < 0
        assert each.standard_error < 0.02 * sigma
    assert {group.group: group.rows for group in summary.groups} == {"north": ROWS // 2, "(null)": ROWS // 2}
    assert all(group.verdict == "better" and group.crps_rows > 400 for group in summary.groups)
    assert {each.asked for each in summary.latency if each.model and each.baseline} == {"row", "batch"}
    page = (directory / "report.html").read_text()
    assert "Better than the baseline:" in page
    assert "By region" in page


def test_the_other_way_round_it_is_worse_and_a_script_hears_of_it(model_base, wider, write_parquet, tmp_path, capsys):
    path = write_parquet("a.parquet", rows_of_the_model(2))
    flags = ["--input", path, "--output", str(tmp_path / "out"), "--crps_rows", "0"]
    assert main(["--model", str(wider), "--baseline", str(model_base), *flags]) == 3
    assert "verdict       Worse than the baseline:" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "_summary.json").read_text())["verdict"] == "worse"


def test_a_model_is_no_different_from_itself(compare, write_parquet, model_base):
    summary, _ = compare(write_parquet("a.parquet", rows_of_the_model(3)), baseline=model_base, crps_rows=64)
    assert summary.verdict == "no different"
    assert summary.overall.nll_difference == 0
    assert [each.difference for each in summary.overall.crps] == [0, 0]


def test_a_model_that_refuses_rows_does_not_win_by_it(compare, write_parquet, model_base, wider):
    """It would be better on the rows that are left."""
    columns = rows_of_the_model(4)
    columns["c1"] = np.where(np.arange(ROWS) < 40, np.nan, 1.0)
    needs_more = wider.parent / "needs_more"
    path = write_parquet("a.parquet", columns)
    save_model(needs_more, base_kind="normal", condition="c1")
    summary, directory = compare(path, model=needs_more, baseline=wider, crps_rows=0)
    assert summary.rows_rejected == 40
    assert summary.rejected_by_kind == {"by the model alone": 40}
    assert (summary.overall.refused.model, summary.overall.refused.baseline) == (40, 0)
    assert summary.overall.loses_rows
    assert summary.verdict == "worse"
    (file,) = directory.glob("_rejected-*.parquet")
    assert pq.read_table(file)["reason"][0].as_py() == "model: c1: NaN"
    other, _ = compare(path, model=wider, baseline=needs_more, crps_rows=0, output="other")
    assert not other.overall.loses_rows
    assert other.overall.refused.baseline == 40


def test_rows_without_a_density_are_counted_by_whose_they_are(compare, write_parquet, model_base):
    columns = rows_of_the_model(5)
    columns["x0"][:7], columns["x0"][7:9] = MINUS_INFINITY_AT, NAN_AT
    summary, _ = compare(write_parquet("a.parquet", columns), baseline=model_base, crps_rows=0)
    assert (summary.overall.zero_density.both, summary.overall.refused.both) == (7, 2)
    assert summary.rejected_by_kind == {"by both": 2}
    assert summary.overall.rows == ROWS - 9
    assert summary.verdict == "no different"


def test_a_baseline_may_have_its_event_columns_in_another_order(compare, write_parquet, wider):
    """Numbers go by the names of columns: the baseline has x1 ~ N(c0, 1) and x0 ~ N(-2 c0, 3)."""
    columns = rows_of_the_model(7)
    other = wider.parent / "other_order"
    save_model(other, base_kind="normal", event=("x1", "x0"))
    summary, _ = compare(write_parquet("a.parquet", columns), baseline=other, crps_rows=1_000)
    expected = -log_prob(columns["x1"], columns["x0"], columns["c0"]).mean()
    assert summary.overall.baseline_nll == pytest.approx(expected, rel=1e-5)
    assert [each.column for each in summary.overall.crps] == ["x0", "x1"]
    normal = NormalDist()
    for each, mean, sigma in zip(summary.overall.crps, (-2 * columns["c0"], columns["c0"]), (3, 1), strict=True):
        z = (columns[each.column] - mean) / sigma
        exact = [sigma * (v * (2 * normal.cdf(v) - 1) + 2 * normal.pdf(v) - np.pi**-0.5) for v in z]
        assert each.baseline == pytest.approx(np.mean(exact), rel=0.1)
        assert each.model < each.baseline


def test_a_condition_that_two_models_read_as_different_kinds_is_read_as_both_can_take_it():
    def planned(kind, nullable, **more):
        column = ConditionColumn(name="store", kind=kind, nullable=nullable, **more)
        raw = (RawColumn(name="store", column=column),)
        return SimpleNamespace(
            inputs=ModelInputs(columns={"x": ("y",)}, dtype="float32", condition=raw),
            contract=SimpleNamespace(raw_condition_columns=(column,)),
        )

    number = planned("number", nullable=True)
    text = planned("string", nullable=False, vocabulary=("1", "2"))
    for pair in ((number, text), (text, number)):
        (read,) = _inputs_of_both(*pair).condition
        assert (read.name, read.column.kind, read.column.nullable) == ("store", "string", False)
    plain = SimpleNamespace(
        inputs=ModelInputs(columns={"x": ("y",), "conditional_input": ("store",)}, dtype="float32"),
        contract=SimpleNamespace(raw_condition_columns=(ConditionColumn(name="store"),)),
    )
    (read,) = _inputs_of_both(plain, planned("integer", nullable=False, vocabulary=(1, 2))).condition
    assert read.column.kind == "integer"


def test_weights_are_no_option_of_a_comparison():
    with pytest.raises(UsageError, match="weight is 'w'; a comparison counts rows alike: expected none"):
        CompareOptions(model="m", baseline="b", input_patterns=("a",), output="out", weight="w")


def test_every_row_is_lost(compare, write_parquet, model_base):
    columns = {name: np.full(20, np.nan) for name in ("x0", "x1", "c0")}
    with pytest.raises(JobError, match="rejected"):
        compare(write_parquet("a.parquet", columns), max_rejected=0.9)


def test_other_event_columns_are_other_units(compare, write_parquet, wider):
    path = write_parquet("a.parquet", rows_of_the_model(6))
    other = wider.parent / "other"
    save_model(other, base_kind="normal", event=("x0", "x2"))
    with pytest.raises(
        UsageError, match="--model has the event columns x0, x2, and --baseline x0, x1; expected the same"
    ):
        compare(path, model=other)
