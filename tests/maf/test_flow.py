import itertools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb

from maf import FlowConfig, build_flow, log_prob, make_bijector_kwargs
from maf.flow import resolve
from maf.standardization import Standardization

STANDARDIZATION = Standardization(
    event_loc=np.array([100.0, -3.0, 0.5]),
    event_scale=np.array([20.0, 0.1, 1.0]),
    condition_loc=np.array([7.0, -1e3]),
    condition_scale=np.array([2.0, 50.0]),
)
KINDS = {
    f"{transform}-{base}-{order}-{'conditional' if size else 'unconditional'}": {
        "transform": transform,
        "base": base,
        "order": order,
        "condition_size": size,
    }
    for transform, base, order, size in itertools.product(
        ("affine", "spline"), ("normal", "mixture"), ("reverse", "random"), (2, 0)
    )
}


def make(kind, **other):
    """A float64 flow with weights far from their start, its standardisation, and a condition."""
    sizes = {"num_layers": 3, "hidden_units": (16, 16), "condition_units": (32, 32)}
    sizes |= {"condition_bins": 3, "condition_projections": 0}
    config = FlowConfig(event_size=3, dtype="float64", **sizes, **kind, **other)
    c_size = config.condition_size
    standardization = Standardization(
        STANDARDIZATION.event_loc,
        STANDARDIZATION.event_scale,
        STANDARDIZATION.condition_loc[:c_size],
        STANDARDIZATION.condition_scale[:c_size],
    )
    flow = build_flow(config, standardization=standardization, seed=3)
    rng = np.random.default_rng(4)
    for variable in flow.trainable_variables:
        variable.assign(variable + 0.15 * rng.normal(size=variable.shape))
        if variable.constraint is not None:
            variable.assign(variable.constraint(variable))
    if not c_size:
        return flow, None
    return flow, tf.constant(STANDARDIZATION.condition_loc + STANDARDIZATION.condition_scale * rng.normal(size=(5, 2)))


def routed(flow, c):
    return make_bijector_kwargs(flow.bijector, {} if c is None else {"conditional_input": c})


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_round_trip_and_log_det_agree_with_the_autodiff_jacobian(kind):
    flow, c = make(kind)
    kwargs = routed(flow, c)
    z = tf.constant(np.random.default_rng(0).normal(size=(5, 3)) * 1.5)
    x = flow.bijector.forward(z, **kwargs)
    np.testing.assert_allclose(flow.bijector.inverse(tf.identity(x), **kwargs), z, rtol=1e-7, atol=1e-7)
    with tf.GradientTape(persistent=True) as tape:
        inputs = tf.identity(x)
        tape.watch(inputs)
        outputs = flow.bijector.inverse(inputs, **kwargs)
    jacobian = tape.batch_jacobian(outputs, inputs, experimental_use_pfor=False)
    expected = flow.distribution.log_prob(z) + np.linalg.slogdet(jacobian)[1]
    np.testing.assert_allclose(flow.log_prob(tf.identity(x), bijector_kwargs=kwargs), expected, rtol=1e-8)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_log_prob_with_each_network_once_equals_tfp(kind):
    flow, c = make(kind)
    x = STANDARDIZATION.event_loc + STANDARDIZATION.event_scale * np.random.default_rng(1).normal(size=(5, 3)) * 3
    expected = flow.log_prob(tf.constant(x), bijector_kwargs=routed(flow, c))
    np.testing.assert_allclose(log_prob(flow, tf.constant(x), c), expected, rtol=1e-12)


