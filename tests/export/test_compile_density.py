"""The compiled graph against TFP, on flows of every kind and from weights that are far from their start."""

import functools
import warnings

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from export import ExportWarning
from export.compiled import compile_density as compiling
from export.compiled.compile_density import compile_density
from export.compiled.steps import TfpDensity, TfpStep
from maf import FlowConfig, build_flow
from maf.layers import SplineConditioner
from maf.likelihood import log_prob
from maf.standardization import Standardization

ROWS = 9


def network(rng, event_size, condition_size, **options):
    """An `AutoregressiveNetwork` of random options."""
    depth = rng.integers(0, 4)
    conditional = {"conditional": True, "conditional_event_shape": [condition_size]} if condition_size else {}
    chosen = {
        "params": 2,
        "hidden_units": rng.integers(max(event_size - 1, 1), 12 + event_size, depth).tolist(),
        "activation": rng.choice(["relu", "tanh", "elu", "gelu", "swish", "sigmoid", "softplus"]),
        "hidden_degrees": rng.choice(["equal", "random"]),
        "input_order": [*rng.permutation(np.arange(1, event_size + 1)).tolist()],
        "use_bias": bool(rng.integers(0, 2)),
        "conditional_input_layers": rng.choice(["all_layers", "first_layer"]),
        "dtype": "float32",
    }
    chosen |= {"input_order": "right-to-left"} if rng.integers(0, 4) == 0 else {}
    made = tfb.AutoregressiveNetwork(event_shape=[event_size], **conditional, **(chosen | options))
    made.build([None, event_size])
    for variable in made.trainable_variables:
        free = 1.0 if variable.constraint is None else variable.constraint(tf.ones_like(variable))
        variable.assign(free * rng.normal(size=variable.shape) * 0.3 / np.sqrt(variable.shape[0]))
    return made


def random_flow(seed):
    """A float32 flow of random structure, its event size and its condition size."""
    rng = np.random.default_rng(seed)
    d, c = int(rng.integers(1, 8)), int(rng.integers(0, 4))
    parts = []
    for i in range(rng.integers(1, 4)):
        made = network(rng, d, c)
        maf = tfb.MaskedAutoregressiveFlow(made, name=f"maf_{i}")
        shift_only = tfb.MaskedAutoregressiveFlow(shift_of(network(rng, d, c, params=1)), name=f"shift_{i}")
        parts += [
            maf if rng.integers(0, 4) else tfb.Invert(maf, name=f"inverted_{i}"),
            tfb.Permute(rng.permutation(d), name=f"permute_{i}"),
            tfb.Invert(tfb.Permute(rng.permutation(d)), name=f"back_{i}"),
            tfb.Shift(rng.normal(size=d).astype("f")),
            tfb.Scale(np.exp(rng.normal(size=d) * 0.3).astype("f") * (-1) ** i),
            tfb.Scale(log_scale=np.float32(0.2)),
            shift_only,
        ]
    inner = tfb.Chain(parts[2:], name="inner")
    chain = tfb.Chain([*parts[:2], tfb.Invert(inner, name="inverted") if rng.integers(0, 2) else inner])
    return tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(d), tf.fill([d], 1.5)), chain), d, c


def shift_of(made):
    return lambda x, **kwargs: (made(x, **kwargs)[..., 0], None)


def assert_equal_to_tfp(flow, d, c, rtol, scale=1.0):
    """Both directions against TFP, on fresh tensors; returns the compiled density."""
    rng = np.random.default_rng(1)
    dtype = flow.dtype
    condition = tf.constant(rng.normal(size=(ROWS, c)), dtype) if c else None
    z = tf.constant(rng.normal(size=(ROWS, d)) * scale, dtype)
    compiled, reference = compile_density(flow), TfpDensity(flow)
    forward = reference.forward(z, condition)
    x, _ = forward
    inverse = reference.inverse(tf.identity(x), condition)
    for made in (compiled, *([compiled.few] if compiled.few else [])):
        for came, expected in (
            (made.forward(tf.identity(z), condition), forward),
            (made.inverse(tf.identity(x), condition), inverse),
        ):
            for a, b in zip(came, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * (1 + np.abs(b).max()))
    return compiled


@pytest.mark.parametrize("seed", range(25))
def test_random_flows_equal_tfp(seed):
    flow, d, c = random_flow(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExportWarning)
        compiled = assert_equal_to_tfp(flow, d, c, rtol=1e-4)
    assert compiled.few is not None


