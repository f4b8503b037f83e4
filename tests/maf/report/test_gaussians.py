import numpy as np
import pytest

from maf.report.likelihoods import compare_likelihoods, fit_gaussian, fit_linear_gaussian
from maf.report.rows import ReportRows
from maf_serving.moments import Covariances


def moments_of(rows):
    moments = Covariances(rows.shape[1])
    moments.add(rows)
    return moments


def linear_rows(rows=200_000):
    rng = np.random.default_rng(1)
    c = rng.normal([3, -100], [1, 20], (rows, 2))
    noise = rng.normal(size=(rows, 2)) @ np.array([[0.5, 0.2], [0.0, 0.1]])
    x = np.array([7.0, -2.0]) + c @ np.array([[1.0, 0.0], [-0.05, 0.3]]) + noise
    return np.concatenate([x, c], axis=1)


def test_linear_gaussian_finds_the_line_and_reaches_its_entropy():
    rows = linear_rows()
    fitted = fit_linear_gaussian(moments_of(rows), 2)
    np.testing.assert_allclose(fitted.coefficients, [[1.0, 0.0], [-0.05, 0.3]], atol=2e-3)
    np.testing.assert_allclose(fitted.covariance, [[0.25, 0.1], [0.1, 0.05]], rtol=0.02)
    determinant = 0.25 * 0.05 - 0.1**2
    entropy = 0.5 * np.log((2 * np.pi * np.e) ** 2 * determinant)
    assert -fitted.log_prob(rows[:, :2], rows[:, 2:]).mean() == pytest.approx(entropy, abs=0.01)


def test_gaussian_ignores_the_condition_and_integrates_to_one():
    rows = linear_rows(5_000)
    fitted = fit_gaussian(moments_of(rows), 2)
    axes = [m + np.linspace(-8, 8, 401) * s for m, s in zip(rows[:, :2].mean(0), rows[:, :2].std(0), strict=True)]
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*axes)], axis=1)
    density = np.exp(fitted.log_prob(grid, np.zeros((len(grid), 2))))
    area = np.prod([axis[1] - axis[0] for axis in axes])
    assert density.sum() * area == pytest.approx(1, abs=1e-6)


def test_baselines_of_a_column_on_a_log_scale_are_log_normal():
    rng = np.random.default_rng(2)
    c = rng.normal(size=(50_000, 1))
    x = np.exp(10 + 2 * c + 0.5 * rng.normal(size=c.shape))
    raw, scaled = (moments_of(np.concatenate([each, c], axis=1)) for each in (x, np.log(x)))
    rows = ReportRows(x=x, c=c, test_rows=len(x), dropped=0, training=raw, scaled=scaled, logarithmic=(0,))
    exact = -0.5 * ((np.log(x) - 10 - 2 * c) / 0.5) ** 2 - np.log(0.5 * x * np.sqrt(2 * np.pi))
    model, gaussian, linear = compare_likelihoods(exact[:, 0], rows).each
    assert linear.nll == pytest.approx(model.nll, abs=1e-3)
    assert gaussian.excess == pytest.approx(np.log(np.sqrt(4 + 0.25) / 0.5), abs=0.02)


def test_columns_that_are_functions_of_others_keep_a_density():
    rows = linear_rows(1_000)
    twice = np.column_stack([rows[:, 0], 2 * rows[:, 0], rows[:, 2], rows[:, 2], np.full(len(rows), 5.0)])
    fitted = fit_linear_gaussian(moments_of(twice), 2)
    assert np.isfinite(fitted.log_prob(twice[:, :2], twice[:, 2:])).all()
    exact = np.column_stack([rows[:, 2], rows[:, 2]])  # x is c: no deviation is left
    assert np.isfinite(fit_linear_gaussian(moments_of(exact), 1).log_prob(exact[:, :1], exact[:, 1:])).all()
