import subprocess
import sys

import numpy as np
import pytest

from benchmarks.densities_of_a_column import DENSITIES as OF_A_COLUMN
from benchmarks.quality_densities import DENSITIES, train_on_density


@pytest.mark.parametrize("name", sorted(OF_A_COLUMN.keys() - {"conditional gamma"}))  # which has no limit at zero
def test_the_exact_densities_integrate_to_one(name):
    _, c = DENSITIES[name].sample(3, np.random.default_rng(0))
    x = np.linspace(-60, 100, 100_001)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):  # beyond their supports
        for condition in c:
            log_prob = DENSITIES[name].log_prob(x, np.tile(condition, (len(x), 1)))
            assert np.nansum(np.exp(log_prob)) * (x[1, 0] - x[0, 0]) == pytest.approx(1, abs=4e-3)


@pytest.mark.parametrize("name", ["two moons", "two rings", "checkerboard"])
def test_the_exact_densities_of_two_columns_integrate_to_one(name):
    _, c = DENSITIES[name].sample(1, np.random.default_rng(0))
    axis = np.linspace(-6, 6, 300)
    x = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    with np.errstate(divide="ignore"):  # far away
        density = np.exp(DENSITIES[name].log_prob(x, np.tile(c, (len(x), 1))))
    assert density.sum() * (axis[1] - axis[0]) ** 2 == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("name", ["eight columns", "eight correlated columns", "banana"])
def test_the_exact_densities_of_many_columns_integrate_to_one(name):
    """By draws of kernels around draws of the density itself."""
    rng = np.random.default_rng(0)
    centres, c = DENSITIES[name].sample(500, _Given([0.3, -0.2, 0.5], rng))
    x = np.repeat(centres, 20, axis=0)
    x += 0.5 * rng.normal(size=x.shape)
    away = ((x[:, None] - centres) / 0.5) ** 2
    kernels = np.exp(-0.5 * away.sum(axis=2)).mean(axis=1) / (0.5 * np.sqrt(2 * np.pi)) ** x.shape[1]
    log_prob = DENSITIES[name].log_prob(x, np.repeat(c, 20, axis=0))
    assert np.mean(np.exp(log_prob) / kernels) == pytest.approx(1, abs=0.1)


class _Given:
    """A generator whose uniform rows are always the same: the conditions, where nothing else is uniform."""

    def __init__(self, row, rng):
        self.row, self.rng = row, rng

    def uniform(self, low, high, shape):
        return np.tile(self.row, (shape[0], 1))

    def __getattr__(self, name):
        return getattr(self.rng, name)


@pytest.mark.parametrize("name", ["conditional mixture", "conditional gamma"])
def test_a_short_fit_with_default_settings_comes_near_the_truth(name):
    found = train_on_density(DENSITIES[name], rows=10_000, options=["--max_epochs", "20"])
    assert found.truth - 0.01 < found.nll < found.truth + 0.06


def test_what_is_told_its_bounds_is_near_the_truth_up_to_them():
    found = train_on_density(DENSITIES["beta 0.5 0.5"], rows=10_000, options=["--max_epochs", "3"])
    assert found.truth - 0.01 < found.nll < found.truth + 0.02
    assert found.outside == 0
    assert found.edge == pytest.approx(0, abs=0.005)


def test_tables_that_are_absent_are_skipped_with_a_reason(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.quality", "--tables", str(tmp_path), "--only", "concrete"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "skipped concrete" in result.stdout
    assert "--tables" in result.stdout
