import subprocess
import sys

import numpy as np
import pytest

from benchmarks.quality_densities import DENSITIES, train_on_density


@pytest.mark.parametrize("name", ["conditional mixture", "heteroscedastic skew"])
def test_the_exact_densities_integrate_to_one(name):
    _, c = DENSITIES[name].sample(3, np.random.default_rng(0))
    x = np.linspace(-60, 100, 400_001)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):  # below the support of the skewed one
        for condition in c:
            log_prob = DENSITIES[name].log_prob(x, np.tile(condition, (len(x), 1)))
            assert np.nansum(np.exp(log_prob)) * (x[1, 0] - x[0, 0]) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", ["conditional mixture", "conditional gamma"])
def test_a_short_fit_with_default_settings_comes_near_the_truth(name):
    found = train_on_density(DENSITIES[name], rows=10_000, max_epochs=20)
    assert found.truth - 0.01 < found.nll < found.truth + 0.06


def test_what_is_told_its_bounds_is_near_the_truth_up_to_them():
    found = train_on_density(DENSITIES["beta 0.5 0.5"], rows=10_000, max_epochs=3)
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
