"""`cdf`, `quantile`, `conditional_cdf` and `summarize` against densities with a known answer."""

from __future__ import annotations

import functools
import math
import warnings

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from export.contract import ContractError, TrainingSummary
from export.errors import ExportWarning
from export.saved_model import functions_in_process
from export.source import TrainedModel
from maf.config import BoundedColumn
from maf.event_scales import BoundedScale, Logarithmic
from maf_serving.columns import as_condition_columns
from maf_serving.saved_model import LoadedModel

tfb = tfp.bijectors
tfd = tfp.distributions
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
RNG = np.random.default_rng(0)


def shift(x, conditional_input):
    """x = c + 0.3 z."""
    return conditional_input[:, :1] + tf.zeros_like(x), tf.fill(tf.shape(x), np.float32(math.log(0.3)))


def normal(size=1):
    return tfd.Sample(tfd.Normal(0.0, 1.0), [size])


def two_modes(spread=0.3):
    components = tfd.MultivariateNormalDiag([[-1.0], [2.0]], [[spread], [spread]])
    return tfd.MixtureSameFamily(tfd.Categorical(probs=[0.4, 0.6]), components)


def made(base, *bijectors, conditions=1, training=None):
    """The functions of such a flow, in this process."""
    size = int(base.event_shape[0])
    if conditions:
        bijectors = (*bijectors, tfb.MaskedAutoregressiveFlow(shift, name="maf"))
    model = TrainedModel(
        distribution=tfd.TransformedDistribution(base, tfb.Chain(bijectors)),
        event_columns=tuple("xyzuvw"[:size]),
        condition_columns=as_condition_columns("c" * conditions),
        training=training,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExportWarning)  # the layer has no network: it runs as TFP's graph
        functions = functions_in_process(model)
    return functions, LoadedModel(functions).run


@pytest.fixture(scope="module")
def line():
    """y = c + N(0, 0.3)."""
    return made(normal())


def column(*values):
    return np.array(values, np.float32)[:, np.newaxis]


def test_quantiles_of_a_line_are_those_of_its_noise(line):
    _, run = line
    c = column(-1, 0, 2.5)
    x = run("quantile", {"probability": np.full(3, 0.9, np.float32), "conditional_input": c})["x"]
    np.testing.assert_allclose(x, c + 0.38447, atol=1e-4)
    np.testing.assert_allclose(run("cdf", {"x": x, "conditional_input": c})["cdf"], 0.9, atol=1e-5)
    summary = run("summarize", {"seed": np.arange(3), "conditional_input": c})
    np.testing.assert_allclose(summary["mean"], c, atol=1e-5)
    np.testing.assert_allclose(summary["stddev"], 0.3, rtol=3e-4)
    expected = c[:, np.newaxis] + 0.3 * np.array([-1.644854, -0.67449, 0, 0.67449, 1.644854])
    np.testing.assert_allclose(summary["quantiles"], expected, atol=1e-5)


def test_a_row_that_cannot_be_answered_is_alone(line):
    _, run = line
    c = column(0, np.nan, 0, 0)
    x = run("quantile", {"probability": np.array([0.5, 0.5, 1.5, 0], np.float32), "conditional_input": c})["x"]
    np.testing.assert_array_equal(np.isnan(x[:, 0]), [False, True, True, True])
    cdf = run("cdf", {"x": column(0, 0, np.inf, 1), "conditional_input": c})["cdf"]
    np.testing.assert_array_equal(np.isnan(cdf), [False, True, True, False])
    for values in run("summarize", {"seed": np.arange(4), "conditional_input": c}).values():
        np.testing.assert_array_equal(np.isnan(values.reshape(4, -1)).all(axis=1), [False, True, False, False])


def test_a_summary_of_another_number_of_rows_is_refused(line):
    _, run = line
    with pytest.raises(tf.errors.InvalidArgumentError, match="same number of rows"):
        run("summarize", {"seed": np.arange(2), "conditional_input": column(0, 1, 2)})


def test_a_falling_map_has_the_same_probabilities():
    functions, run = made(normal(), tfb.Shift([1.0]), tfb.Scale([-2.0]))
    c = column(0, 0)
    probability = np.array([0.1, 1e-6], np.float32)
    x = run("quantile", {"probability": probability, "conditional_input": c})["x"]
    np.testing.assert_allclose(x[:, 0], 1 - 0.6 * np.array([1.281552, 4.753424]), rtol=1e-5)
    np.testing.assert_allclose(run("cdf", {"x": x, "conditional_input": c})["cdf"], probability, rtol=1e-3)
    quantiles = run("summarize", {"seed": np.arange(2), "conditional_input": c})["quantiles"][0, 0]
    np.testing.assert_allclose(quantiles, 1 + 0.6 * np.array([-1.644854, -0.67449, 0, 0.67449, 1.644854]), atol=1e-5)
    assert functions.contract.answers.left_out == {}


