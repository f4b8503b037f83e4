"""Statistics of the draws per row. Seeds are fixed: the bounds, about 5 standard errors, hold for ever or never."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from export.base_sampler import _normal, row_normals, row_uniforms

tfd = tfp.distributions

ROWS = 50_000
DTYPES = pytest.mark.parametrize("dtype", [tf.float32, tf.float64])


def neighbouring_seeds(rows=ROWS):
    return tf.range(rows, dtype=tf.int64) - rows // 2


def distance_to_uniform(values):
    """Kolmogorov-Smirnov distance times the root of the sample size; above 2.3 with probability 5e-5."""
    ordered = np.sort(values)
    steps = np.arange(1, len(ordered) + 1) / len(ordered)
    distance = max(np.abs(ordered - steps).max(), np.abs(ordered - steps + 1 / len(ordered)).max())
    return distance * math.sqrt(len(ordered))


def uniform_of_normal(z):
    return tfd.Normal(np.float64(0), np.float64(1)).cdf(tf.cast(z, tf.float64)).numpy()


@DTYPES
def test_normals_have_normal_moments(dtype):
    z = row_normals(neighbouring_seeds(), 3, dtype).numpy().astype(np.float64)
    error = 5 / math.sqrt(z.size)
    assert abs(z.mean()) < error
    assert abs((z**2).mean() - 1) < error * math.sqrt(2)
    assert abs((z**3).mean()) < error * math.sqrt(15)
    assert abs((z**4).mean() - 3) < error * math.sqrt(96)


@DTYPES
def test_every_column_is_normal(dtype):
    z = row_normals(neighbouring_seeds(), 5, dtype)
    for column in range(5):
        assert distance_to_uniform(uniform_of_normal(z[:, column])) < 2.3


@DTYPES
def test_rows_and_columns_are_independent(dtype):
    z = row_normals(neighbouring_seeds(), 4, dtype).numpy().astype(np.float64)
    bound = 5 / math.sqrt(ROWS)
    for i in range(4):
        for j in range(4):
            assert abs(np.mean(z[1:, i] * z[:-1, j])) < bound, "neighbouring seeds"
            if i != j:
                assert abs(np.mean(z[:, i] * z[:, j])) < bound
                assert abs(np.mean((z[:, i] ** 2 - 1) * (z[:, j] ** 2 - 1))) < 2 * bound


@DTYPES
def test_seeds_far_apart_in_high_bits_differ(dtype):
    seeds = tf.constant([5, 5 + 2**32, 5 - 2**63, -5], tf.int64)
    z = row_normals(seeds, 64, dtype).numpy()
    assert np.abs(np.corrcoef(z)[np.triu_indices(4, 1)]).max() < 0.6
    assert len(np.unique(z)) == z.size


@DTYPES
def test_uniforms_are_uniform_and_independent_of_normals(dtype):
    u = row_uniforms(neighbouring_seeds(), dtype).numpy().astype(np.float64)
    assert 0 < u.min() < u.max() < 1
    assert distance_to_uniform(u) < 2.3
    z = row_normals(neighbouring_seeds(), 2, dtype).numpy().astype(np.float64)
    for column in range(2):
        assert abs(np.mean((u - 0.5) * math.sqrt(12) * z[:, column])) < 5 / math.sqrt(ROWS)


@DTYPES
def test_a_row_depends_on_its_seed_alone(dtype):
    seeds = neighbouring_seeds(100)
    z = row_normals(seeds, 3, dtype).numpy()
    # the vectorised and the scalar path of the same kernel may round the last digit differently
    np.testing.assert_allclose(row_normals(seeds[::-1], 3, dtype), z[::-1], rtol=1e-6)
    np.testing.assert_allclose(row_normals(seeds[40:41], 3, dtype), z[40:41], rtol=1e-6)


@pytest.mark.parametrize(("dtype", "furthest"), [(tf.float32, 6.3), (tf.float64, 9.1)])
def test_extreme_bits_give_finite_symmetric_tails(dtype, furthest):
    words = tf.constant([0, 0x80000000, 0x7FFFFFFF, 0xFFFFFFFF], tf.uint32)
    low = tf.constant(0.5 if dtype == tf.float64 else 2.0**31, dtype)
    z = _normal(words, low, dtype).numpy()
    assert -furthest - 0.1 < z[0] < -furthest
    assert z[1] == -z[0]
    np.testing.assert_allclose(z[2:], 0, atol=1e-6)


def test_float32_normals_follow_the_exact_inverse_distribution():
    words = tf.cast(tf.range(0, 2**32, 2**32 // 10_001, dtype=tf.int64), tf.uint32)
    single = _normal(words, tf.constant(2.0**31, tf.float32), tf.float32).numpy()
    double = _normal(words, tf.constant(2.0**31, tf.float64), tf.float64).numpy()
    np.testing.assert_allclose(single, double, rtol=2e-6, atol=2e-7)
