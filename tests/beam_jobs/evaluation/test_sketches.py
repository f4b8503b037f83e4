"""Statistics that add up: merged in any split they say what all values at once say."""

from __future__ import annotations

import numpy as np
import pytest

from beam_jobs.evaluation.base_space import BaseSpaceCounts, chi_square_cdf, chi_square_quantile, rough_quantile
from beam_jobs.evaluation.statistics import RELATIVE_ERROR, ValueSketch
from maf_serving.moments import Moments


def in_parts(make, values, seed: int):
    """Taken in by several sketches, in batches of any size, and merged."""
    cuts = np.sort(np.random.default_rng(seed).integers(0, len(values), 7))
    parts = [make() for _ in range(3)]
    for index, batch in enumerate(np.split(values, cuts)):
        parts[index % 3].add(batch)
    merged = make()
    for part in parts:
        merged.merge(part)
    return merged


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_quantiles_are_exact_to_their_error(scale):
    values = np.random.default_rng(1).standard_t(2, size=20_001) * scale - scale
    sketch = in_parts(ValueSketch, values, 2)
    levels = [0.001, 0.01, 0.2, 0.5, 0.9, 0.999]
    exact = np.quantile(values, levels, method="inverted_cdf")
    np.testing.assert_allclose(sketch.quantiles(levels), exact, rtol=2 * RELATIVE_ERROR, atol=1e-8)
    assert sketch.quantiles([0.0, 1.0]) == pytest.approx([values.min(), values.max()], rel=2 * RELATIVE_ERROR)
    assert (sketch.minimum, sketch.maximum, sketch.count) == (values.min(), values.max(), 20_001)


def test_the_order_of_values_does_not_matter_at_all():
    values = np.random.default_rng(3).normal(size=5_000)
    levels = np.linspace(0, 1, 101).tolist()
    assert in_parts(ValueSketch, values, 4).quantiles(levels) == in_parts(ValueSketch, values[::-1], 5).quantiles(
        levels
    )


def test_zeros_and_tiny_numbers_are_few_buckets():
    values = np.concatenate([np.zeros(10), np.random.default_rng(6).normal(size=10_000) * 1e-200])
    sketch = in_parts(ValueSketch, values, 7)
    assert len(sketch.histogram()[0]) == 1
    assert sketch.quantiles([0.5]) == [0.0]


def test_moments_of_parts_are_those_of_the_whole():
    values = np.random.default_rng(8).normal(1e4, 1e-2, size=(3_000, 2))
    moments = in_parts(lambda: Moments(2), values, 9)
    np.testing.assert_allclose(moments.mean, values.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(moments.standard_deviation(), values.std(axis=0, ddof=1), rtol=1e-9)
    assert np.isnan(in_parts(lambda: Moments(2), values[:1], 9).standard_deviation()).all()


def test_base_space_counts_every_point_once():
    z = np.random.default_rng(10).normal(size=(4_000, 3)) * 3
    z[:5] = [[np.inf, 0, 0], [np.nan, 0, 0], [-np.inf, 0, 0], [0, 0, 0], [5, 5, 5]]
    counts = in_parts(lambda: BaseSpaceCounts(3), z, 11)
    assert counts.rows == 4_000
    histogram = counts.z_histogram()
    assert (histogram.sum(axis=1) == 4_000).all()
    inner, _ = np.histogram(-z[5:, 1], bins=np.linspace(-5, 5, 41))  # its bins hold their upper ends, numpy's the lower
    np.testing.assert_array_equal(histogram[1, 1:-1] - inner[::-1], np.eye(40)[19] * 4 + np.eye(40)[39])


@pytest.mark.parametrize(
    # From the tables of Abramowitz and Stegun, 26.8.
    ("dimensions", "level", "quantile"),
    [
        (1, 0.95, 3.84146),
        (2, 0.5, 1.38629),
        (3, 0.005, 0.0717212),
        (5, 0.99, 15.0863),
        (10, 0.9, 15.9871),
        (100, 0.95, 124.342),
    ],
)
def test_chi_square_of_the_tables(dimensions, level, quantile):
    assert chi_square_quantile(level, dimensions) == pytest.approx(quantile, rel=1e-5)
    assert chi_square_cdf(quantile, dimensions) == pytest.approx(level, rel=1e-4)


@pytest.mark.parametrize("dimensions", [1, 2, 7, 64, 1_000])
def test_chi_square_quantiles_invert_the_distribution(dimensions):
    for level in (1e-6, 0.01, 0.5, 0.99, 1 - 1e-9):
        assert chi_square_cdf(chi_square_quantile(level, dimensions), dimensions) == pytest.approx(level, rel=1e-9)
    assert rough_quantile(0.5, dimensions) == pytest.approx(chi_square_quantile(0.5, dimensions), rel=0.05)