@pytest.mark.parametrize("spread", [0.3, 0.01])
def test_a_mixture_has_its_own_cdf_and_moments(spread):
    """A step of three units between modes, of a hundred widths where these are narrow."""
    _, run = made(two_modes(spread), tfb.Shift([0.5]), conditions=0)
    x = np.linspace(-1, 3, 41, dtype=np.float32)[:, np.newaxis]
    expected = [
        sum(w * 0.5 * math.erfc((m + 0.5 - value) / spread / math.sqrt(2)) for w, m in ((0.4, -1), (0.6, 2)))
        for value in x[:, 0].astype(float)
    ]
    np.testing.assert_allclose(run("cdf", {"x": x})["cdf"], expected, atol=1e-4 if spread > 0.1 else 1e-3)
    probability = np.array([0.01, 0.2, 0.39, 0.41, 0.7, 0.99], np.float32)
    back = run("cdf", run("quantile", {"probability": probability}))["cdf"]
    np.testing.assert_allclose(back, probability, atol=1e-4)
    summary = run("summarize", {"seed": np.arange(2)})
    np.testing.assert_allclose(summary["mean"], 0.5 + 0.6 * 2 - 0.4, atol=2e-3)
    np.testing.assert_allclose(summary["stddev"], math.sqrt(spread**2 + 0.4 * 0.6 * 9), rtol=1e-3)
    assert (np.diff(summary["quantiles"], axis=-1) > 0).all()


def test_moments_of_a_log_normal_and_of_tails_without_any():
    for sigma, exists in ((1.0, True), (5.0, False)):
        _, run = made(normal(), Logarithmic([0], 1), tfb.Scale([sigma]), conditions=0)
        summary = run("summarize", {"seed": np.arange(1)})
        if exists:
            np.testing.assert_allclose(summary["mean"], math.exp(0.5), rtol=2e-4)
            np.testing.assert_allclose(summary["stddev"], math.sqrt((math.e - 1) * math.e), rtol=2e-4)
        else:
            assert np.isposinf(summary["mean"]).all()
            assert np.isposinf(summary["stddev"]).all()
        below = run("cdf", {"x": column(-3, 0, 1)})["cdf"]
        np.testing.assert_allclose(below, [0, 0, 0.5], atol=1e-6)


def test_answers_of_a_column_with_bounds_end_there():
    between = BoundedColumn(index=0, lower=2.0, upper=5.0, unit=3.0, closest=1e-5)
    _, run = made(normal(), BoundedScale([between], 1), conditions=0)  # uniform
    cdf = run("cdf", {"x": column(1, 2, 2.75, 5, 7, np.nan)})["cdf"]
    np.testing.assert_allclose(cdf, [0, 0, 0.25, 1, 1, np.nan], atol=1e-6)
    x = run("quantile", {"probability": np.array([1e-7, 0.1, 0.5], np.float32)})["x"]
    np.testing.assert_allclose(x[:, 0], [2, 2.3, 3.5], rtol=1e-6)
    summary = run("summarize", {"seed": np.arange(1)})
    np.testing.assert_allclose(summary["mean"], 3.5, rtol=1e-5)
    np.testing.assert_allclose(summary["stddev"], 3 / math.sqrt(12), rtol=1e-4)
    np.testing.assert_allclose(summary["quantiles"][0, 0], [2.15, 2.75, 3.5, 4.25, 4.85], rtol=1e-5)
    above = BoundedColumn(index=0, lower=None, upper=5.0, unit=3.0, closest=1e-5, far_side="odds")
    _, run = made(normal(), BoundedScale([above], 1))
    cdf = run("cdf", {"x": column(2, 6, 6), "conditional_input": column(0, 0, np.nan)})["cdf"]
    np.testing.assert_allclose(cdf, [0.5, 1, np.nan], atol=1e-6)


def test_the_cdf_is_the_integral_of_the_density(make_flow):
    """Of a spline flow with random weights, in raw units far from zero."""
    model = TrainedModel(
        distribution=make_flow("trained_here"),
        event_columns=("x",),
        condition_columns=as_condition_columns(["c", "d"]),
    )
    run = LoadedModel(functions_in_process(model)).run
    x = np.linspace(900, 1100, 40_001)
    for c in ([50, -3], [70, -3.2], [45, -2.9]):
        inputs = {"x": x.astype(np.float32)[:, np.newaxis], "conditional_input": np.tile(np.float32(c), (len(x), 1))}
        density = np.exp(run("log_prob", inputs)["log_prob"].astype(float))
        integral = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(x))])
        np.testing.assert_allclose(run("cdf", inputs)["cdf"], integral, atol=1e-4)
        summary = run("summarize", {"seed": np.arange(1), "conditional_input": np.float32([c])})
        mean = ((x[1] - x[0]) * density * x).sum()
        stddev = math.sqrt(((x[1] - x[0]) * density * (x - mean) ** 2).sum())
        np.testing.assert_allclose(summary["mean"], mean, atol=2e-3 * stddev)
        np.testing.assert_allclose(summary["stddev"], stddev, rtol=2e-3)
        probability = np.float32(LEVELS)
        each = {"probability": probability, "conditional_input": np.tile(np.float32(c), (5, 1))}
        np.testing.assert_allclose(run("quantile", each)["x"][:, 0], summary["quantiles"][0, 0], rtol=1e-6)


