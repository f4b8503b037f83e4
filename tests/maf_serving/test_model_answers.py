"""`summarize`, `quantile` and `cdf` of tables in this process, on flows with a known answer."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import tensorflow_probability as tfp

import maf_serving as ms
from maf_serving.answers import level_name
from maf_serving.row_seeds import draw_seeds, row_keys
from tests import shop_model
from tests.export.test_answers import made, normal

tfb = tfp.bijectors
CONDITIONS = {"c": [0.0, None, 2.5, float("nan")]}


@pytest.fixture(scope="module")
def line():
    """y = c + N(0, 0.3), its column called x."""
    functions, run = made(normal())
    return ms.Model(functions.contract, run)


def test_quantiles_are_those_of_the_noise_in_rows_that_have_a_condition(line):
    answers = line.quantile(CONDITIONS, [0.1, 0.9])
    assert answers.column_names == ["x_q10", "x_q90"]
    for name, offset in (("x_q10", -0.38447), ("x_q90", 0.38447)):
        low, missing, high, not_a_number = answers.column(name).to_pylist()
        assert (low, high) == (pytest.approx(offset, abs=1e-4), pytest.approx(2.5 + offset, abs=1e-4))
        assert missing is None
        assert not_a_number is None
    back = line.cdf({"x": answers.column("x_q90"), "c": CONDITIONS["c"]}).to_pylist()
    assert back == [pytest.approx(0.9, abs=1e-5), None, pytest.approx(0.9, abs=1e-5), None]


def test_a_summary_says_what_quantile_says(line):
    summary = line.summarize(CONDITIONS)
    assert summary.column_names == ["x_mean", "x_stddev", "x_q05", "x_q25", "x_q50", "x_q75", "x_q95"]
    assert summary.column("x_mean").to_pylist() == [pytest.approx(0, abs=1e-5), None, pytest.approx(2.5), None]
    assert summary.column("x_stddev").to_pylist()[0] == pytest.approx(0.3, rel=1e-3)
    own = line.quantile(CONDITIONS, 0.95).column("x_q95").to_pylist()
    assert summary.column("x_q95").to_pylist() == [pytest.approx(value, rel=1e-5) if value else None for value in own]


def test_pandas_keeps_its_index(line):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"c": [1.0, 2.0], "x": [1.0, 2.0]}, index=["a", "b"])
    assert list(line.summarize(frame).index) == ["a", "b"]
    assert list(line.quantile(frame, [0.5]).columns) == ["x_q50"]
    np.testing.assert_allclose(line.cdf(frame), 0.5, atol=1e-6)


def test_several_columns_are_summarized_by_the_seed_of_each_row():
    functions, run = made(normal(2), tfb.Scale([1.0, 5.0]))
    model = ms.Model(functions.contract, run)
    conditions = {"c": [0.0, 1.0, 2.0] * 50}
    summary = model.summarize(conditions, seed=7)
    assert summary.column_names[:2] == ["x_mean", "y_mean"]
    assert summary.column_names[4:6] == ["x_q05", "x_q25"]
    asked = {"seed": draw_seeds(row_keys(7, [149]), [0]), "conditional_input": np.float32([[2.0]])}
    alone = run("summarize", asked)
    assert summary.column("y_stddev")[149].as_py() == pytest.approx(float(alone["stddev"][0, 1]), rel=1e-5)
    assert summary.column("y_q95")[149].as_py() == pytest.approx(float(alone["quantiles"][0, 1, 4]), rel=1e-5)
    assert model.summarize(conditions, seed=8).column("x_mean") != summary.column("x_mean")
    cdf = model.cdf({"x": [0.0], "y": [0.0], "c": [0.0]})
    assert cdf.column_names == ["cdf_x", "cdf_y"]
    with pytest.raises(ms.errors.UsageError, match="no signature 'quantile': it is of one event column"):
        model.quantile(conditions, [0.5])


@pytest.mark.parametrize("levels", [[0.5, 1.0], 0, [2]])
def test_levels_that_are_none_are_refused(line, levels):
    with pytest.raises(ms.errors.UsageError, match="expected probabilities between 0 and 1"):
        line.quantile(CONDITIONS, levels)


def test_an_unconditional_model_needs_no_table():
    functions, run = made(normal(), tfb.Shift([3.0]), conditions=0)
    model = ms.Model(functions.contract, run)
    assert model.summarize().column("x_q50").to_pylist() == [pytest.approx(3.0)]
    assert len(model.quantile(pa.table({"any": [1, 2, 3]}), 0.9)) == 3


def test_a_version_from_before_says_so(tmp_path):
    model = ms.load(shop_model.save_shop_model(tmp_path))
    with pytest.raises(ms.errors.UsageError, match=r"no signature 'summarize': version .* export it again"):
        model.summarize({"region": ["north"], "price": [1.0], "store": [7], "temperature": [20.0]})


def test_names_of_levels():
    assert [level_name(level) for level in (0.05, 0.1, 0.5, 0.975, 0.9999)] == ["q05", "q10", "q50", "q975", "q9999"]
