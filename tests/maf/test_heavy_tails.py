import numpy as np
import pytest
import tensorflow as tf

from maf.event_scales import HeavyTails
from maf.starting_point import find_heavy_tails


def test_heavy_columns_are_on_a_sinh_scale_and_others_are_left_alone():
    tails = HeavyTails((1,), 3)
    z = tf.constant([[0.5, 3.0, -200.0], [-1.0, -40.0, 1e30]], tf.float64)
    x = tails.forward(z).numpy()
    np.testing.assert_allclose(x, [[0.5, np.sinh(3), -200], [-1, np.sinh(-40), 1e30]])
    np.testing.assert_allclose(tails.inverse(tf.constant(x)), z)
    expected = [np.log(np.cosh(3)), 40 - np.log(2)]
    np.testing.assert_allclose(tails.forward_log_det_jacobian(z, event_ndims=1), expected)
    np.testing.assert_allclose(tails.inverse_log_det_jacobian(tf.constant(x), event_ndims=1), -np.array(expected))


def test_gradients_are_finite_at_the_ends_of_float32():
    x = tf.constant([[1e38, 1e37], [-1e38, -3.0], [0.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        tails = HeavyTails((0,), 2)
        total = tf.reduce_sum(tails.inverse(x)) + tf.reduce_sum(tails.inverse_log_det_jacobian(x, event_ndims=1))
    assert np.isfinite(tape.gradient(total, x)).all()


@pytest.mark.parametrize(
    ("name", "heavy"), [("standard_normal", False), ("standard_cauchy", True), ("uniform", False), ("laplace", False)]
)
def test_only_tails_far_beyond_the_middle_are_heavy(name, heavy):
    columns = 5 + 1e-12 * getattr(np.random.default_rng(0), name)(size=(20_000, 1))
    found, median, middle = find_heavy_tails(columns - 5)
    assert found == ((0,) if heavy else ())
    if heavy:
        assert (middle[0], abs(median[0])) == (pytest.approx(2e-12 / 1.349, rel=0.05), pytest.approx(0, abs=1e-13))


def test_a_column_that_is_half_one_value_has_no_middle_to_measure_by():
    columns = np.concatenate([np.zeros(600), np.linspace(1, 100, 400)])[:, None]
    assert find_heavy_tails(columns)[0] == ()