def trained_with_noise(width):
    return TrainingSummary(80, 10, 10, 1, 1.5, dequantization={"x": width})


def test_a_column_with_noise_is_answered_in_its_steps():
    """Counts: x = round(y), y the flow's; P(x <= k) is P(y < k + 1/2)."""
    _, run = made(normal(), tfb.Scale([4.0]), conditions=0, training=trained_with_noise(1.0))
    k = np.arange(-8, 9, dtype=np.float32)
    cdf = run("cdf", {"x": k[:, np.newaxis]})["cdf"]
    expected = [0.5 * math.erfc(-(value + 0.5) / 4 / math.sqrt(2)) for value in k.astype(float)]
    np.testing.assert_allclose(cdf, expected, atol=1e-6)
    np.testing.assert_array_equal(run("cdf", {"x": k[:, np.newaxis] + 0.4})["cdf"], cdf)
    probability = RNG.uniform(0.01, 0.99, 200).astype(np.float32)
    x = run("quantile", {"probability": probability})["x"]
    np.testing.assert_array_equal(x, np.round(x))
    assert (run("cdf", {"x": x})["cdf"] >= probability).all()
    assert (run("cdf", {"x": x - 1})["cdf"] < probability).all()
    summary = run("summarize", {"seed": np.arange(1)})
    np.testing.assert_array_equal(summary["quantiles"], np.round(summary["quantiles"]))
    np.testing.assert_allclose(summary["stddev"], math.sqrt(16 - 1 / 12), rtol=1e-3)


def test_draws_of_a_column_with_noise_are_whole_steps_with_their_own_density():
    """Each of two columns by its own width; none for the third."""
    training = TrainingSummary(80, 10, 10, 1, 1.5, dequantization={"x": 1.0, "z": 0.25})
    _, run = made(normal(3), tfb.Scale([4.0, 1.0, 2.0]), conditions=0, training=training)
    draws = run("sample_with_seed", {"seed": np.arange(100)})
    x = draws["x"]
    np.testing.assert_array_equal(x[:, [0, 2]], np.round(x[:, [0, 2]] * [1, 4]) / [1, 4])
    assert not (x[:, 1] == np.round(x[:, 1] * 4) / 4).any()
    assert x.std(axis=0) == pytest.approx([4, 1, 2], rel=0.3)
    np.testing.assert_array_equal(draws["log_prob"], run("log_prob", {"x": x})["log_prob"])
    columns = run("sample_columns", {"seed": np.arange(100)})
    np.testing.assert_array_equal(np.stack([columns[name] for name in "xyz"], axis=1), x)


@pytest.fixture(scope="module")
def correlated():
    """x, y = L z + a shift: correlated normals."""
    base = tfd.MultivariateNormalTriL([0.5, -1.0, 0.0], [[1.0, 0, 0], [0.8, 0.6, 0], [-0.5, 0.5, 2.0]])
    return made(base, tfb.Scale([2.0, 1.0, 1.0]))


def test_a_summary_of_draws_is_within_its_error_and_follows_the_seed(correlated):
    functions, run = correlated
    assert functions.contract.answers.num_draws == 1024
    rows = 200
    inputs = {"seed": np.arange(rows), "conditional_input": np.zeros((rows, 1), np.float32)}
    summary = run("summarize", inputs)
    loc = np.array([2 * 0.3 * 0.5, -0.3, 0.0])
    scale = 0.3 * np.array([2, 1, math.sqrt(0.5 + 4)])
    normals = np.array([-1.644854, -0.67449, 0, 0.67449, 1.644854])
    # the standard error of independent draws; evenly spread ones have less, and no bias
    error = (summary["mean"] - loc) / scale
    assert math.sqrt((error**2).mean()) < 0.3 / math.sqrt(1024)
    assert np.abs(error.mean(axis=0)).max() < 0.1 / math.sqrt(1024)
    np.testing.assert_allclose(summary["stddev"], np.broadcast_to(scale, (rows, 3)), rtol=0.05)
    error = (summary["quantiles"] - (loc[:, np.newaxis] + scale[:, np.newaxis] * normals)) / scale[:, np.newaxis]
    independent = np.sqrt(np.array(LEVELS) * (1 - np.array(LEVELS)) / 1024) / np.exp(-(normals**2) / 2) * 2.5066
    assert (np.sqrt((error**2).mean(axis=(0, 1))) < 0.6 * independent).all()
    one = {name: value[3:4] for name, value in inputs.items()}
    for name, values in run("summarize", one).items():
        np.testing.assert_allclose(values[0], summary[name][3], rtol=1e-5, atol=1e-6)
    assert (summary["mean"][0] != summary["mean"][1]).all()


