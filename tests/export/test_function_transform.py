"""Layers whose owner wrote the function between network and bijector."""

from __future__ import annotations

import functools
import warnings

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from export import ExportWarning
from export.compiled.compile_density import compile_density
from export.compiled.steps import MaskedStep, TfpDensity, TfpStep

D, C, BINS, ROWS = 3, 2, 4, 40


def network(params, *, conditional=True):
    made = tfb.AutoregressiveNetwork(
        params=params,
        event_shape=[D],
        conditional=conditional,
        conditional_event_shape=[C] if conditional else None,
        hidden_units=[12, 12],
        activation="tanh",
    )
    made.build([None, D])
    return made


def bounded(made, bound=1.5):
    def shift_and_log_scale(x, conditional_input):
        shift, log_scale = tf.unstack(made(x, conditional_input=conditional_input), axis=-1)
        return shift, bound * tf.tanh(log_scale / bound)

    return {"shift_and_log_scale_fn": shift_and_log_scale}


def scaled_by_a_variable(made):
    factor = tf.Variable(0.3)
    return {"shift_and_log_scale_fn": lambda x, **kwargs: made(x, **kwargs) * factor}


class Spline:
    """A `bijector_fn` as an object."""

    def __init__(self, made):
        self.network = made

    def __call__(self, x, conditional_input=None):
        kwargs = {} if conditional_input is None else {"conditional_input": conditional_input}
        widths, heights, slopes = tf.split(self.network(x, **kwargs), [BINS, BINS, BINS - 1], axis=-1)
        return tfb.RationalQuadraticSpline(
            bin_widths=tf.math.softmax(widths) * (6 - BINS * 1e-2) + 1e-2,
            bin_heights=tf.math.softmax(heights) * (6 - BINS * 1e-2) + 1e-2,
            knot_slopes=tf.math.softplus(slopes) + 1e-2,
            range_min=-3,
        )


def nested(made):
    spline = Spline(made)

    def scaled(x, factor, **kwargs):
        return tfb.Chain([tfb.Scale(factor), spline(x, **kwargs)])

    return {"bijector_fn": functools.partial(scaled, factor=2.0)}


def halved(made, x, **kwargs):
    return 0.5 * made(x, **kwargs)


CASES = {
    "a network in a partial": lambda: {"shift_and_log_scale_fn": functools.partial(halved, network(2))},
    "bounded log-scale": lambda: bounded(network(2)),
    "a variable of its own": lambda: scaled_by_a_variable(network(2)),
    "spline": lambda: {"bijector_fn": Spline(network(3 * BINS - 1))},
    "unconditional spline": lambda: {"bijector_fn": Spline(network(3 * BINS - 1, conditional=False))},
    "a function in a partial": lambda: nested(network(3 * BINS - 1)),
}


@pytest.mark.parametrize("name", CASES)
def test_functions_of_the_owner_compile(name):
    layers = [CASES[name]() for _ in range(2)]
    conditional = "unconditional" not in name
    parts = [tfb.MaskedAutoregressiveFlow(**layer, name=f"maf_{i}") for i, layer in enumerate(layers)]
    chain = tfb.Chain([parts[0], tfb.Permute([2, 0, 1]), parts[1]])
    flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(D)), chain)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExportWarning)
        compiled = compile_density(flow)
    assert sum(isinstance(step, MaskedStep) for step in compiled._steps) == 2
    rng = np.random.default_rng(0)
    condition = tf.constant(rng.normal(size=(ROWS, C)), tf.float32) if conditional else None
    value = tf.constant(rng.normal(size=(ROWS, D)) * 2, tf.float32)
    reference = TfpDensity(flow)
    for direction in ("forward", "inverse"):
        came = getattr(compiled, direction)(tf.identity(value), condition)
        expected = getattr(reference, direction)(tf.identity(value), condition)
        for a, b in zip(came, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def per_column(made):
    weights = tf.constant([1.0, 2.0, 3.0])
    return {"shift_and_log_scale_fn": lambda x, **kwargs: made(x, **kwargs) * weights[:, tf.newaxis]}


def of_x(made):
    before = tf.constant([[0.0, 1, 0], [0, 0, 1], [0, 0, 0]])
    return {"shift_and_log_scale_fn": lambda x, **kwargs: made(x, **kwargs) + (x @ before)[..., tf.newaxis]}


def encoded(made):
    return {"bijector_fn": lambda x, conditional_input: Spline(made)(x, tf.tanh(conditional_input))}


@pytest.mark.parametrize(
    ("function", "params", "reason"),
    [
        (per_column, 2, "column by column"),
        (of_x, 2, "uses more of a column"),
        (encoded, 3 * BINS - 1, "with something else"),
    ],
)
def test_functions_that_need_more_are_left_to_tfp(function, params, reason):
    layer = tfb.MaskedAutoregressiveFlow(**function(network(params)), name="odd")
    flow = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(D)), layer)
    with pytest.warns(ExportWarning, match=f"'odd'.*{reason}"):
        compiled = compile_density(flow)
    assert [type(step) for step in compiled._steps] == [TfpStep]
