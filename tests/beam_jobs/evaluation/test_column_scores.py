"""CRPS and intervals against closed forms and sums over all pairs; and samples of rows, in any split."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest

from beam_jobs.evaluation.column_scores import (
    INTERVALS,
    NUM_DRAWS,
    POINTS,
    PROBABILITIES,
    ColumnScores,
    half_mean_distance,
    scores_of_draws,
    scores_of_quantiles,
)
from beam_jobs.evaluation.row_sample import RowSample, SampledRows
from maf_serving.row_seeds import row_keys

NORMAL = NormalDist()


def crps_of_a_normal(mean, sigma, x):
    """Gneiting et al. (2005), equation 5."""
    z = (x - mean) / sigma
    cdf, density = (np.vectorize(function)(z) for function in (NORMAL.cdf, NORMAL.pdf))
    return sigma * (z * (2 * cdf - 1) + 2 * density - 1 / math.sqrt(math.pi))


def forecasts(rows, seed):
    rng = np.random.default_rng(seed)
    mean, sigma = 100 * rng.normal(size=rows), np.exp(rng.normal(size=rows))
    return mean, sigma, mean + sigma * rng.normal(size=rows)


def test_quantiles_of_a_normal_give_its_crps_and_intervals():
    mean, sigma, x = forecasts(2_000, 1)
    x[:3] = mean[:3] + sigma[:3] * [-9, 9, 0]  # beyond all quantiles on both sides
    scores = scores_of_quantiles(mean[:, None] + sigma[:, None] * POINTS, x[:, None])
    np.testing.assert_allclose(scores[:, 0, 0] / sigma, crps_of_a_normal(mean, sigma, x) / sigma, atol=1e-4)
    for place, level in zip((1, 3), INTERVALS, strict=True):
        end = NORMAL.inv_cdf((1 + level) / 2)
        np.testing.assert_array_equal(scores[:, 0, place], np.abs(x - mean) <= end * sigma)
        np.testing.assert_allclose(scores[:, 0, place + 1], 2 * end * sigma)


def test_quantiles_of_other_shapes_give_the_integral():
    """A skewed distribution, and one of two narrow modes, whose quantiles jump."""
    y = np.linspace(-2, 60, 400_001)
    x = np.array([0.2, 1.0, 3.0, 12.0])
    cdf = np.array([NORMAL.cdf(math.log(value)) if value > 0 else 0.0 for value in y])
    exact = [np.trapezoid((cdf - (y >= value)) ** 2, y) for value in x]
    got = scores_of_quantiles(np.tile(np.exp(POINTS), (4, 1)), x[:, None])[:, 0, 0]
    np.testing.assert_allclose(got, exact, rtol=2e-3)
    y = np.linspace(-1, 2, 30_001)
    cdf = np.array([0.3 * NORMAL.cdf(value / 0.01) + 0.7 * NORMAL.cdf((value - 1) / 0.01) for value in y])
    quantiles = np.interp(PROBABILITIES, cdf, y)
    exact = [np.trapezoid((cdf - (y >= value)) ** 2, y) for value in (0.0, 0.5, 1.0)]
    got = scores_of_quantiles(np.tile(quantiles, (3, 1)), np.array([[0.0], [0.5], [1.0]]))[:, 0, 0]
    np.testing.assert_allclose(got, exact, atol=0.02)


def test_draws_give_the_mean_over_all_pairs():
    rng = np.random.default_rng(2)
    draws, x = rng.gamma(2.0, size=(5, NUM_DRAWS, 2)) + 1e6, rng.gamma(2.0, size=(5, 2)) + 1e6
    scores = scores_of_draws(draws, x)
    pairs = np.abs(draws[:, :, None] - draws[:, None, :]).sum(axis=(1, 2)) / (NUM_DRAWS * (NUM_DRAWS - 1))
    np.testing.assert_allclose(scores[..., 0], np.abs(draws - x[:, None]).mean(axis=1) - pairs / 2, rtol=1e-9)


def test_draws_are_as_good_on_average_as_the_distribution_itself():
    mean, sigma, x = forecasts(4_000, 3)
    draws = mean[:, None] + sigma[:, None] * np.random.default_rng(4).normal(size=(4_000, NUM_DRAWS))
    scores = scores_of_draws(draws[..., None], x[:, None])[:, 0]
    exact = crps_of_a_normal(mean, sigma, x)
    assert np.mean((scores[:, 0] - exact) / sigma) == pytest.approx(0, abs=4 * 0.075 / math.sqrt(4_000))
    for place, level in zip((1, 3), INTERVALS, strict=True):
        noise = 4 * math.sqrt(level * (1 - level) / 4_000)
        assert scores[:, place].mean() == pytest.approx(level, abs=noise)
        assert (scores[:, place + 1] / sigma).mean() == pytest.approx(2 * NORMAL.inv_cdf((1 + level) / 2), rel=0.04)


def test_values_alone_score_half_their_mean_distance():
    x = np.random.default_rng(5).normal(size=(300, 2)) * [1, 50] + 1e5
    pairs = np.abs(x[:, None] - x[None]).sum(axis=(0, 1)) / (300 * 299)
    np.testing.assert_allclose(half_mean_distance(x), pairs / 2, rtol=1e-9)
    assert np.isnan(half_mean_distance(x[:1])).all()


def test_weights_of_values_alone_are_those_of_both():
    rng = np.random.default_rng(7)
    x, w = np.round(rng.normal(size=(300, 2)), 1), rng.integers(1, 9, 300).astype(float)
    both = np.outer(w, w) * (1 - np.eye(300))
    pairs = (both[..., None] * np.abs(x[:, None] - x[None])).sum(axis=(0, 1)) / both.sum()
    np.testing.assert_allclose(half_mean_distance(x, w), pairs / 2, rtol=1e-9)
    np.testing.assert_allclose(half_mean_distance(x, np.full(300, 2.5)), half_mean_distance(x), rtol=1e-9)


def test_rows_without_a_finite_forecast_are_in_no_mean():
    scores = scores_of_quantiles(np.stack([POINTS, np.full_like(POINTS, np.nan)]), np.zeros((2, 1)))
    sums, alone = ColumnScores(1), ColumnScores(1)
    sums.add(scores)
    alone.add(scores[:1])
    assert (sums.rows, sums.failed) == (1, 1)
    assert sums.results(["y"], None) == alone.results(["y"], None)
    assert sums.results(["y"], None)[0].crps_standard_error is None


def some_rows(rows, weights=None):
    numbers = np.arange(rows)
    return SampledRows(
        keys=row_keys(0, numbers),
        inputs={"x": numbers[:, None].astype(np.float32)},
        groups=numbers.astype(object),
        weights=weights,
    )


def sampled(most, rows, cuts):
    """In batches, by three samples, merged."""
    parts = [RowSample(most) for _ in range(3)]
    for index, chosen in enumerate(np.split(np.arange(len(rows)), cuts)):
        batch = rows.take(chosen)
        parts[index % 3].add(batch.take(parts[index % 3].wanted(batch.keys, batch.weights)))
    merged = RowSample(most)
    for part in reversed(parts):
        merged.merge(part)
    return merged


@pytest.mark.parametrize("most", [1, 100, 4_999, 5_000, 9_000])
def test_a_sample_is_the_same_in_any_split(most):
    rows = some_rows(5_000)
    whole = sampled(most, rows, []).rows()
    parts = sampled(most, rows, np.sort(np.random.default_rng(6).integers(0, 5_000, 40)))
    assert whole is not None
    assert len(whole) == min(most, 5_000)
    np.testing.assert_array_equal(parts.rows().inputs["x"], whole.inputs["x"])
    np.testing.assert_array_equal(whole.groups.astype(int), whole.inputs["x"][:, 0])
    batches = list(parts.batches())
    np.testing.assert_array_equal(np.concatenate([batch.keys for batch in batches]), whole.keys)
    if most == 100:  # from all over the table
        assert whole.inputs["x"].mean() == pytest.approx(2_500, abs=4 * 1_443 / 10)


@pytest.mark.parametrize("most", [1, 100, 4_999, 5_000, 9_000])
def test_a_sample_by_weight_is_the_same_in_any_split(most):
    weights = np.exp(np.random.default_rng(8).normal(size=5_000))
    rows = some_rows(5_000, weights)
    whole = sampled(most, rows, []).rows()
    parts = sampled(most, rows, np.sort(np.random.default_rng(9).integers(0, 5_000, 40))).rows()
    assert len(whole) == min(most, 5_000)
    np.testing.assert_array_equal(parts.inputs["x"], whole.inputs["x"])
    np.testing.assert_array_equal(parts.weights, whole.weights)
    counted, came = whole.weights, weights[whole.inputs["x"][:, 0].astype(int)]
    if most >= 5_000:
        np.testing.assert_array_equal(counted, came)
    else:  # light ones count alike, heavy ones what they did, and all together about what the table does
        assert (counted >= came).all()
        assert len(set(counted[counted > came])) <= 1
        assert counted.sum() == pytest.approx(weights.sum(), rel=4 / math.sqrt(most))
    alike = sampled(most, some_rows(5_000, np.full(5_000, 3.0)), []).rows()
    np.testing.assert_array_equal(alike.keys, sampled(most, some_rows(5_000), []).rows().keys)
    assert len(set(alike.weights)) == 1


def test_a_sample_of_nothing_is_nothing():
    assert RowSample(5).rows() is None
    assert list(RowSample(5).batches()) == []
