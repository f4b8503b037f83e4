"""Rows that do not count alike, against rows that come as often as their weights say."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from maf_serving import weights
from maf_serving.weights import WeightedMoments, mean_and_error, sample_rows


def test_what_the_docstrings_say():
    assert doctest.testmod(weights).failed == 0


def test_moments_are_those_of_repeated_rows_but_for_their_error():
    rng = np.random.default_rng(0)
    values, counts = rng.normal(size=(500, 2)) + 100, rng.integers(1, 5, 500)
    weighted, repeats = WeightedMoments(2), WeightedMoments(2)
    for part in np.array_split(np.arange(500), 3):
        other = WeightedMoments(2)
        other.add(values[part], counts[part].astype(float))
        weighted.merge(other)
    repeats.add(np.repeat(values, counts, axis=0))
    np.testing.assert_allclose(weighted.mean, repeats.mean, rtol=1e-12)
    np.testing.assert_allclose(weighted.scale, repeats.scale, rtol=1e-9)
    off = counts[:, None] * (values - weighted.mean)
    np.testing.assert_allclose(weighted.standard_error(), np.sqrt((off**2).sum(axis=0)) / counts.sum(), rtol=1e-9)
    assert (weighted.standard_error() > repeats.standard_error()).all()
    assert weighted.effective_rows == pytest.approx(counts.sum() ** 2 / (counts**2).sum())
    assert (repeats.effective_rows, repeats.is_weighted) == (counts.sum(), False)


def test_equal_weights_of_any_size_change_no_error():
    values = np.random.default_rng(1).normal(size=400)
    mean, error = mean_and_error(values, None)
    assert error == pytest.approx(values.std() / 20, rel=1e-12)
    assert mean_and_error(values, np.full(400, 7.0)) == pytest.approx((mean, error), rel=1e-12)


def test_a_sample_by_priority_is_right_on_average_and_surer_than_a_uniform_one():
    """Of all rows, and of a part of them whose rows are light; the error that is said is the one that is seen."""
    rng = np.random.default_rng(2)
    counting = np.exp(1.5 * rng.normal(size=3_000))
    part = counting < np.median(counting)
    values = np.where(part, 3.0, 1.0) + rng.normal(size=3_000)
    exact = np.average(values, weights=counting)
    found, uniform, errors, shares = [], [], [], []
    for seed in range(400):
        chosen, worth = sample_rows(3_000, 200, counting, np.random.default_rng(seed))
        mean, error = mean_and_error(values[chosen], worth)
        found.append(mean)
        errors.append(error)
        shares.append(worth[part[chosen]].sum() / worth.sum())
        chosen = np.random.default_rng(seed).choice(3_000, 200, replace=False)
        uniform.append(np.average(values[chosen], weights=counting[chosen]))
    assert np.mean(found) == pytest.approx(exact, abs=4 * np.std(found) / 20)
    assert np.mean(shares) == pytest.approx(counting[part].sum() / counting.sum(), abs=4 * np.std(shares) / 20)
    assert np.std(found) < 0.6 * np.std(uniform)
    # the noise of the rows themselves is in the error too: it is the same in every sample
    of_rows = mean_and_error(values, counting)[1]
    assert np.mean(errors) == pytest.approx(np.hypot(np.std(found), of_rows), rel=0.1)


def test_a_sample_of_no_more_rows_than_there_are_is_all_of_them():
    counting = np.array([1.0, 5.0, 2.0])
    chosen, worth = sample_rows(3, 3, counting, np.random.default_rng(0))
    assert (chosen.tolist(), worth.tolist()) == ([0, 1, 2], [1.0, 5.0, 2.0])
    chosen, worth = sample_rows(3, 2, None, np.random.default_rng(0))
    assert (len(chosen), worth) == (2, None)
