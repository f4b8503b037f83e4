"""What a server lets through and the graph must not: shapes through the session, as in TF Serving, unchecked."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2


@pytest.fixture(scope="module")
def serve(export_here):
    """Runs a signature of a version with D = 3, C = 2 without the shape check of Python's `Session.run`."""
    version_dir = str(export_here("nested_chain").version_dir)
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        definitions = tf.compat.v1.saved_model.load(session, ["serve"], version_dir).signature_def

    def call(name, **inputs):
        definition = definitions[name]
        options = config_pb2.CallableOptions(
            feed=[definition.inputs[key].name for key in inputs],
            fetch=[tensor.name for tensor in definition.outputs.values()],
        )
        outputs = session._make_callable_from_options(options)(*inputs.values())
        return dict(zip(definition.outputs, outputs, strict=True))

    yield call
    session.close()


def ones(*shape):
    return np.ones(shape, np.float32)


def test_right_shapes_are_answered(serve):
    assert serve("log_prob", x=ones(4, 3), conditional_input=ones(4, 2))["log_prob"].shape == (4,)


@pytest.mark.parametrize("name", ["log_prob", "serving_default", "inverse", "forward"])
@pytest.mark.parametrize(("rows", "condition_rows"), [(4, 1), (1, 4), (4, 3), (0, 4)])
def test_row_counts_that_differ_are_refused(serve, name, rows, condition_rows):
    point = "z" if name == "forward" else "x"
    message = rf"{point} and conditional_input must have the same number of rows; got.*{rows}.*{condition_rows}"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve(name, **{point: ones(rows, 3), "conditional_input": ones(condition_rows, 2)})


def test_a_seed_for_every_row(serve):
    with pytest.raises(tf.errors.InvalidArgumentError, match="same number of rows"):
        serve("sample_with_seed", conditional_input=ones(4, 2), seed=np.zeros(1, np.int64))


@pytest.mark.parametrize("shape", [(4, 1), (4, 2), (4, 6), (12,), (4, 3, 1), (1, 4, 3), ()])
def test_wrong_width_or_rank_of_x_is_refused(serve, shape):
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"x_given \[.*\] is not compatible with expected shape \[\?,3\]"
    ):
        serve("log_prob", x=ones(*shape), conditional_input=ones(4, 2))


@pytest.mark.parametrize("shape", [(4, 1), (4, 3), (8,), (4, 2, 1)])
def test_wrong_width_or_rank_of_the_condition_is_refused(serve, shape):
    message = r"conditional_input_given \[.*\] is not compatible with expected shape \[\?,2\]"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve("log_prob", x=ones(4, 3), conditional_input=ones(*shape))
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve("sample", conditional_input=ones(*shape))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["x", "conditional_input"])
def test_a_row_that_is_not_finite_is_nan_and_alone(exported, bad, where):
    if where == "conditional_input" and not exported.condition_size:
        pytest.skip("no condition")
    dtype = exported.distribution.dtype.as_numpy_dtype
    x = np.random.default_rng(0).normal(size=(5, exported.event_size)).astype(dtype)
    inputs = {"x": x, **exported.condition(5, seed=0)}
    broken = {name: value.copy() for name, value in inputs.items()}
    broken[where][2, -1] = bad
    for name in ("log_prob", "inverse"):
        clean, actual = exported.signature(name)(**inputs), exported.signature(name)(**broken)
        for output, values in actual.items():
            assert np.isnan(values[2]).all()
            np.testing.assert_allclose(np.delete(values, 2, 0), np.delete(clean[output], 2, 0), rtol=1e-5, atol=1e-5)


def test_draws_at_a_condition_that_is_not_finite_are_nan(export_here):
    condition = np.array([[0.0], [np.nan], [1.0]], np.float32)
    exported = export_here("spline")
    for outputs in (
        exported.signature("sample")(conditional_input=condition),
        exported.signature("sample_with_seed")(conditional_input=condition, seed=np.arange(3)),
    ):
        for values in outputs.values():
            assert np.isnan(values[1]).all()
            assert np.isfinite(values[[0, 2]]).all()


def test_values_that_overflow_stay_in_their_row(export_here):
    x = np.zeros([4, 2], np.float32)
    x[1] = 3e38
    log_prob = export_here("spline").signature("log_prob")(x=x, conditional_input=np.zeros([4, 1], np.float32))[
        "log_prob"
    ]
    assert not np.isfinite(log_prob[1])
    np.testing.assert_allclose(log_prob[[0, 2, 3]], log_prob[0], rtol=1e-6)
