"""The evaluation as a whole, against the same statistics of all rows at once."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pytest

from beam_jobs import EvaluateOptions, JobError, UsageError, evaluate_table

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


def crps_of_a_normal(sigma: float, z: np.ndarray) -> np.ndarray:
    normal = statistics.NormalDist()
    cdf, density = (np.array([function(value) for value in z]) for function in (normal.cdf, normal.pdf))
    return sigma * (z * (2 * cdf - 1) + 2 * density - 1 / np.sqrt(np.pi))


def test_columns_are_scored_by_draws_of_each_row(evaluate, write_parquet):
    columns = rows_of_the_model(7)
    region = np.array(["north", None], object)[np.arange(ROWS) % 2]
    path = write_parquet("a.parquet", {**columns, "region": region}, row_group_size=999)
    summary, directory = evaluate(path, group_column="region", crps_rows=ROWS)
    z = [columns["x0"] - columns["c0"], (columns["x1"] + 2 * columns["c0"]) / 3]
    for group, mine in ((None, slice(None)), ("north", slice(0, None, 2)), ("(null)", slice(1, None, 2))):
        of = summary["overall"] if group is None else {g["group"]: g for g in summary["groups"]}[group]
        assert of["crps_rows"] == len(z[0][mine])
        for column, sigma, values in zip(of["columns"], (1, 3), z, strict=True):
            # 99 draws of each row have noise of their own, of 0.075 sigma a row.
            noise = 4 * 0.075 * sigma / np.sqrt(of["crps_rows"])
            assert column["mean_crps"] == pytest.approx(crps_of_a_normal(sigma, values[mine]).mean(), abs=noise)
            for interval, end in zip(column["intervals"], (0.67449, 1.644854), strict=True):
                noise = 4 * np.sqrt(interval["level"] * (1 - interval["level"]) / of["crps_rows"])
                assert interval["coverage"] == pytest.approx(interval["level"], abs=noise)
                assert interval["mean_width"] == pytest.approx(2 * end * sigma, rel=0.04)
    x0 = np.sort(columns["x0"])
    alone = np.abs(np.subtract.outer(x0, x0)).sum() / (2 * ROWS * (ROWS - 1))
    assert summary["overall"]["columns"][0]["crps_without_conditions"] == pytest.approx(alone, rel=1e-5)
    assert summary["crps_method"] == "99 draws of each row"
    assert summary["verdict"][0].startswith("Calibrated: 5 of 5 levels within noise")
    assert any(each.startswith("Intervals hold what they say: 4 of 4") for each in summary["verdict"])
    page = (directory / "report.html").read_text().replace("\u00a0", " ")
    assert page.index("Forecasts of each event column") < page.index("What each figure rests on")
    assert "CRPS of x1" in page


def test_a_sample_is_scored_and_the_same_whatever_the_batches(evaluate, write_parquet):
    path = write_parquet("a.parquet", rows_of_the_model(8, spread=1.5), row_group_size=700)
    first, _ = evaluate(path, output="a", crps_rows=500)
    second, _ = evaluate(path, output="b", crps_rows=500, batch_size=77)
    assert first["overall"]["crps_rows"] == 500
    for one, other in zip(first["overall"]["columns"], second["overall"]["columns"], strict=True):
        assert one["mean_crps"] == pytest.approx(other["mean_crps"], rel=1e-9)
    narrow = [each for each in first["verdict"] if "central intervals hold what they say" in each]
    assert len(narrow) == 1
    assert "which is too narrow" in narrow[0]


def test_one_column_is_scored_by_its_quantiles(evaluate, write_parquet, tmp_path):
    columns = rows_of_the_model(9)
    path = write_parquet("a.parquet", {"x": columns["x0"], "c0": columns["c0"]})
    summary, _ = evaluate(path, model=save_one_column(tmp_path / "line"), crps_rows=ROWS)
    (column,) = summary["overall"]["columns"]
    exact = crps_of_a_normal(1.0, columns["x0"] - columns["c0"])
    assert column["mean_crps"] == pytest.approx(exact.mean(), abs=1e-4)
    assert column["crps_standard_error"] == pytest.approx(exact.std(ddof=1) / np.sqrt(ROWS), rel=1e-3)
    assert column["intervals"][1]["mean_width"] == pytest.approx(2 * 1.644854, rel=1e-5)
    assert summary["crps_method"] == "69 quantiles of each row"


def save_one_column(base):
    """x ~ N(c0, 1), which can be asked for quantiles and not drawn from."""
    import dataclasses  # noqa: PLC0415

    import tensorflow as tf  # noqa: PLC0415

    from export.contract import CONTRACT_PATH, Contract, Signature, TensorSpec  # noqa: PLC0415

    class Line(tf.Module):
        @tf.function(
            input_signature=[tf.TensorSpec([None, 1], name="x"), tf.TensorSpec([None, 1], name="conditional_input")]
        )
        def inverse(self, x, conditional_input):
            z = x - conditional_input
            return {"z": z, "log_prob": -0.5 * z[:, 0] ** 2 - 0.5 * np.log(2 * np.pi)}

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], name="probability"),
                tf.TensorSpec([None, 1], name="conditional_input"),
            ]
        )
        def quantile(self, probability, conditional_input):
            return {"x": tf.math.ndtri(probability)[:, None] + conditional_input}

    module = Line()
    tf.saved_model.save(module, str(base / "1"), signatures={"inverse": module.inverse, "quantile": module.quantile})
    matrix, vector = TensorSpec("float32", (None, 1)), TensorSpec("float32", (None,))
    condition = {"conditional_input": matrix}
    contract = Contract(
        event_columns=("x",),
        conditional_columns=("c0",),
        dtype="float32",
        signatures={
            "inverse": Signature({"x": matrix, **condition}, {"z": matrix, "log_prob": vector}),
            "quantile": Signature({"probability": vector, **condition}, {"x": matrix}),
        },
        toolkit_version="0",
        tensorflow_version=tf.__version__,
    )
    (base / "1" / CONTRACT_PATH).parent.mkdir(exist_ok=True)
    (base / "1" / CONTRACT_PATH).write_text(contract.to_json())
    without = dataclasses.replace(contract, signatures={"inverse": contract.signatures["inverse"]})
    (base / "without.json").write_text(without.to_json())
    return base


def test_what_cannot_be_scored_is_said_and_why(evaluate, write_parquet, tmp_path):
    columns = rows_of_the_model(10)
    path = write_parquet("a.parquet", {"x": columns["x0"], **columns})
    summary, directory = evaluate(path, crps_rows=0)
    assert summary["overall"]["columns"] == []
    assert summary["crps_missing"] == "--crps_rows is 0"
    base = save_one_column(tmp_path / "line")
    (base / "1" / "assets.extra" / "contract.json").write_text((base / "without.json").read_text())
    summary, directory = evaluate(path, model=base, output="b")
    assert summary["crps_missing"] == "the model has neither quantile nor sample_with_seed, but inverse"
    assert "There is no CRPS here: the model has neither" in (directory / "report.html").read_text()


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_a_weight_counts_as_so_many_rows(evaluate, write_parquet, write_csv, density, suffix):
    columns = {name: values.astype(np.float32).astype(float) for name, values in rows_of_the_model(6).items()}
    weights = np.random.default_rng(0).integers(0, 4, ROWS).astype(float)
    weights[:3] = [-1, np.inf, np.nan]
    write = write_parquet if suffix == "parquet" else write_csv
    weighted, directory = evaluate(write(f"a.{suffix}", columns | {"w": weights}), output="a", weight="w")
    used = np.flatnonzero(np.isfinite(weights) & (weights > 0))
    repeated = {name: np.repeat(values[used], weights[used].astype(int)) for name, values in columns.items()}
    repeats, _ = evaluate(write_parquet("b.parquet", repeated), output="b")
    first, second = weighted["overall"], repeats["overall"]
    assert (weighted["rows_rejected"], weighted["rows_scored"], first["rows"]) == (3, ROWS - 3, len(used))
    assert first["mean_nll"] == pytest.approx(second["mean_nll"], rel=1e-6)
    for name in ("log_prob_quantiles", "log_prob_range"):
        assert first[name] == pytest.approx(second[name], rel=1e-3)
    for mine, other in zip(first["coverage"], second["coverage"], strict=True):
        assert mine["observed"] == pytest.approx(other["observed"], abs=1e-9)
    for mine, other in zip(first["dimensions"], second["dimensions"], strict=True):
        assert mine["ks"] == pytest.approx(other["ks"], abs=1e-9)
        assert mine["mean"] == pytest.approx(other["mean"], abs=1e-6)
        assert mine["standard_deviation"] == pytest.approx(other["standard_deviation"], rel=1e-3)
    log_prob, counting = density(**columns)[used], weights[used]
    assert first["effective_rows"] == pytest.approx(counting.sum() ** 2 / (counting**2).sum())
    error = np.sqrt((counting**2 * (log_prob - np.average(log_prob, weights=counting)) ** 2).sum()) / counting.sum()
    assert first["nll_standard_error"] == pytest.approx(error, rel=1e-3)
    assert first["nll_standard_error"] > second["nll_standard_error"]
    assert second["effective_rows"] is None
    assert "of equal weight tell as much" in (directory / "report.html").read_text(encoding="utf-8")


def test_forecasts_are_scored_by_weight_too(evaluate, write_parquet, tmp_path):
    """All rows, which is exact; a sample; and groups of it."""
    rows = 1_500
    columns = {name: values[:rows] for name, values in rows_of_the_model(11).items()}
    rng = np.random.default_rng(1)
    counts = np.where(columns["x0"] > columns["c0"] + 0.5, 6, rng.integers(0, 3, rows))
    counts[::50] = 40
    table = {"x": columns["x0"], "c0": columns["c0"], "half": np.where(np.arange(rows) % 2, "odd", "even")}
    base = save_one_column(tmp_path / "line")
    weighted = write_parquet("a.parquet", table | {"w": counts})
    of_all, directory = evaluate(weighted, model=base, output="a", weight="w", crps_rows=rows, group_column="half")
    repeated = {name: np.repeat(values, counts) for name, values in table.items()}
    repeats, _ = evaluate(write_parquet("b.parquet", repeated), model=base, output="b", crps_rows=rows * 9)
    some, _ = evaluate(weighted, model=base, output="c", weight="w", crps_rows=200, group_column="half")
    (mine,), (other,), (few,) = (each["overall"]["columns"] for each in (of_all, repeats, some))
    assert (mine["mean_crps"], other["mean_crps"]) == pytest.approx((other["mean_crps"],) * 2, rel=1e-5)
    # a value is scored by all others: by its repeats too, where they are rows
    assert mine["crps_without_conditions"] == pytest.approx(other["crps_without_conditions"], rel=1e-2)
    for one, same in zip(mine["intervals"], other["intervals"], strict=True):
        assert one["coverage"] == pytest.approx(same["coverage"], abs=1e-9)
        assert one["mean_width"] == pytest.approx(same["mean_width"], rel=1e-6)
    crps, w = crps_of_a_normal(1.0, columns["x0"] - columns["c0"]), counts.astype(float)
    error = np.sqrt((w**2 * (crps - np.average(crps, weights=w)) ** 2).sum()) / w.sum()
    assert mine["crps_standard_error"] == pytest.approx(error, rel=1e-2)
    assert mine["crps_standard_error"] > other["crps_standard_error"]
    assert of_all["overall"]["crps_rows"] == (counts > 0).sum()
    assert of_all["overall"]["crps_effective_rows"] == pytest.approx(w.sum() ** 2 / (w**2).sum())
    assert some["overall"]["crps_rows"] == 200
    assert few["mean_crps"] == pytest.approx(mine["mean_crps"], abs=4 * few["crps_standard_error"])
    assert few["intervals"][0]["coverage"] < 0.45  # of which half the rows are, were they counted alike
    for group, exact in zip(some["groups"], of_all["groups"], strict=True):
        (here,), (there,) = group["columns"], exact["columns"]
        assert here["mean_crps"] == pytest.approx(there["mean_crps"], abs=4 * here["crps_standard_error"])
    worth = f"by weight: {of_all['overall']['crps_effective_rows']:,.0f} of equal weight tell as much"
    assert worth in (directory / "report.html").read_text(encoding="utf-8").replace("\u00a0", " ")


def test_rows_of_weight_zero_and_weights_that_are_none(evaluate, write_parquet):
    columns = rows_of_the_model(7)
    with pytest.raises(UsageError, match=r"--weight: w holds lists or records; expected numbers"):
        evaluate(write_parquet("a.parquet", columns | {"w": [[1.0]] * ROWS}), weight="w")
    strange = {name: np.concatenate([values, values + 100]) for name, values in columns.items()}
    both, _ = evaluate(write_parquet("b.parquet", strange | {"w": np.repeat([2.0, 0.0], ROWS)}), output="b", weight="w")
    alone, _ = evaluate(write_parquet("c.parquet", columns | {"w": np.full(ROWS, 2.0)}), output="c", weight="w")
    assert both["rows_scored"] == 2 * ROWS
    assert both["overall"]["rows"] == alone["overall"]["rows"] == ROWS
    assert both["overall"]["mean_nll"] == pytest.approx(alone["overall"]["mean_nll"], rel=1e-12)
    assert [each["ks"] for each in both["overall"]["dimensions"]] == [
        each["ks"] for each in alone["overall"]["dimensions"]
    ]
