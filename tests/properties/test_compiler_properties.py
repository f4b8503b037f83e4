"""The compiled density against TFP over random architectures."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from export import ExportWarning
from maf import FlowConfig, build_flow
from maf.routing import is_conditional
from maf.standardization import Standardization
from tests.export.test_compile_density import assert_equal_to_tfp, network, shift_of
from tests.properties.conftest import examples

SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def networks(draw, d, c, params=2):
    """Makes a network: of some order, degrees, activation, condition layers, biases and sizes."""
    options = {
        "params": params,
        "hidden_units": draw(st.lists(st.integers(max(d - 1, 1), d + 9), max_size=3)),
        "activation": draw(st.sampled_from(["relu", "tanh", "elu", "gelu", "sigmoid", "softplus", None])),
        "hidden_degrees": draw(st.sampled_from(["equal", "random"])),
        "use_bias": draw(st.booleans()),
        "conditional_input_layers": draw(st.sampled_from(["all_layers", "first_layer"])),
        "input_order": draw(
            st.sampled_from(["left-to-right", "right-to-left"]) | st.permutations(range(1, d + 1)).map(list)
        ),
    }
    seed = draw(SEEDS)
    return lambda: network(np.random.default_rng(seed), d, c, **options)


@st.composite
def parts(draw, d, c, depth=1):
    """Makes a layer, or a chain of some, perhaps inverted. Made by the test, because TFP draws random numbers."""
    kind = draw(st.sampled_from(["maf", "shift_only", "permute", "shift", "scale", "diagonal", *["chain"] * depth]))
    rng = np.random.default_rng(draw(SEEDS))
    name = f"{kind}_{draw(st.uuids()).hex}"
    scale = (rng.uniform(0.5, 2, d) * rng.choice([-1, 1], d)).astype("f")
    if kind == "maf":
        conditioner = draw(networks(d, c))
        make = lambda: tfb.MaskedAutoregressiveFlow(conditioner(), name=name)  # noqa: E731
    elif kind == "shift_only":
        conditioner = draw(networks(d, c, params=1))
        make = lambda: tfb.MaskedAutoregressiveFlow(shift_of(conditioner()), name=name)  # noqa: E731
    elif kind == "permute":
        make = functools.partial(tfb.Permute, draw(st.permutations(range(d))), name=name)
    elif kind == "shift":
        make = functools.partial(tfb.Shift, rng.normal(size=d).astype("f"), name=name)
    elif kind == "scale":
        make = functools.partial(tfb.Scale, scale, name=name)
    elif kind == "diagonal":
        make = functools.partial(tfb.ScaleMatvecDiag, np.abs(scale), name=name)
    else:
        makers = draw(st.lists(parts(d, c, depth - 1), min_size=1, max_size=3))
        make = lambda: tfb.Chain([each() for each in makers], name=name)  # noqa: E731
    return (lambda: tfb.Invert(make(), name=f"inverted_{name}")) if draw(st.booleans()) else make


@examples(6)
@given(st.data(), st.integers(1, 6), st.integers(0, 3))
def test_flows_of_tfp(data, d, c):
    makers = data.draw(st.lists(parts(d, c), min_size=1, max_size=4))
    chain = tfb.Chain([make() for make in makers])
    flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(d), tf.fill([d], 1.5)), chain)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExportWarning)
        assert_equal_to_tfp(flow, d, c if is_conditional(chain) else 0, rtol=1e-4)


@st.composite
def configs(draw, d, c):
    return FlowConfig(
        event_size=d,
        condition_size=c,
        num_layers=draw(st.integers(1, 3)),
        hidden_units=tuple(draw(st.lists(st.integers(d, d + 12), min_size=1, max_size=2))),
        condition_units=tuple(draw(st.lists(st.integers(1, 8), max_size=2))),
        transform=draw(st.sampled_from(["affine", "spline"])),
        base=draw(st.sampled_from(["normal", "mixture"])),
        order=draw(st.sampled_from(["reverse", "random"])),
        num_bins=draw(st.integers(2, 6)),
        dtype="float64",
        log_scale_bound=1.0,
    )


@examples(3)
@given(st.data(), st.integers(1, 5), st.integers(0, 3), SEEDS)
def test_flows_of_ours(data, d, c, seed):
    rng = np.random.default_rng(seed)
    moments = [rng.normal(size=d) * 100, np.exp(rng.normal(size=d)), rng.normal(size=c), np.exp(rng.normal(size=c))]
    flow = build_flow(data.draw(configs(d, c)), standardization=Standardization(*moments), seed=seed % 1000)
    for variable in flow.trainable_variables:
        free = variable.numpy() != 0 if variable.constraint is not None else 1.0
        variable.assign(variable + 0.05 * free * rng.normal(size=variable.shape))
    assert_equal_to_tfp(flow, d, c, rtol=1e-9, scale=3.0)
