"""`sample`: new draws at every call, row and load, from the model's distribution."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from export.base_sampler import make_base_sampler
from export.compiled.steps import TfpDensity
from export.serving_module import ServingFunctions, trace, write_saved_model
from export.signatures import Request, make_signatures
from export.verification.replay import LOADERS, replay


@pytest.fixture(scope="module")
def seeded_version(make_flow, tmp_path_factory):
    """Written by a program that has set TensorFlow's global seed."""
    distribution = make_flow("mixture")
    path = tmp_path_factory.mktemp("seeded") / "version"
    signatures = make_signatures(
        event_size=2, condition_size=1, dtype="float32", sampling=("sample", "sample_with_seed")
    )
    tf.random.set_seed(7)
    try:
        functions = ServingFunctions(TfpDensity(distribution), make_base_sampler(distribution.distribution))
        write_saved_model(trace(functions, signatures), path)
        yield path
    finally:
        tf.random.set_seed(None)


def test_draws_are_new_at_every_call_row_load_and_process(seeded_version):
    condition = {"conditional_input": np.zeros([50, 1], np.float32)}
    requests = [Request("first", "sample", condition), Request("second", "sample", condition)]
    in_another_process = replay(seeded_version, requests)
    draws = [in_another_process.output(loader, request.name, "x") for loader in LOADERS for request in requests]
    for _ in range(2):
        tf.random.set_seed(7)
        sample = tf.saved_model.load(str(seeded_version)).signatures["sample"]
        draws.append(sample(conditional_input=tf.constant(condition["conditional_input"]))["x"].numpy())
    values = np.concatenate(draws)
    assert values.shape == (300, 2)
    assert len(np.unique(values, axis=0)) == 300


def test_draws_follow_the_base_distribution(export_here):
    """Back in base space the draws of a mixture lie at its components by their weights."""
    exported = export_here("mixture")
    condition = np.random.default_rng(0).normal(size=(4000, 1)).astype(np.float32)
    x = exported.signature("sample")(conditional_input=condition)["x"]
    z = exported.signature("inverse")(x=x, conditional_input=condition)["z"]
    base = exported.distribution.distribution
    centres = base.components_distribution.mean().numpy()
    nearest = np.linalg.norm(z[:, None] - centres, axis=-1).argmin(axis=1)
    shares = base.mixture_distribution.probs_parameter().numpy()
    np.testing.assert_allclose(np.bincount(nearest) / 4000, shares, atol=0.04)
    np.testing.assert_allclose(z.mean(axis=0), base.mean(), atol=0.3)
