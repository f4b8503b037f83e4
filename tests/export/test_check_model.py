"""What is refused before anything is written."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from export import ContractError, ModelError, export_saved_model
from export.check_model import check_model
from maf import FlowConfig, build_flow, create_named_maf
from maf.errors import RoutingError

tfb = tfp.bijectors
tfd = tfp.distributions


def flow(event_size=2, condition_size=1, base=None, bijector=None):
    base = base or tfd.MultivariateNormalDiag(tf.zeros(event_size))
    maf = create_named_maf("maf", [4], event_size=event_size, condition_size=condition_size)
    return tfd.TransformedDistribution(base, bijector or tfb.Chain([maf]), name="flow")


def refused(distribution, message, event=("x0", "x1"), condition=("c0",), error=ModelError):
    with pytest.raises(error, match=message) as caught:
        check_model(distribution, event, condition)
    assert "\n" not in str(caught.value)


def test_a_model_that_fits_passes():
    check_model(flow(), ["x0", "x1"], ["c0"])
    check_model(flow(condition_size=0), ["x0", "x1"], [])


def test_columns():
    refused(flow(), "column 'x0' is named 2 times", condition=("x0",), error=ContractError)
    refused(flow(), "event_columns is empty", event=(), error=ContractError)


def test_event_columns():
    refused(flow(), "'flow' has 2 event dimensions; got 3 event columns: x0, x1, x2", event=("x0", "x1", "x2"))


def test_conditional_columns():
    refused(flow(condition_size=3), "takes 3 conditional columns; got 1: c0")
    refused(flow(), "is conditional; got no conditional columns", condition=())
    refused(flow(condition_size=0), "takes no conditional_input; got 1 conditional columns: c0")


def test_conditional_columns_of_a_standardised_flow():
    """Its encoder would broadcast one column to three."""
    distribution = build_flow(FlowConfig(event_size=2, condition_size=3, num_layers=1, condition_units=(8,)), seed=0)
    refused(distribution, "takes 3 conditional columns; got 1: c0")


def test_conditional_columns_of_a_network_in_a_closure():
    network = tfb.AutoregressiveNetwork(
        2, event_shape=[2], hidden_units=[4], conditional=True, conditional_event_shape=[3]
    )

    def shift_and_log_scale(x, conditional_input):
        return tf.unstack(network(x, conditional_input=conditional_input), axis=-1)

    distribution = flow(bijector=tfb.MaskedAutoregressiveFlow(shift_and_log_scale, name="maf"))
    refused(distribution, r"no log_prob for 2 event and 1 conditional columns \(x0, x1, c0\): ")


def test_an_unconditional_layer_that_takes_any_keyword():
    network = tfb.AutoregressiveNetwork(2, event_shape=[2], hidden_units=[4])
    distribution = flow(bijector=tfb.MaskedAutoregressiveFlow(lambda x, **kwargs: network(x, **kwargs), name="maf"))
    check_model(distribution, ["x0", "x1"], [])
    refused(distribution, "takes no conditional_input; got 1 conditional columns: c0")


def test_shared_layer_names():
    layers = [create_named_maf("maf", [4], event_size=2) for _ in range(2)]
    refused(flow(bijector=tfb.Chain(layers)), "named 'maf'", error=RoutingError)


def test_what_is_no_flow():
    refused(tfd.Normal(0.0, 1.0), "is a Normal; expected a tfd.TransformedDistribution")


def test_shapes_and_dtypes():
    base = tfd.MultivariateNormalDiag(tf.zeros([3, 2]))
    refused(flow(condition_size=0, base=base), r"batch shape \(3,\)", condition=())
    scalar = tfd.TransformedDistribution(tfd.Normal(0.0, 1.0), tfb.Exp())
    refused(scalar, r"event shape \(\); expected one dimension", condition=(), event=("x0",))
    half = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros(2, tf.float16)), tfb.Identity())
    refused(half, "float16.*; expected float32 or float64", condition=())


def test_batch_norm_in_training_mode():
    chain = tfb.Chain([tfb.BatchNormalization(name="norm"), create_named_maf("maf", [4], event_size=2)])
    refused(flow(bijector=chain), "'norm' is in training mode")


def test_broken_weights(tmp_path):
    distribution = flow()
    kernel = next(v for v in distribution.trainable_variables if "kernel" in v.name)
    kernel.assign(np.where(np.arange(kernel.shape[-1]) == 0, np.nan, kernel))
    with pytest.raises(ModelError, match=rf"variable '{kernel.name}' of shape .* NaN or infinite"):
        export_saved_model(distribution, tmp_path, event_columns=["x0", "x1"], conditional_columns=["c0"])
    assert not [entry for entry in tmp_path.iterdir() if entry.name.isdigit() or entry.name.startswith(".staging")]
