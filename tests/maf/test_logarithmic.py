import numpy as np
import pytest
import tensorflow as tf

from maf import log_prob
from maf.event_scales import Logarithmic, least_positive
from maf.starting_point import find_logarithmic
from tests.maf.test_linear_start import prepared

RNG = np.random.default_rng(0)
N = 4_000
C = RNG.normal(size=(N, 1))
Z = RNG.normal(size=(N, 1))


def test_its_columns_are_exponentials_and_others_are_left_alone():
    bijector = Logarithmic((1,), 3)
    y = tf.constant([[0.5, 3.0, -200.0], [-1.0, -40.0, 1e30]], tf.float64)
    x = bijector.forward(y).numpy()
    np.testing.assert_allclose(x, [[0.5, np.exp(3), -200], [-1, np.exp(-40), 1e30]])
    np.testing.assert_allclose(bijector.inverse(tf.constant(x)), y)
    np.testing.assert_allclose(bijector.forward_log_det_jacobian(y, event_ndims=1), [3, -40])
    np.testing.assert_allclose(bijector.inverse_log_det_jacobian(tf.constant(x), event_ndims=1), [-3, 40])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_positive_has_no_density_and_spoils_no_other_row(dtype):
    least = least_positive(dtype)
    x = tf.constant([[0.0, 1.0], [-3.0, 1.0], [least, 1.0], [2.0, -1.0], [np.nan, 1.0]], dtype)
    bijector = Logarithmic((0,), 2)
    log_det = bijector.inverse_log_det_jacobian(tf.identity(x), event_ndims=1).numpy()
    np.testing.assert_allclose(log_det, [np.nan, np.nan, -np.log(least), -np.log(2), np.nan], rtol=1e-6)
    y = bijector.inverse(tf.identity(x)).numpy()
    np.testing.assert_array_equal(y[:, 1], x[:, 1])
    np.testing.assert_allclose(y[:, 0], -log_det, rtol=1e-6)


def test_gradients_are_finite_at_the_ends_of_float32():
    x = tf.constant([[1e38, 1e37], [1e-37, -3.0], [1.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        bijector = Logarithmic((0,), 2)
        total = tf.reduce_sum(bijector.inverse(x)) + tf.reduce_sum(bijector.inverse_log_det_jacobian(x, event_ndims=1))
    assert np.isfinite(tape.gradient(total, x)).all()


@pytest.mark.parametrize(
    ("column", "found"),
    [
        (RNG.gamma(0.2, size=(N, 1)), True),
        (RNG.exponential(size=(N, 1)), True),
        (np.exp(3 + C + Z), True),
        (5 + Z, False),
        (100 + 3 * C + Z, False),
        (1 + RNG.random((N, 1)), False),
        (RNG.beta(0.5, 0.5, (N, 1)), False),
        (np.exp(C) * 20 + 10 + Z, False),  # what is skewed is the condition
        (np.exp(Z) - 0.1, False),
        (np.where(Z > 3, 0.0, np.exp(Z)), False),
    ],
)
def test_only_positive_columns_that_a_log_scale_describes_better(column, found):
    assert find_logarithmic(column, np.concatenate([C, np.exp(C)], axis=1)) == ((0,) if found else ())


def test_training_starts_at_the_regression_of_the_logarithm():
    x = np.concatenate([np.exp(-20 + 2 * C + Z), Z + C], axis=1)
    distribution, nll = prepared(x, C)
    of_log = np.log(2 * np.pi * np.e) / 2 - 20 + 2 * C.mean()
    assert nll == pytest.approx(of_log + np.log(2 * np.pi * np.e) / 2, abs=0.1)
    given = tf.constant([[1e-9, 0.0], [0.0, 0.0], [-1.0, 0.0]])
    found = log_prob(distribution, given, tf.zeros([3, 1])).numpy()
    assert np.isfinite(found).tolist() == [True, False, False]
    draws = distribution.sample(500, bijector_kwargs={name: {"conditional_input": tf.zeros([500, 1])} for name in MAFS})
    assert (draws[:, 0].numpy() > 0).all()


MAFS = [f"maf_{i}" for i in range(4)]


def test_a_single_zero_in_any_split_keeps_the_column_as_it_is():
    x = np.exp(C + Z)
    x[3] = 0  # of the validation rows too
    distribution, _ = prepared(x, C)
    assert np.isfinite(log_prob(distribution, tf.zeros([1, 1]), tf.zeros([1, 1]))).all()
