"""Verification lets what is right pass and finds what is wrong."""

from __future__ import annotations

import dataclasses
import shutil
from contextlib import nullcontext

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from export import VerificationError, read_contract
from export.signatures import Request
from export.verification import verification
from export.verification.comparison import LiveModel, compare_values, expect, rounded
from export.verification.inputs import draw_inputs
from export.verification.replay import Replies, answer_object, answer_session, read_requests, write_requests
from export.verification.version import format_report
from tests.export.conftest import replay_by

tfb = tfp.bijectors
tfd = tfp.distributions


def verify_version(distribution, version_dir, *, seed=0):
    model = LiveModel(distribution)
    inputs = draw_inputs(model, read_contract(version_dir), seed=seed)
    return verification.verify(model, version_dir, inputs)


@pytest.fixture
def replay_here(monkeypatch):
    """One loader, in this process, which saves seconds."""
    monkeypatch.setattr(verification, "LOADERS", ("object",))
    replay_by(monkeypatch, lambda path, requests: Replies(answer_object(str(path), requests)))


@pytest.fixture(scope="module")
def answers():
    """Replies by version, asked for once."""
    return {}


@pytest.fixture
def alter(monkeypatch, answers):
    """Lets a test change the replies of a version."""

    def alter_replies(change):
        def replay(path, requests):
            if path not in answers:
                answers[path] = answer_object(str(path), requests) | answer_session(str(path), requests)
            return Replies({key: change(key, value) for key, value in answers[path].items()})

        replay_by(monkeypatch, replay)

    return alter_replies


def test_a_right_version_passes_in_a_fresh_process(export_here):
    exported = export_here("nested_chain")
    report = verify_version(exported.distribution, exported.version_dir, seed=5)
    report.require_agreement()
    assert {(c.signature, c.loader) for c in report.comparisons} == {
        (name, loader) for name in read_contract(exported.version_dir).signatures for loader in ("object", "session")
    }
    for comparison in report.comparisons:
        assert comparison.rows >= (1 if comparison.signature.startswith("summarize") else 45)
        assert comparison.p99_error <= comparison.max_error
        assert comparison.worst < 0.5
    table = format_report(report)
    assert "log_prob" in table
    assert len(table.splitlines()) == 1 + 17 + 2 + 6 + 2


@pytest.mark.usefixtures("replay_here")
def test_other_weights_are_found(export_here, make_flow):
    exported = export_here("unconditional")
    report = verify_version(make_flow("unconditional", seed=99), exported.version_dir)
    with pytest.raises(VerificationError, match=r"signature '.*' \(.* loader\): .* is off by .* times what rounding"):
        report.require_agreement()


@pytest.mark.usefixtures("replay_here")
@pytest.mark.parametrize("change", ["one weight", "one layer's condition"])
def test_small_differences_are_found(export_here, make_flow, change):
    """One weight of hundreds changed by 1 %, or a bias of one condition column."""
    exported = export_here("nested_chain")
    other = make_flow("nested_chain")
    variables = [v for v in other.trainable_variables if "kernel" in v.name]
    variable = variables[-1] if change == "one weight" else variables[1]
    value = variable.numpy()
    index = np.unravel_index(np.abs(value).argmax(), value.shape)
    value[index] *= 1.01
    variable.assign(value)
    with pytest.raises(VerificationError):
        verify_version(other, exported.version_dir).require_agreement()


def test_damaged_variables_are_found(export_here, tmp_path):
    exported = export_here("unconditional")
    copy = tmp_path / "copy"
    shutil.copytree(exported.version_dir, copy)
    data = next((copy / "variables").glob("*.data*"))
    content = bytearray(data.read_bytes())
    content[10] ^= 0xFF
    data.write_bytes(content)
    with pytest.raises(VerificationError, match="fails in a fresh process"):
        verify_version(exported.distribution, copy)


AGAIN = "session|sample again|x"
WRONG = {
    "swapped columns": lambda key, v: v[:, ::-1] if key == "session|inverse|z" else v,
    "an offset of 0.01 nats": lambda key, v: v + 0.01 if key == "object|serving_default|log_prob" else v,
    "NaN for an answer": lambda key, v: v * np.nan if key == "session|forward|x" else v,
    "a batch that matters": lambda key, v: v + 0.1 * (key == "object|sample_with_seed in another batch|x"),
    "a wrong density of draws": lambda key, v: v + 0.01 if key == "session|sample|log_prob" else v,
    "a wrong answer to Examples": lambda key, v: v + 0.01 if key == "session|regress|outputs" else v,
    "an answer to an Example with NaN": lambda key, v: (
        np.nan_to_num(v) if key == "session|regress in another batch|outputs" else v
    ),
    "an answer to NaN": lambda key, v: np.nan_to_num(v) if key == "object|log_prob in another batch|log_prob" else v,
    "draws that repeat": lambda key, v: np.ones_like(v) if key in {"session|sample|x", AGAIN} else v,
}