@pytest.mark.parametrize("hidden", [(400, 390), (400,)])
@pytest.mark.parametrize("orders", [["left-to-right", "right-to-left"], [[2, 4, 1, 3, 5], "left-to-right"]])
def test_wide_layers_of_few_rows_are_computed_in_two_parts(hidden, orders):
    rng = np.random.default_rng(0)
    layers = [
        tfb.MaskedAutoregressiveFlow(network(rng, 5, 2, hidden_units=list(hidden), input_order=order), name=f"maf_{i}")
        for i, order in enumerate(orders)
    ]
    flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(5)), tfb.Chain(layers))
    assert_equal_to_tfp(flow, 5, 2, rtol=1e-4)


@pytest.mark.parametrize("condition_size", [0, 3])
def test_few_rows_of_large_matrices_are_each_what_they_are_among_others(condition_size):
    """TensorFlow is slow with a single row and a large matrix, so that such a row is computed beside one of zeros."""
    rng = np.random.default_rng(0)
    made = network(rng, 2, condition_size, hidden_units=[256, 256], activation="tanh")
    flow = tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag(tf.zeros(2)), tfb.MaskedAutoregressiveFlow(made, name="maf")
    )
    few = compile_density(flow).few
    x = tf.constant(rng.normal(size=(3, 2)), tf.float32)
    condition = tf.constant(rng.normal(size=(3, condition_size)), tf.float32) if condition_size else None
    for direction in (few.inverse, few.forward):
        assert operations(direction, x, condition).count("Pad") == (2 if condition_size else 1)
        whole = direction(x, condition)
        for rows in (slice(0, 0), slice(1, 2), slice(0, 2)):
            for value, among in zip(
                direction(x[rows], None if condition is None else condition[rows]), whole, strict=True
            ):
                assert value.shape == among[rows].shape
                np.testing.assert_allclose(value, among[rows], rtol=1e-5, atol=1e-5)


def test_a_single_row_of_small_matrices_is_computed_alone():
    config = FlowConfig(event_size=2, condition_size=3, num_layers=2, hidden_units=(16,), condition_units=(8,))
    few = compile_density(build_flow(config, seed=0)).few
    for direction in (few.inverse, few.forward):
        assert "Pad" not in operations(direction, tf.zeros([1, 2]), tf.zeros([1, 3]))


def operations(direction, *inputs):
    """Of what it is traced to."""
    return [each.type for each in tf.function(direction).get_concrete_function(*inputs).graph.get_operations()]


def test_all_ways_through_a_flow_share_the_encoder_and_many_rows_read_one_variable():
    config = FlowConfig(event_size=2, condition_size=3, num_layers=3, hidden_units=(16,), condition_units=(8,))
    compiled = compile_density(build_flow(config, seed=0))
    names = [variable.name for variable in compiled.variables]
    assert names.count("condition_loc:0") == 1
    of_many = [name for name in names if name == "kernels:0"]
    of_few = [name for name in names if name.startswith(("rows", "of_condition"))]
    of_encoder = [name for name in names if name.startswith(("condition_", "regression"))]
    assert len(of_many) == 1
    assert len(of_many) + len(of_few) + len(of_encoder) == len(names)


def test_owners_functions_have_no_way_of_their_own_for_few_rows():
    made = network(np.random.default_rng(0), 3, 1)

    def bijector_fn(x, conditional_input):
        shift, log_scale = tf.unstack(made(x, conditional_input=conditional_input), axis=-1)
        return tfb.Shift(shift)(tfb.Scale(log_scale=0.1 * log_scale))

    layer = tfb.MaskedAutoregressiveFlow(bijector_fn=bijector_fn, name="own")
    flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(3)), layer)
    assert assert_equal_to_tfp(flow, 3, 1, rtol=1e-4).few is None


@pytest.mark.parametrize("transform", ["affine", "spline"])
@pytest.mark.parametrize(
    ("d", "c", "base"), [(1, 2, "normal"), (2, 0, "mixture"), (5, 3, "mixture"), (11, 1, "normal")]
)
def test_flows_of_ours_equal_tfp_in_float64(transform, d, c, base):
    config = FlowConfig(
        event_size=d,
        condition_size=c,
        transform=transform,
        base=base,
        order="random",
        dtype="float64",
        num_layers=3,
        log_scale_bound=1.0,
        condition_bins=0 if base == "normal" else None,
        condition_projections=3 if c > 1 else 0,
        projected_columns=(0, 2) if c > 2 else None,
    )
    rng = np.random.default_rng(0)
    moments = [rng.normal(size=d) * 100, np.exp(rng.normal(size=d)), rng.normal(size=c), np.exp(rng.normal(size=c))]
    flow = build_flow(config, standardization=Standardization(*moments), seed=2)
    for variable in flow.trainable_variables:
        free = variable.numpy() != 0 if variable.constraint is not None else 1.0
        variable.assign(variable + 0.05 * free * rng.normal(size=variable.shape))
    assert_equal_to_tfp(flow, d, c, rtol=1e-10, scale=3.0)  # splines are left at 5 deviations


