from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from maf import FlowConfig, build_flow, log_prob
from maf.standardization import Standardization
from maf.starting_point import start_at_identity


@pytest.mark.parametrize("transform", ["affine", "spline"])
@pytest.mark.parametrize(("event_size", "condition_size", "hidden"), [(1, 2, (8,)), (3, 2, (7, 9)), (3, 0, (6,))])
def test_a_new_flow_is_the_normal_distribution_of_its_rows(transform, event_size, condition_size, hidden):
    rng = np.random.default_rng(0)
    loc, scale = rng.normal(size=event_size) * 10, np.exp(rng.normal(size=event_size))
    condition = rng.normal(size=condition_size), np.exp(rng.normal(size=condition_size))
    config = FlowConfig(
        event_size=event_size,
        condition_size=condition_size,
        hidden_units=hidden,
        transform=transform,
        dtype="float64",
        num_layers=3,
    )
    flow = build_flow(config, standardization=Standardization(loc, scale, *condition), seed=1)
    x = loc + scale * rng.normal(size=(20, event_size)) * 3
    c = rng.normal(size=(20, condition_size)) if condition_size else None
    z = (x - loc) / scale
    expected = (-0.5 * z**2 - np.log(scale) - 0.5 * np.log(2 * np.pi)).sum(axis=1)
    assert not np.allclose(log_prob(flow, tf.constant(x), c), expected)
    start_at_identity(flow)
    np.testing.assert_allclose(log_prob(flow, tf.constant(x), c), expected, rtol=1e-6)
    kernels = [variable for variable in flow.trainable_variables if "kernel" in variable.name]
    assert sum(bool(np.any(kernel.numpy())) for kernel in kernels) > 0 or event_size == 1