def test_gradients_of_splines_equal_those_of_tfp_within_their_range_and_beyond():
    flow, c = make({"transform": "spline", "condition_size": 2})
    layer = next(part for part in flow.bijector.bijectors if isinstance(part, tfb.MaskedAutoregressiveFlow))
    spline = layer._bijector_fn
    z = np.linspace(-1.63, 1.57, 33)[:, np.newaxis] * np.full(3, spline.spline_range)
    given = tf.repeat(c[:1], 33, axis=0)
    x = layer.forward(tf.constant(z), conditional_input=given)
    gradients, values = [], []
    for asked in (
        lambda x: spline.inverse(x, given),
        lambda x: (
            spline(x, given).inverse(x),
            spline(x, given).inverse_log_det_jacobian(x, event_ndims=0),
        ),
    ):
        with tf.GradientTape() as tape:
            came = asked(tf.identity(x))
            both = tf.reduce_sum(came[0] * tf.cos(came[0])) + tf.reduce_sum(came[1])
        values.append(came)
        gradients.append(tape.gradient(both, layer.trainable_variables))
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9, atol=1e-9)
    for ours, of_tfp in zip(*gradients, strict=True):
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, of_tfp, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("transform", ["affine", "spline"])
def test_each_layer_is_triangular_in_its_own_order(transform):
    flow, c = make({"transform": transform, "order": "random", "condition_size": 2})
    orders = resolve(
        FlowConfig(event_size=3, num_layers=3, transform=transform, order="random", condition_size=2), seed=3
    ).input_orders
    x = tf.constant(np.random.default_rng(2).normal(size=(5, 3)))
    for layer, order in zip(flow.bijector.bijectors[2:], orders, strict=True):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            z = layer.inverse(x, conditional_input=c)
        jacobian = tape.batch_jacobian(z, x, experimental_use_pfor=False).numpy()
        depends = np.abs(jacobian).max(axis=0) > 1e-9
        degrees = np.array(order)
        np.testing.assert_array_equal(depends, degrees[:, None] >= degrees[None, :])


def test_density_integrates_to_one_in_raw_units():
    config = FlowConfig(event_size=1, condition_size=1, num_layers=2, dtype="float64")
    one = np.ones(1)
    flow = build_flow(config, standardization=Standardization(30 * one, 4 * one, 2 * one, 3 * one), seed=1)
    x = np.linspace(-170, 230, 200_001)
    for condition in (-4.0, 2.0, 9.0):
        density = np.exp(
            log_prob(flow, tf.constant(x[:, None]), tf.fill([len(x), 1], tf.constant(condition, tf.float64)))
        )
        assert density.sum() * (x[1] - x[0]) == pytest.approx(1, abs=1e-6)


def test_condition_is_not_linear_in_the_first_event_column():
    config = FlowConfig(event_size=1, condition_size=1, num_layers=1, transform="affine", dtype="float64")
    flow = build_flow(config, seed=0)
    c = tf.constant([[-2.0], [0.0], [2.0]], tf.float64)
    z = tf.zeros([3, 1], tf.float64)
    low, middle, high = flow.bijector.forward(z, **routed(flow, c)).numpy()[:, 0]
    assert abs(low + high - 2 * middle) > 1e-3


@pytest.mark.parametrize(
    ("dtype", "order"), [*itertools.product(["float32", "float64"], ["same", "reverse", "random"])]
)
def test_dtype_and_order_are_kept(dtype, order):
    config = FlowConfig(event_size=4, condition_size=1, dtype=dtype, order=order)
    flow = build_flow(config, seed=5)
    c = tf.zeros([2, 1], dtype)
    assert flow.sample(2, bijector_kwargs=routed(flow, c)).dtype == dtype
    assert {variable.dtype.name for variable in flow.variables} == {dtype}
    assert [layer._bijector_fn.network._input_order.tolist() for layer in flow.bijector.bijectors[2:]] == [
        list(degrees) for degrees in resolve(config, seed=5).input_orders
    ]


def test_equal_seeds_give_equal_weights_and_no_two_kernels_are_equal():
    config = FlowConfig(event_size=2, condition_size=1)
    first, second = (build_flow(config, seed=7).trainable_variables for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    kernels = [variable.numpy() for variable in first if variable.shape.rank == 2]
    assert all(not np.array_equal(a, b) for a, b in itertools.combinations(kernels, 2))