@pytest.mark.parametrize("most_unrolled", [512, 10])
def test_many_columns_take_many_blocks(monkeypatch, most_unrolled):
    monkeypatch.setattr(compiling, "MOST_UNROLLED_COLUMNS", most_unrolled)
    config = FlowConfig(
        event_size=40, condition_size=2, hidden_units=(96, 64), num_layers=2, dtype="float64", transform="affine"
    )
    assert_equal_to_tfp(build_flow(config, seed=0), 40, 2, rtol=1e-10)


def test_unknown_layers_run_as_tfp_has_them_and_are_named():
    made = network(np.random.default_rng(0), 3, 1)

    def changed(x, conditional_input):
        shift, log_scale = tf.unstack(made(x, conditional_input=2 * conditional_input), axis=-1)
        return shift, log_scale

    chain = tfb.Chain([tfb.MaskedAutoregressiveFlow(changed, name="odd"), tfb.Softsign(), tfb.Tanh()])
    flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(3)), chain)
    with pytest.warns(ExportWarning, match=r"'odd'.*calls its network with something else"):
        compiled = assert_equal_to_tfp(flow, 3, 1, rtol=1e-4, scale=0.3)
    assert [type(step) is TfpStep for step in compiled._steps] == [True, True, True]


def test_activations_that_mix_units_are_left_to_tfp():
    mixing = functools.partial(tf.nn.softmax, axis=-1)
    made = network(np.random.default_rng(0), 3, 1, hidden_units=[8], activation=mixing)
    flow = tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag(tf.zeros(3)), tfb.MaskedAutoregressiveFlow(made, name="mixed")
    )
    with pytest.warns(ExportWarning, match=r"'mixed'.*mixes units"):
        assert_equal_to_tfp(flow, 3, 1, rtol=1e-4)


def test_weights_where_the_mask_has_none_are_left_to_tfp():
    made = network(np.random.default_rng(0), 3, 1, hidden_units=[8])
    kernel = next(variable for variable in made.trainable_variables if variable.constraint is not None)
    kernel.assign(tf.ones_like(kernel))
    flow = tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag(tf.zeros(3)), tfb.MaskedAutoregressiveFlow(made, name="broken")
    )
    with pytest.warns(ExportWarning, match=r"'broken'.*not autoregressive"):
        compile_density(flow)


@pytest.mark.parametrize("outside", [False, True])
def test_a_spline_is_right_at_its_knots_and_beyond(outside):
    flow = build_flow(FlowConfig(event_size=1, condition_size=0, num_layers=1, dtype="float64", num_bins=3), seed=0)
    z = np.array([-7.0, 6.5, 1e4, -1e4] if outside else [-5.0, 5.0, 0.0, 4.999999])[:, np.newaxis]
    compiled, reference = compile_density(flow), TfpDensity(flow)
    expected = reference.forward(tf.constant(z), None)
    for made in (compiled, compiled.few):
        for a, b in zip(made.forward(tf.constant(z), None), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    for a, b in zip(compiled.few.inverse(expected[0], None), (z, expected[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("slope", [1e4, 1e9])
def test_enormous_slopes_at_inner_knots_leave_what_is_beyond_the_range_alone(slope):
    """A network may give a far row such slopes in every layer; float32 must not make NaN of them."""
    flow = build_flow(FlowConfig(event_size=2, condition_size=0, num_layers=1, num_bins=5), seed=0)
    (layer,) = (part for part in flow.submodules if isinstance(part, SplineConditioner))
    bias = layer.network.trainable_variables[-1]
    value = bias.numpy().reshape(2, -1)
    value[:, 10:14] = slope
    bias.assign(value.ravel())
    beyond = tf.constant([[x, -x] for x in (5.5, 8.0, 1e3, 1e7)], tf.float32)
    inside = tf.constant(np.random.default_rng(0).uniform(-5, 5, (4000, 2)), tf.float32)
    expected = TfpDensity(flow).inverse(beyond, None)
    compiled = compile_density(flow)
    for made in (compiled, compiled.few):
        for a, b in zip(made.inverse(beyond, None), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
        for a, b in zip(made.forward(expected[0], None), (beyond, expected[1]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
        assert all(np.isfinite(a).all() for a in made.inverse(inside, None))
    np.testing.assert_allclose(log_prob(flow, beyond, None), expected[1], rtol=1e-5)
    assert np.isfinite(log_prob(flow, inside, None)).all()
