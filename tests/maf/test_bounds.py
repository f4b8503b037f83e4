"""Event columns with bounds: their scale, what is found of them in rows, and what is refused."""

import numpy as np
import pytest
import tensorflow as tf

from maf import DataConfig, log_prob
from maf.bounds import bounds_of, check_bounds, describe_edges, find_edge, fit_bounds
from maf.config import BoundedColumn
from maf.errors import DataError
from maf.event_scales import BoundedScale
from maf.rows import Rows
from maf.standardization import Standardization
from tests.maf.test_linear_start import prepared

RNG = np.random.default_rng(0)
N = 4_000
NONE = np.empty((N, 0))


def bounded(index, lower, upper, **others):
    return BoundedColumn(index=index, **{"lower": lower, "upper": upper, "unit": 1.0, "closest": 1e-6, **others})


ALL_KINDS = (
    bounded(0, 0.0, 1.0),
    bounded(1, 2.0, None, unit=3.0),
    bounded(2, None, 0.1, unit=3.0),
    bounded(3, -1.0, None, unit=3.0, far_side="odds"),
    bounded(4, None, 5.0, unit=3.0, far_side="odds"),
)


def test_values_by_hand():
    y = tf.constant([[0.0, 0.0, 0.0, 0.0, 0.0, 7.0], [-1.0, 2.0, -2.0, 1.0, -1.0, -7.0]], tf.float64)
    x = BoundedScale(ALL_KINDS, 6).forward(y).numpy()
    far, phi = 3 * (0.5 + 2 / np.sqrt(2 * np.pi)), 0.15865525393145707
    odds = 3 * (1 - phi) / phi
    np.testing.assert_allclose(x, [[0.5, 3.5, -1.4, 2, 2, 7], [phi, 2 + far, 0.1 - far, odds - 1, 5 - odds, -7]])


