"""`regress` answers serialized Examples as `log_prob` answers tensors."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from export.signatures import Request, serialize_examples
from export.verification.replay import answer_session


def rows(exported, count=20, seed=5):
    """x near typical values and conditional_input, rounded to what an Example holds, in the model's dtype."""
    condition = exported.condition(count, seed)
    x = exported.signature("sample_with_seed")(seed=np.arange(count), **condition)["x"]
    return {name: value.astype(np.float32).astype(value.dtype) for name, value in {"x": x, **condition}.items()}


def example(**features):
    lists = {name: tf.train.Feature(float_list=tf.train.FloatList(value=value)) for name, value in features.items()}
    return tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString()


def test_regress_equals_log_prob(exported):
    features = rows(exported)
    answer = exported.signature("regress")(inputs=serialize_examples(features))
    assert list(answer) == ["outputs"]
    assert answer["outputs"].dtype == np.float32
    expected = exported.signature("log_prob")(**features)["log_prob"]
    np.testing.assert_allclose(answer["outputs"], expected, rtol=2e-6, atol=2e-6)
    assert np.ptp(expected) > 0.1


def test_the_session_loader_answers_too(export_here):
    exported = export_here("nested_chain")
    features = rows(exported)
    request = Request("one", "regress", {"inputs": serialize_examples(features)})
    answer = answer_session(str(exported.version_dir), [request])["session|one|outputs"]
    np.testing.assert_allclose(answer, exported.signature("log_prob")(**features)["log_prob"], rtol=2e-6, atol=2e-6)


def test_a_row_that_is_not_finite_stays_alone(export_here):
    exported = export_here("nested_chain")
    features = rows(exported, count=4)
    whole = exported.signature("regress")(inputs=serialize_examples(features))["outputs"]
    features["conditional_input"][1, 0] = np.nan
    features["x"][2, 1] = np.inf
    broken = exported.signature("regress")(inputs=serialize_examples(features))["outputs"]
    np.testing.assert_array_equal(np.isnan(broken), [False, True, True, False])
    np.testing.assert_allclose(broken[[0, 3]], whole[[0, 3]], rtol=1e-6)


def test_no_examples_give_no_outputs(export_here):
    answer = export_here("nested_chain").signature("regress")(inputs=np.empty(0, object).astype(bytes))
    assert answer["outputs"].shape == (0,)


REFUSED = {
    "no Example": (b"no Example", "Could not parse example input"),
    "no x": (example(conditional_input=[0.0, 0.0]), "Feature: x .* is required but could not be found"),
    "no condition": (example(x=[0.0, 0.0, 0.0]), "Feature: conditional_input .* is required but could not be found"),
    "x too short": (example(x=[0.0, 0.0], conditional_input=[0.0, 0.0]), "Key: x"),
    "x too long": (example(x=[0.0] * 4, conditional_input=[0.0, 0.0]), "Key: x"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_no_row_fails_the_request(export_here, reason):
    """Named by the parsing op, also beside an Example that is right."""
    serialized, message = REFUSED[reason]
    good = example(x=[0.0, 0.0, 0.0], conditional_input=[0.0, 0.0])
    regress = export_here("nested_chain").signature("regress")
    assert np.isfinite(regress(inputs=np.array([good, good], object))["outputs"]).all()
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        regress(inputs=np.array([good, serialized], object))
