"""Every signature of every kind of flow, reloaded, against TFP."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from export import ContractError, OptionError, read_contract
from export.signatures import chosen_signatures
from maf import make_bijector_kwargs


def kwargs(exported, condition):
    if not condition:
        return {}
    return make_bijector_kwargs(exported.distribution.bijector, {k: tf.constant(v) for k, v in condition.items()})


def draws(exported, rows=40, seed=7):
    """z, x and conditional_input of the live model, as arrays."""
    condition = exported.condition(rows, seed)
    z = exported.distribution.distribution.sample(rows, seed=tf.constant([seed, 1]))
    x = exported.distribution.bijector.forward(z, **kwargs(exported, condition))
    return z.numpy(), x.numpy(), condition


def test_log_prob_equals_tfp(exported):
    _, x, condition = draws(exported)
    expected = exported.distribution.log_prob(tf.constant(x), bijector_kwargs=kwargs(exported, condition))
    for name in ("log_prob", "serving_default"):
        actual = exported.signature(name)(x=x, **condition)
        assert list(actual) == ["log_prob"]
        assert actual["log_prob"].dtype == exported.distribution.dtype.as_numpy_dtype
        np.testing.assert_allclose(actual["log_prob"], expected, rtol=2e-5, atol=2e-5)


def test_inverse_equals_tfp(exported):
    _, x, condition = draws(exported)
    bijector_kwargs = kwargs(exported, condition)
    actual = exported.signature("inverse")(x=x, **condition)
    z = exported.distribution.bijector.inverse(tf.constant(x), **bijector_kwargs)
    np.testing.assert_allclose(actual["z"], z, rtol=1e-4, atol=1e-4)
    log_prob = exported.distribution.log_prob(tf.constant(x), bijector_kwargs=bijector_kwargs)
    np.testing.assert_allclose(actual["log_prob"], log_prob, rtol=2e-5, atol=2e-5)


def test_forward_equals_tfp_and_undoes_inverse(exported):
    z, x, condition = draws(exported)
    np.testing.assert_allclose(exported.signature("forward")(z=z, **condition)["x"], x, rtol=1e-5, atol=1e-5)
    back = exported.signature("inverse")(x=x, **condition)["z"]
    np.testing.assert_allclose(back, z, rtol=2e-3, atol=2e-3)


def test_conditions_matter(exported):
    """Columns in another order give another density: the parity above could fail."""
    _, x, condition = draws(exported)
    if exported.condition_size < 2:
        return
    log_prob = exported.signature("log_prob")
    swapped = {"conditional_input": condition["conditional_input"][:, ::-1].copy()}
    difference = log_prob(x=x, **condition)["log_prob"] - log_prob(x=x, **swapped)["log_prob"]
    assert np.median(np.abs(difference)) > 0.01


def test_a_draw_has_the_models_log_prob(exported):
    condition = exported.condition(50, seed=1)
    actual = exported.signature("sample_with_seed")(seed=np.arange(50), **condition)
    expected = exported.distribution.log_prob(tf.constant(actual["x"]), bijector_kwargs=kwargs(exported, condition))
    np.testing.assert_allclose(actual["log_prob"], expected, rtol=1e-3, atol=1e-3)


def test_a_draw_depends_on_its_condition_and_seed_alone(exported):
    condition = exported.condition(33, seed=2)
    seed = np.random.default_rng(3).integers(-(2**63), 2**63 - 1, 33)
    sample = exported.signature("sample_with_seed")
    whole = sample(seed=seed, **condition)["x"]
    order = np.random.default_rng(4).permutation(33)
    shuffled = sample(seed=seed[order], **{k: v[order] for k, v in condition.items()})["x"]
    alone = np.concatenate(
        [sample(seed=seed[i : i + 1], **{k: v[i : i + 1] for k, v in condition.items()})["x"] for i in range(5)]
    )
    np.testing.assert_allclose(shuffled, whole[order], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(alone, whole[:5], rtol=1e-4, atol=1e-4)
    other = sample(seed=seed + 1, **condition)["x"]
    assert (np.abs(other - whole) > 1e-3).any(axis=1).all()


def test_rows_come_first_everywhere_and_the_contract_says_what_is_saved(exported):
    contract = read_contract(exported.version_dir)
    assert set(contract.signatures) == set(exported.loaded.signatures)
    for name, signature in contract.signatures.items():
        function = exported.loaded.signatures[name]
        saved_inputs = function.structured_input_signature[1]
        assert {k: (v.dtype.name, tuple(v.shape)) for k, v in saved_inputs.items()} == {
            k: (v.dtype, v.shape) for k, v in signature.inputs.items()
        }
        assert {k: (v.dtype.name, tuple(v.shape)) for k, v in function.structured_outputs.items()} == {
            k: (v.dtype, v.shape) for k, v in signature.outputs.items()
        }
        assert all(spec.shape[0] is None for spec in [*signature.inputs.values(), *signature.outputs.values()])


def test_an_unconditional_flow_offers_no_sample_without_seed(export_here):
    contract = read_contract(export_here("unconditional").version_dir)
    assert set(contract.signatures) == {
        "log_prob",
        "serving_default",
        "sample_with_seed",
        "inverse",
        "forward",
        "regress",
        "conditional_cdf",
        "summarize",
        "log_prob_columns",
        "sample_columns",
        "summarize_columns",
    }
    assert "sample" in read_contract(export_here("spline").version_dir).signatures


def test_weights_are_stored_for_many_rows_and_for_few(export_here):
    """Once as blocks, and once for each direction of the straight line that few rows take, masks filled in."""
    exported = export_here("nested_chain")
    stored = sum(file.stat().st_size for file in (exported.version_dir / "variables").glob("*.data*"))
    weights = sum(4 * int(tf.size(v)) for v in exported.distribution.trainable_variables)
    assert weights <= stored < 4 * weights + 16_384


def test_no_rows_give_no_rows(exported):
    condition = exported.condition(0, seed=0)
    x = np.zeros([0, exported.event_size], exported.distribution.dtype.as_numpy_dtype)
    assert exported.signature("log_prob")(x=x, **condition)["log_prob"].shape == (0,)


def test_a_version_has_the_signatures_that_were_asked_for(export_here):
    exported = export_here("mixture", ("sample_columns", "regress"))
    contract = read_contract(exported.version_dir)
    core = ["log_prob", "serving_default", "inverse", "forward"]
    assert sorted(contract.signatures) == sorted([*core, "sample_with_seed", "regress", "sample_columns"])
    assert sorted(exported.loaded.signatures) == sorted(contract.signatures)
    with pytest.raises(ContractError, match="no signature 'summarize': the version was exported without it; name it"):
        contract.signature("summarize")


def test_signatures_that_no_model_has_are_named(export_here):
    signatures = read_contract(export_here("mixture").version_dir).signatures
    assert chosen_signatures(signatures, None) == signatures
    assert list(chosen_signatures(signatures, ())) == ["log_prob", "serving_default", "inverse", "forward"]
    with pytest.raises(OptionError, match=r"^signatures names 'logprob'; expected some of log_prob, serving_default, "):
        chosen_signatures(signatures, ("sample", "logprob"))
