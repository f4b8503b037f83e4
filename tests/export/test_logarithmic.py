"""Columns on a log scale, and some with bounds, exported and verified by both loaders."""

import warnings

import numpy as np
import tensorflow as tf

from export import export_saved_model
from maf import FlowConfig, build_flow, log_prob
from maf.config import BoundedColumn
from maf.standardization import Standardization
from tests.export.conftest import randomise


def test_rows_outside_the_domain_have_no_density_and_others_that_of_the_model(tmp_path):
    bounded = (
        BoundedColumn(index=2, lower=0.0, upper=0.7, unit=0.7, closest=1e-5),
        BoundedColumn(index=3, lower=None, upper=5.0, unit=2.0, closest=1e-5, far_side="odds"),
    )
    config = FlowConfig(
        event_size=4, condition_size=2, num_layers=2, condition_units=(16,), logarithmic=(0,), bounded=bounded
    )
    moments = Standardization(np.array([-3.0, 10.0, 0.0, 0.0]), np.array([1.5, 5.0, 1, 1]), np.zeros(2), np.ones(2))
    distribution = randomise(build_flow(config, standardization=moments, seed=1), 2, seed=0)
    for variable in distribution.trainable_variables:
        variable.assign(0.4 * variable)  # far less steep
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        version = export_saved_model(
            distribution, tmp_path, event_columns=["price", "y", "u", "v"], conditional_columns=["c0", "c1"]
        )
    signatures = tf.saved_model.load(str(version)).signatures
    left = [[0.1, 9.0], [0.0, 9.0], [1e-30, 12.0], [-1.0, 9.0], [4.0, -2.0], [np.nan, 9.0], [0.1, 9.0], [0.1, 9.0]]
    right = [[0.2, 1.0], [0.3, 1.0], [0.0, 5.0], [0.3, 1.0], [0.7, -40.0], [0.3, 1.0], [0.71, 1.0], [0.3, 5.1]]
    x = np.concatenate([left, right], axis=1).astype(np.float32)
    c = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    found = signatures["log_prob"](x=tf.constant(x), conditional_input=tf.constant(c))["log_prob"].numpy()
    expected = log_prob(distribution, tf.constant(x), tf.constant(c)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert np.isfinite(found).tolist() == [True, False, True, False, True, False, False, False]
    seeds = tf.range(1_000, dtype=tf.int64)
    drawn = signatures["sample_with_seed"](conditional_input=tf.zeros([1_000, 2]), seed=seeds)
    price, _, u, v = drawn["x"].numpy().T.astype(np.float64)
    assert (price > 0).all()
    assert ((u >= 0) & (u <= 0.7) & (v <= 5)).all()
    again = signatures["log_prob"](x=drawn["x"], conditional_input=tf.zeros([1_000, 2]))["log_prob"]
    np.testing.assert_allclose(again, drawn["log_prob"], rtol=1e-3, atol=1e-3)