def test_the_way_back_and_the_slopes_are_those_of_autodiff():
    scale = BoundedScale(ALL_KINDS, 6)
    y = tf.constant(np.linspace(-4.5, 4.5, 100)[:, np.newaxis] * np.ones(6), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(y)
        x = scale.forward(y)
        total = tf.reduce_sum(x)
    slopes = np.log(tape.gradient(total, y).numpy()).sum(axis=1)
    np.testing.assert_allclose(scale.inverse(tf.identity(x)), y, atol=1e-9)
    np.testing.assert_allclose(scale.forward_log_det_jacobian(tf.identity(y), event_ndims=1), slopes, atol=1e-9)
    np.testing.assert_allclose(scale.inverse_log_det_jacobian(tf.identity(x), event_ndims=1), -slopes, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nothing_is_drawn_beyond_a_bound_and_nothing_beyond_has_a_density(dtype):
    columns = [bounded(0, 1 / 3, 0.7, unit=0.7 - 1 / 3), bounded(1, None, 0.1), bounded(2, 16_777_217.0, None)]
    scale = BoundedScale(columns, 3)
    y = tf.constant(np.concatenate([RNG.normal(size=(1_000, 3)), np.full((1, 3), 60.0), np.full((1, 3), -60.0)]), dtype)
    x = scale.forward(y).numpy().astype(np.float64)
    for index, column in enumerate(columns):
        assert column.lower is None or x[:, index].min() >= column.lower
        assert column.upper is None or x[:, index].max() <= column.upper
    given = tf.constant([[1 / 3, 0.1, 2e7], [0.7, -3, 2e7], [0.3, 0, 2e7], [0.5, 0.2, 2e7], [0.5, 0, 1e6]], dtype)
    for found in (scale.inverse(given), scale._inverse_log_det_jacobian(given)):
        np.testing.assert_array_equal(np.isnan(found).any(axis=1), [False, False, True, True, True])


def test_at_a_bound_the_density_is_that_of_the_closest_row():
    scale = BoundedScale([bounded(0, 0.0, 1.0, closest=1e-4)], 1)
    x = tf.constant([[0.0], [1e-4], [1 - 1e-4], [1.0], [1e-44]])
    y = scale.inverse(tf.identity(x)).numpy()[:, 0]
    np.testing.assert_allclose(y[:2], -3.719016, rtol=1e-5)
    np.testing.assert_allclose(y[2:4], 3.719016, rtol=1e-3)
    assert np.isfinite(y[4])
    assert np.ptp(scale.inverse_log_det_jacobian(x, event_ndims=1).numpy()[:2]) == 0


@pytest.mark.parametrize("far_side", ["straight", "odds"])
def test_a_draw_that_is_nearer_to_a_bound_than_any_row_has_its_own_density(far_side):
    scale = BoundedScale([bounded(0, 0.0, None, closest=0.3, far_side=far_side)], 1)
    y = np.linspace(-6, 3, 50, dtype=np.float32)[:, np.newaxis]
    x = scale.forward(tf.constant(y)).numpy()
    assert x.min() < 1e-8
    np.testing.assert_allclose(scale.inverse(tf.constant(x)), y, rtol=1e-4, atol=1e-4)
    there = scale.forward_log_det_jacobian(tf.constant(y), event_ndims=1)
    np.testing.assert_allclose(-scale.inverse_log_det_jacobian(tf.constant(x), event_ndims=1), there, atol=1e-4)


def test_a_uniform_column_is_a_normal_one_before_any_step():
    x = RNG.uniform(2, 5, (N, 1))
    distribution, nll = prepared(x, NONE, data={"lower_bound": ("x0=2",), "upper_bound": ("x0=5",)})
    assert nll == pytest.approx(np.log(3), abs=0.01)
    found = log_prob(distribution, tf.constant([[1.9], [2.0], [2.001], [4.999], [5.0], [5.1]])).numpy()
    assert np.isnan(found).tolist() == [True, False, False, False, False, True]
    np.testing.assert_allclose(found[1:-1], -np.log(3), atol=0.5)
    draws = distribution.sample(20_000, seed=1).numpy()
    assert (draws.min(), draws.max()) == (pytest.approx(2, abs=0.001), pytest.approx(5, abs=0.001))
    assert ((draws >= 2) & (draws <= 5)).all()


@pytest.mark.parametrize(
    ("values", "far_side"),
    [
        (50 + 10 * RNG.normal(size=N), "straight"),
        (np.abs(RNG.normal(size=N)), "straight"),
        (np.exp(2 * RNG.normal(size=N)), "odds"),
    ],
)
def test_only_what_spans_magnitudes_is_taken_to_its_odds(values, far_side):
    data = DataConfig(data=("a",), event=("x",), lower_bound=("x=0",))
    (column,) = fit_bounds(data, values[:, np.newaxis], NONE, step=1, dtype="float32")
    assert column.far_side == far_side
    assert (column.lower, column.upper, column.closest) == (0, None, values.min() / 2)
    data = DataConfig(data=("a",), event=("x",), upper_bound=("x=3",))
    (mirrored,) = fit_bounds(data, 3 - values[:, np.newaxis], NONE, step=1, dtype="float32")
    assert (mirrored.upper, mirrored.far_side) == (3, far_side)
    assert mirrored.unit == pytest.approx(column.unit)


def test_zeros_have_a_place_beside_the_least_value_above_them():
    values = np.concatenate([np.zeros(100), np.linspace(0.01, 1, N - 100)])[:, np.newaxis]
    data = DataConfig(data=("a",), event=("x",), lower_bound=("x=0",))
    (column,) = fit_bounds(data, values, NONE, step=1, dtype="float32")
    assert column.closest == 0.005


@pytest.mark.parametrize(("upper", "unit"), [(("x=1",), 1), ((), 2)])
def test_rows_at_the_bounds_alone_are_no_reason_to_fail(upper, unit):
    values = np.repeat([0.0, 1.0] if upper else [0.0, 0.0], N // 2)[:, np.newaxis]
    data = DataConfig(data=("a",), event=("x",), lower_bound=("x=0",), upper_bound=upper)
    (column,) = fit_bounds(data, values, NONE, step=1, dtype="float32")
    assert (column.unit, column.far_side) == (unit, "straight")
    assert np.isfinite(BoundedScale([column], 1).inverse(tf.constant(values))).all()


def test_bounds_make_room_for_noise_that_draws_leave_again():
    data = DataConfig(
        data=("a",), event=("k", "y"), lower_bound=("k=-0.3",), upper_bound=("k=9", "y=2"), dequantize=("k=0.5",)
    )
    lower, upper = bounds_of(data, "k")
    assert (lower, upper) == (pytest.approx(-0.25, abs=0.001), pytest.approx(9.25, abs=0.001))
    assert lower < -0.25 < 9.25 < upper
    assert bounds_of(data, "y") == (None, 2)
    values = np.stack([RNG.uniform(-0.25, 9.25, N), RNG.normal(size=N) - 9], axis=1)
    columns = fit_bounds(data, values, NONE, step=1, dtype="float32")
    draws = BoundedScale(columns, 2).forward(tf.constant([[-50.0, 0.0], [50.0, 0.0]])).numpy()
    np.testing.assert_array_equal(np.round(draws[:, 0] / 0.5) * 0.5, [0, 9])


def split(values):
    rows = np.asarray(values, np.float32)[:, np.newaxis]
    moments = Standardization(np.zeros(1), np.ones(1), np.zeros(0), np.ones(0))
    return Rows(
        training=rows[:-2],
        validation=rows[-2:-1],
        test=rows[-1:],
        dropped=0,
        standardization=moments,
        constant=(),
        columns=(),
        findings=(),
    )


def test_rows_beyond_a_bound_are_refused_wherever_they_are():
    data = DataConfig(data=("a",), event=("x",), lower_bound=("x=0.1",), upper_bound=("x=0.7",))
    check_bounds(data, split([0.1, 0.5, 0.7, 0.7, 0.1]))  # at the bounds, as float32 has them
    with pytest.raises(DataError, match=r"'x' has 2 of 5 rows beyond its lower bound 0.1, as far as -3; correct"):
        check_bounds(data, split([0.1, 0.5, 0.6, 0, -3]))
    with pytest.raises(DataError, match=r"'x' has 1 of 5 rows beyond its upper bound 0.7, as far as 0.75; .*--upper_"):
        check_bounds(data, split([0.1, 0.75, 0.6, 0.2, 0.2]))


@pytest.mark.parametrize(
    ("values", "edge"),
    [
        (RNG.uniform(size=N), 0),
        (RNG.uniform(-3, 0, N), -3),
        (RNG.uniform(1_000, 1_500, 300), 1_000),
        (5 + RNG.exponential(size=N), 5),
        (np.abs(RNG.normal(size=N)), 0),
        (RNG.beta(0.5, 0.5, N), 0),
        (-RNG.beta(0.5, 0.5, N), -1),
        (-RNG.exponential(size=N), None),
        (RNG.normal(size=N), None),
        (RNG.normal(size=400), None),
        (RNG.gamma(2, size=N), None),
        (RNG.standard_cauchy(size=N), None),
        (np.exp(RNG.normal(size=N)), None),
        (np.zeros(N), None),
        (np.maximum(RNG.normal(size=N), 0), None),  # piled up at 0: no density at all
    ],
)
def test_an_edge_is_where_a_density_does_not_fall_to_zero(values, edge):
    assert find_edge(np.sort(values)) == edge


def test_edges_are_named_with_the_flag_unless_they_have_it():
    data = DataConfig(data=("a",), event=("x", "y"), lower_bound=("x=0",))
    rows = np.stack([RNG.uniform(size=N), RNG.normal(size=N)], axis=1)
    (line,) = describe_edges(rows, data)
    assert "'x' ends abruptly at 1: if nothing can lie above, train with --upper_bound x=1;" in line
    assert list(describe_edges(rows, data, ["x"])) == []
