import dataclasses

import numpy as np
import pytest

from benchmarks.default_flow import train_flow
from benchmarks.plot_posterior import EXACT, FLOW, plot_posterior
from benchmarks.quality_sbi import c2st, compare, observe
from benchmarks.sbi_slcp import covariance
from benchmarks.sbi_tasks import TASKS, task_named
from maf_serving.errors import UsageError


@pytest.mark.parametrize("name", sorted(TASKS.keys() - {"slcp"}))
def test_where_the_truth_is_among_exact_draws_is_uniform(name):
    """Ranks of the parameters that made the data among draws given the data (Talts et al. 2018, arXiv:1804.06788)."""
    task, rng = TASKS[name], np.random.default_rng(3)
    parameters, data = task.joint(400, rng)
    below = np.array(
        [(task.draw(row, 99, rng) < truth).mean(axis=0) for row, truth in zip(data, parameters, strict=True)]
    )
    levels = (np.arange(400) + 0.5) / 400
    assert np.abs(np.sort(below, axis=0) - levels[:, None]).max() < 1.63 / np.sqrt(400)  # 1 % by Kolmogorov and Smirnov


@pytest.mark.parametrize(
    "name", ["two moons", "gaussian mixture", "slcp"]
)  # of ten columns no draw would have a weight
def test_exact_draws_are_those_of_bayes(name):
    """Moments, signs and the share below the middle, beside draws of the prior weighed by the likelihood."""
    task, rng = TASKS[name], np.random.default_rng(1)
    parameters = rng.uniform(-task.bound, task.bound, (400_000, task.size))
    truth = np.array([[0.5, 0.2, 2.2, -2.5, 1.0]])[:, : task.size] * task.bound / 3
    (data,) = task.simulate(truth, rng)
    weights = np.exp(LIKELIHOODS[name](data, parameters))
    weights /= weights.sum()
    worth = 1 / (weights**2).sum()
    assert worth > 400
    exact = task.draw(data, 20_000, rng)
    for of in (lambda x: x, lambda x: x**2, lambda x: x > truth, lambda x: x[:, :1] * x):
        seen, expected = of(exact), weights @ of(parameters)
        assert np.abs(seen.mean(axis=0) - expected).max() < 4 * seen.std(axis=0).max() / np.sqrt(worth)


def _moons_likelihood(data, parameters):
    total, difference = parameters.sum(axis=1), parameters[:, 1] - parameters[:, 0]
    crescent = data - np.stack([-np.abs(total), difference], axis=1) / np.sqrt(2) - [0.25, 0]
    radius = np.hypot(*crescent.T)
    return np.where(crescent[:, 0] > 0, -0.5 * ((radius - 0.1) / 0.01) ** 2 - np.log(radius), -np.inf)


def _mixture_likelihood(data, parameters):
    away = ((data - parameters) ** 2).sum(axis=1)
    return np.logaddexp(-0.5 * away, -0.5 * away / 0.01 - np.log(0.01))


def _slcp_likelihood(data, parameters):
    first, second, both = covariance(parameters[:, 2:])
    determinant = first * second - both**2
    (x, y) = (data.reshape(4, 2)[None] - parameters[:, None, :2]).transpose(2, 0, 1)
    squares = (second[:, None] * x**2 + first[:, None] * y**2 - 2 * both[:, None] * x * y).sum(axis=1)
    return -2 * np.log(determinant) - 0.5 * squares / determinant


LIKELIHOODS = {
    "two moons": _moons_likelihood,
    "gaussian mixture": _mixture_likelihood,
    "slcp": _slcp_likelihood,
}


def test_four_points_have_the_moments_of_their_parameters():
    parameters = np.tile([1.0, -2.0, 1.2, -0.8, 0.7], (20_000, 1))
    points = TASKS["slcp"].simulate(parameters, np.random.default_rng(0)).reshape(-1, 2)
    assert points.mean(axis=0) == pytest.approx([1.0, -2.0], abs=0.02)
    first, second = 1.2**2, 0.8**2
    expected = [[first**2, np.tanh(0.7) * first * second], [np.tanh(0.7) * first * second, second**2]]
    assert np.cov(points.T) == pytest.approx(np.array(expected), abs=0.04)


def test_draws_are_of_one_posterior_and_the_same_each_time():
    (one,) = observe(TASKS["slcp"], observations=1, draws=50)
    again, other = observe(TASKS["slcp"], observations=2, draws=50)
    np.testing.assert_array_equal(one.data, again.data)
    np.testing.assert_array_equal(one.exact, again.exact)
    assert (one.data != other.data).all()


def test_nothing_is_observed_with_spiked_parameters():
    task = TASKS["slcp"]
    assert task.is_spiked(np.array([0, 0, 2, -0.2, 0]))
    assert not task.is_spiked(np.array([0, 0, 2, -0.3, 0]))
    alone = dataclasses.replace(task, is_spiked=lambda parameters: parameters[0] < 2.9, simulate=lambda x, _: x)
    assert alone.observe(np.random.default_rng(0))[0] >= 2.9


def test_names_and_options_that_do_not_exist_are_refused():
    with pytest.raises(SystemExit, match=r"no task .slpc.; expected one of two moons, .*slcp"):
        task_named("slpc")
    with pytest.raises(UsageError, match="--num_layer"):
        train_flow(np.zeros((10, 1)), np.zeros((10, 0)), options=["--num_layerz", "2"])


def test_a_picture_shows_both_posteriors(tmp_path):
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(0)
    exact, drawn = rng.normal(size=(2, 200, 3))
    plot_posterior(exact, drawn, tmp_path / "a.svg")
    plot_posterior(exact, drawn, tmp_path / "b.svg")
    picture = (tmp_path / "a.svg").read_text()
    assert picture == (tmp_path / "b.svg").read_text()
    assert "parameter 3" in picture.replace("<!-- ", "").replace(" -->", "")
    assert min(picture.count(color) for color in (EXACT, FLOW)) > 600  # three pairs of 200 each


def test_a_classifier_tells_different_samples_apart_and_equal_ones_not():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    exact, other = rng.normal(size=(2, 300, 2)) * [1, 100]
    assert c2st(exact, other) == pytest.approx(0.5, abs=0.06)
    best = 0.933  # the normal's cdf at 1.5
    assert c2st(exact, other + np.array([3, 0])) == pytest.approx(best, abs=0.03)


def test_a_line_sums_up_flows_and_posteriors(monkeypatch):
    task = TASKS["two moons"]
    observed = observe(task, observations=2, draws=40)

    def drawn(task, observed, *, seed, **_):
        return [seen.exact + 10 * seed for seen in observed]

    monkeypatch.setattr("benchmarks.quality_sbi.posterior_draws", drawn)
    monkeypatch.setattr("benchmarks.quality_sbi.c2st", lambda exact, draws: float(0.5 + (draws != exact).mean() / 2))
    found = compare(task, observed, simulations=1, seeds=(0, 1))
    assert found.c2st.tolist() == [[0.5, 0.5], [1.0, 1.0]]
    assert found.mean == 0.75
    assert found.error == pytest.approx(0.25)
    assert found.outside == 0.5
    assert compare(task, observed, simulations=1, seeds=(0,)).error is None
