import numpy as np
import pytest
import tensorflow as tf

from maf.condition_encoder import ConditionBins, ConditionEncoder
from maf.standardization import Standardization


def encoder(columns, bins):
    loc, scale = columns.mean(axis=0), np.maximum(columns.std(axis=0), 1e-300)
    return ConditionEncoder(
        loc,
        scale,
        (),
        activation="relu",
        dtype="float64",
        kernel_initializer="zeros",
        bins=ConditionBins.fit(columns, bins),
    )


def test_a_column_is_encoded_by_where_it_lies_in_each_bin():
    columns = np.arange(9.0)[:, None]  # knots 0, 2, 4, 6, 8
    features = encoder(columns, 4)(tf.constant([[3.0], [-5.0], [99.0]], tf.float64)).numpy()
    np.testing.assert_allclose(features[:, 1:], [[1, 0.5, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    near = (3 - 4) / columns.std()
    assert features[0, 0] == pytest.approx(near / np.sqrt(1 + (near / 8) ** 2))


def test_columns_with_few_or_one_value_have_fewer_bins_and_no_nan():
    columns = np.stack([np.tile([0.0, 0.0, 1.0], 100), np.full(300, 7.0), np.linspace(-1e-12, 1e-12, 300)], axis=1)
    bins = ConditionBins.fit(columns, 8)
    assert (bins.rate > 0).sum(axis=1).tolist() == [1, 0, 8]
    features = encoder(columns, 8)(tf.constant(columns)).numpy()
    assert np.isfinite(features).all()
    np.testing.assert_allclose(features[:, 3 + 16 :].sum(axis=1) / 8, np.linspace(0, 1, 300), atol=0.01)


def test_bins_resolve_the_middle_of_a_column_with_far_outliers():
    rng = np.random.default_rng(0)
    columns = rng.standard_cauchy((50_000, 1))
    features = encoder(columns, 32)(tf.constant([[0.0], [1.0], [1e9]], tf.float64)).numpy()
    shares = features[:, 1:].sum(axis=1) / 32
    np.testing.assert_allclose(shares, [0.5, 0.75, 1.0], atol=0.02)
    assert abs(features[2, 0]) < 8.01


def test_bins_without_rows_are_those_of_normal_columns():
    standardization = Standardization(np.zeros(1), np.ones(1), np.array([100.0]), np.array([5.0]))
    bins = ConditionBins.normal(standardization, 4)
    edges = [*bins.low[0], bins.low[0, -1] + 1 / bins.rate[0, -1]]
    np.testing.assert_allclose(np.mean(edges), 100, atol=1e-9)
    assert np.all(np.diff(edges) > 0)


def test_a_tensor_that_comes_again_is_encoded_once_and_only_while_asked():
    columns = np.arange(9.0)[:, None]
    made, c = encoder(columns, 4), tf.constant([[3.0]], tf.float64)
    with made.encoding_once():
        assert made(c) is made(c)
        assert made(tf.identity(c)) is not made(c)
    assert made(c) is not made(c)


def test_dropping_leaves_out_its_share_of_units_and_keeps_their_mean():
    rng = np.random.default_rng(0)
    made = ConditionEncoder(
        np.zeros(1), np.ones(1), (400,), activation="relu", dtype="float64", kernel_initializer="ones"
    )
    c = tf.ones([100, 1], tf.float64)
    whole = made(c).numpy()
    with made.dropping(0.25, tf.constant(rng.integers(0, 256, (100, 400), np.uint8))):
        dropped = made(c).numpy()
    assert (dropped == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert dropped.mean() == pytest.approx(whole.mean(), rel=0.02)
    np.testing.assert_array_equal(made(c), whole)