def test_replies_as_they_are_pass(export_here, alter):
    exported = export_here("batch_norm")
    alter(lambda key, value: value)
    verify_version(exported.distribution, exported.version_dir).require_agreement()


@pytest.mark.parametrize("change", WRONG)
def test_wrong_answers_are_found(export_here, alter, change):
    exported = export_here("batch_norm")
    alter(WRONG[change])
    with pytest.raises(VerificationError):
        verify_version(exported.distribution, exported.version_dir).require_agreement()


def test_a_seed_that_draws_otherwise_through_the_other_loader_is_found(export_here, alter):
    """Each loader by itself is right: draws in another order, the same in every batch."""
    exported = export_here("unconditional")
    whole = {}

    def change(key, value):
        loader, name, output = key.split("|")
        if loader == "session" and name == "sample_columns":
            return value[::-1]
        if loader == "session" and name == "sample_with_seed":
            whole[output] = value[::-1]
            return whole[output]
        if loader == "session" and name == "sample_with_seed in another batch":
            return np.concatenate([value[:1], whole[output][::-4]])
        if loader == "session" and name == "sample_with_seed in a large batch":
            return np.concatenate([value[:1], *[whole[output][::-2]] * 7])
        return value

    alter(change)
    with pytest.raises(
        VerificationError, match=r"'sample_with_seed' \(session loader\): x is off .* against the loader"
    ):
        verify_version(exported.distribution, exported.version_dir).require_agreement()


@pytest.mark.usefixtures("replay_here")
def test_a_model_that_is_not_finite_is_refused(export_here):
    exported = export_here("unconditional")
    broken = tfd.TransformedDistribution(exported.distribution.distribution, tfb.Scale(np.float32(0.0)))
    with pytest.raises(VerificationError, match="not finite at 128 of 128 of its own draws"):
        verify_version(broken, exported.version_dir)


def test_weights_are_rounded_and_put_back(export_here):
    distribution = export_here("nested_chain").distribution
    before = [variable.numpy() for variable in distribution.variables]

    def look_and_be_interrupted():
        with LiveModel(distribution).rounded_weights(np.random.default_rng(0)):
            for value, variable in zip(before, distribution.variables, strict=True):
                np.testing.assert_array_equal(variable.numpy() != value, value != 0)
                np.testing.assert_allclose(variable, value, rtol=3e-7)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        look_and_be_interrupted()
    for value, variable in zip(before, distribution.variables, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_tolerance_grows_where_a_model_magnifies_the_rounding_of_its_weights():
    weight = tf.Variable(np.float32(1.0))
    inputs = {"x": np.linspace(0, 1, 192, dtype=np.float32)}

    def function(arrays):  # a thousandfold of what the weight is off by; x itself matters little
        return {"log_prob": np.float32(1e3) * np.float32(weight.numpy() - 1) + 0 * arrays["x"]}

    exact, rounding = (
        expect(function, inputs, np.random.default_rng(1), context)["log_prob"].allowed.max()
        for context in (lambda _: nullcontext(), lambda rng: rounded([weight], rng))
    )
    assert rounding > 5 * exact


def test_tolerance_follows_the_models_own_sensitivity():
    """Where rounding is magnified a million times the tolerance grows, and rows that say nothing are left out."""
    steep = np.repeat([1.0, 1e6], [150, 42]).astype(np.float32)
    inputs = {"x": np.random.default_rng(0).uniform(1, 2, 192).astype(np.float32)}

    def function(arrays):
        return {"log_prob": (np.sin(arrays["x"] * steep)).astype(np.float32)}

    expected = expect(function, inputs, np.random.default_rng(1), lambda _: nullcontext())["log_prob"]
    assert expected.rows[:150].all()
    assert not expected.rows[150:].any()
    assert expected.allowed[:150].max() < 1e-3
    shifted = expected.values + np.float32(1e-3)
    result = compare_values(shifted, expected, signature="s", output="log_prob", against="model", loader="object")
    assert result.rows == 150
    assert result.worst > 1


def test_requests_round_trip(tmp_path):
    requests = [
        Request("first", "log_prob", {"x": np.ones([2, 3], np.float32), "conditional_input": np.zeros([2, 1])}),
        Request("second", "sample_with_seed", {"seed": np.array([-1, 2**62])}),
        Request("third", "regress", {"inputs": np.array([b"", b"zeros at the end\0\0"], object)}),
        Request("fourth", "encode_condition", {"categories": np.array([[b"a", b""], [b"b\0", b"c"]], object)}),
    ]
    write_requests(tmp_path / "requests.npz", requests)
    for sent, received in zip(requests, read_requests(tmp_path / "requests.npz"), strict=True):
        assert dataclasses.replace(sent, inputs={}) == dataclasses.replace(received, inputs={})
        assert sent.inputs.keys() == received.inputs.keys()
        for name in sent.inputs:
            np.testing.assert_array_equal(sent.inputs[name], received.inputs[name])