def test_the_rosenblatt_transform_of_draws_is_uniform_and_independent(correlated):
    functions, run = correlated
    inputs = {"seed": np.arange(4000), "conditional_input": RNG.normal(size=(4000, 1)).astype(np.float32)}
    x = run("sample_with_seed", inputs)["x"]
    u = run("conditional_cdf", {"x": x, "conditional_input": inputs["conditional_input"]})["conditional_cdf"]
    np.testing.assert_allclose(np.sort(u, axis=0), np.tile(np.linspace(0, 1, 4000)[:, None], 3), atol=0.035)
    assert np.abs(np.corrcoef(u.T) - np.eye(3)).max() < 0.06
    with pytest.raises(ContractError, match="of one event column, and the model has 3"):
        functions.contract.signature("cdf")


def test_a_mixture_of_several_columns_is_taken_column_by_column():
    components = tfd.MultivariateNormalDiag([[-3.0, 0.0], [3.0, 2.0]], [[1.0, 0.5], [0.5, 1.0]])
    base = tfd.MixtureSameFamily(tfd.Categorical(probs=[0.3, 0.7]), components)
    _, run = made(base, tfb.Shift([1.0, 0.0]), conditions=0)
    x = run("sample_with_seed", {"seed": np.arange(4000)})["x"]
    u = run("conditional_cdf", {"x": x})["conditional_cdf"]
    np.testing.assert_allclose(np.sort(u, axis=0), np.tile(np.linspace(0, 1, 4000)[:, None], 2), atol=0.035)
    assert abs(np.corrcoef(u.T)[0, 1]) < 0.06
    summary = run("summarize", {"seed": np.arange(50)})
    np.testing.assert_allclose(summary["mean"].mean(axis=0), [0.7 * 3 - 0.9 + 1, 1.4], atol=0.02)


def test_what_cannot_be_exact_is_left_out_with_its_reason():
    base = tfd.Independent(tfd.VonMises([0.0], [1.0]), 1)
    model = TrainedModel(
        distribution=tfd.TransformedDistribution(base, tfb.Chain([tfb.Shift([1.0])])), event_columns=("angle",)
    )
    with pytest.warns(ExportWarning, match="left out"):
        contract = functions_in_process(model).contract
    assert "summarize" not in contract.signatures
    with pytest.raises(
        ContractError, match=r"'quantile': base distribution .*VonMises, which lack a cdf or a quantile"
    ):
        contract.signature("quantile")


def test_a_map_that_rises_for_some_conditions_and_falls_for_others_is_left_out():
    def turning(x, conditional_input):
        return tfb.Scale(conditional_input + tf.zeros_like(x))

    layer = tfb.MaskedAutoregressiveFlow(bijector_fn=turning, name="maf")
    model = TrainedModel(
        distribution=tfd.TransformedDistribution(normal(), tfb.Chain([layer])),
        event_columns=("x",),
        condition_columns=as_condition_columns("c"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExportWarning)
        contract = functions_in_process(model).contract
    assert "neither rising nor falling" in contract.answers.left_out["cdf"]


def test_any_base_with_a_cdf_and_a_quantile_answers():
    base = tfd.Sample(tfd.Logistic(1.0, 2.0), [1])
    model = TrainedModel(
        distribution=tfd.TransformedDistribution(base, tfb.Chain([tfb.Scale([3.0])])), event_columns=("x",)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExportWarning)  # it cannot be drawn from by seeds
        functions = functions_in_process(model)
    run = functools.partial(LoadedModel(functions).run)
    x = run("quantile", {"probability": np.float32([0.2, 0.8])})["x"][:, 0]
    np.testing.assert_allclose(x, 3 * (1 + 2 * np.log([0.25, 4])), rtol=1e-5)
    summary = run("summarize", {"seed": np.arange(1)})
    np.testing.assert_allclose(summary["mean"], 3, rtol=1e-3)
    np.testing.assert_allclose(summary["stddev"], 6 * math.pi / math.sqrt(3), rtol=1e-3)


def test_a_function_is_traced_when_it_is_asked_for(line):
    functions, _ = line
    assert "inverse" in functions.signatures
    assert functions.signatures["serving_default"] is functions.signatures["serving_default"]
    assert set(functions.signatures) == set(functions.contract.signatures)
