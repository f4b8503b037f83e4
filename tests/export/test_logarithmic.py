"""Columns on a log scale, exported and verified by both loaders."""

import warnings

import numpy as np
import tensorflow as tf

from export import export_saved_model
from maf import FlowConfig, build_flow, log_prob
from maf.standardization import Standardization
from tests.export.conftest import randomise


def test_rows_outside_the_domain_have_no_density_and_others_that_of_the_model(tmp_path):
    config = FlowConfig(event_size=2, condition_size=2, num_layers=2, condition_units=(16,), logarithmic=(0,))
    moments = Standardization(np.array([-3.0, 10.0]), np.array([1.5, 5.0]), np.zeros(2), np.ones(2))
    distribution = randomise(build_flow(config, standardization=moments, seed=1), 2, seed=0)
    for variable in distribution.trainable_variables:
        variable.assign(0.4 * variable)  # far less steep
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        version = export_saved_model(
            distribution, tmp_path, event_columns=["price", "y"], conditional_columns=["c0", "c1"]
        )
    signatures = tf.saved_model.load(str(version)).signatures
    x = np.array([[0.1, 9.0], [0.0, 9.0], [1e-30, 12.0], [-1.0, 9.0], [4.0, -2.0], [np.nan, 9.0]], np.float32)
    c = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    found = signatures["log_prob"](x=tf.constant(x), conditional_input=tf.constant(c))["log_prob"].numpy()
    expected = log_prob(distribution, tf.constant(x), tf.constant(c)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.isfinite(found).tolist() == [True, False, True, False, True, False]
    seeds = tf.range(1_000, dtype=tf.int64)
    drawn = signatures["sample_with_seed"](conditional_input=tf.zeros([1_000, 2]), seed=seeds)
    assert (drawn["x"][:, 0].numpy() > 0).all()
    again = signatures["log_prob"](x=drawn["x"], conditional_input=tf.zeros([1_000, 2]))["log_prob"]
    np.testing.assert_allclose(again, drawn["log_prob"], rtol=1e-3, atol=1e-3)
