"""The wide density of the quality benchmark: its log-density is that of its draws, and training on it is measured."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality_wide import COLUMNS, measure_wide, wide_density


def test_draws_have_the_log_density() -> None:
    """Stein's identity: the mean of x times the slope of its log-density is -1 for each column."""
    density, step = wide_density(), 1e-4
    x, c = density.sample(20_000, np.random.default_rng(7))
    along = (density.log_prob(x * (1 + step), c) - density.log_prob(x * (1 - step), c)) / (2 * step)
    assert abs(along.mean() + COLUMNS) < 4 * along.std() / np.sqrt(len(x))


@pytest.mark.timeout(600)
def test_training_is_measured_beside_the_truth(tmp_path: Path) -> None:
    options = ["--num_layers", "1", "--jit_compile", "off"]
    found = measure_wide(tmp_path, rows=1_000, test_rows=1_000, seconds=0.1, options=options)
    assert found.truth < found.nll
    assert found.above_by_column == (found.nll - found.truth) / COLUMNS
    assert found.epochs >= 1
    assert 0.1 < found.peak_memory < 16
