import numpy as np
import pytest

from maf.report.calibration import DRAWS, calibrate
from maf_serving.calibration import LEVELS

ROWS = 3_000


class Normals:
    """A model of two independent columns around the condition, `scale` times as wide as the rows are, `shift` off."""

    event_size = 2

    def __init__(self, *, scale=1.0, shift=0.0, step=0.0):
        self._scale, self._shift, self._step = scale, shift, step

    def sample(self, c, *, seed):
        draws = c + self._shift + self._scale * np.random.default_rng([seed, 7]).normal(size=(len(c), 2))
        return np.round(draws / self._step) * self._step if self._step else draws

    def log_prob(self, x, c):
        return -0.5 * (((x - c - self._shift) / self._scale) ** 2).sum(axis=1)


def rows(step=0.0):
    rng = np.random.default_rng(3)
    c = rng.normal(0, 10, (ROWS, 1))
    x = c + rng.normal(size=(ROWS, 2))
    return (np.round(x / step) * step if step else x), c


def calibrated(model, step=0.0):
    return calibrate(model, *rows(step), columns=("a", "b"), seed=0)


def test_the_truth_is_within_chance():
    result = calibrated(Normals())
    for column in result.columns:
        assert column.distance < result.fit.noise
        assert column.spread == pytest.approx(1, abs=0.03)
        assert np.abs(np.array(column.shares) - 1 / 20).max() < result.share_by_chance
        assert column.covered == pytest.approx(LEVELS, abs=0.02)
    assert result.distance < result.fit.noise
    assert result.covered == pytest.approx(LEVELS, abs=0.02)
    assert len(result.coverage) == DRAWS + 1
    assert result.coverage[-1] == 1


def test_too_narrow_and_too_wide_are_told_apart():
    narrow, wide = calibrated(Normals(scale=0.7)), calibrated(Normals(scale=1.4))
    assert narrow.columns[0].spread > 1.1
    assert wide.columns[0].spread < 0.9
    assert narrow.columns[0].shares[0] > 1 / 20 + narrow.share_by_chance
    assert wide.columns[0].shares[0] < 1 / 20 - wide.share_by_chance
    assert narrow.covered[LEVELS.index(0.9)] < 0.8
    assert wide.covered[LEVELS.index(0.9)] > 0.95
    assert min(narrow.distance, wide.distance) > narrow.fit.noise


def test_a_shift_is_seen():
    result = calibrated(Normals(shift=-0.3))
    assert result.columns[0].mean > 0.55
    assert result.columns[0].distance > result.fit.noise


def test_equal_values_are_ranked_at_random():
    result = calibrated(Normals(step=1.0), step=1.0)
    assert all(column.distance < result.fit.noise for column in result.columns)


def test_few_rows_have_fewer_bins_and_wider_bands():
    x, c = rows()
    few = calibrate(Normals(), x[:40], c[:40], columns=("a", "b"), seed=0)
    assert few.rows == 40
    assert len(few.columns[0].shares) == 10
    assert few.fit.noise == pytest.approx(0.245, abs=0.01)


def test_rows_count_as_much_as_their_weights():
    """Of rows that are off where they are light: weighted they are within noise, and unweighted they are not."""
    x, c = rows()
    x[: ROWS // 2] += 3
    weights = np.where(np.arange(ROWS) < ROWS // 2, 1e-6, 2.0)
    weighted = calibrate(Normals(), x, c, weights, columns=("a", "b"), seed=0)
    assert weighted.rows == ROWS
    assert weighted.effective_rows == pytest.approx(ROWS / 2, rel=1e-4)
    assert weighted.fit.rows == ROWS // 2
    assert weighted.fit.kind == "good"
    assert sum(weighted.columns[0].shares) == pytest.approx(1)
    assert weighted.columns[0].mean == pytest.approx(0.5, abs=0.03)
    assert calibrate(Normals(), x, c, columns=("a", "b"), seed=0).fit.kind == "bad"


def test_equal_weights_are_none():
    x, c = rows()
    alike, plain = (calibrate(Normals(), x, c, each, columns=("a", "b"), seed=0) for each in (np.full(ROWS, 3.0), None))
    assert alike.covered == pytest.approx(plain.covered)
    assert alike.fit.distance == pytest.approx(plain.fit.distance)
    assert [each.distance for each in alike.columns] == pytest.approx([each.distance for each in plain.columns])
