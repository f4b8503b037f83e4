import numpy as np
import pytest
import tensorflow as tf
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from maf.errors import RoutingError
from maf.layers import create_named_maf
from maf.routing import is_conditional, make_bijector_kwargs

C = np.array([[0.5], [-1.0], [2.0]], np.float32)
KWARGS = {"conditional_input": C}


def layer(name, condition_size=1):
    return create_named_maf(name, [8], event_size=2, condition_size=condition_size)


def test_chain_gives_each_conditional_layer_its_kwargs_and_others_none():
    chain = tfb.Chain([layer("a"), tfb.Permute([1, 0]), tfb.Shift([1.0, 2.0]), layer("b"), tfb.Permute([1, 0])])
    assert make_bijector_kwargs(chain, KWARGS) == {"a": KWARGS, "b": KWARGS}


def test_nested_chains_and_inverts_are_routed_as_tfp_looks_kwargs_up():
    inner = tfb.Chain([layer("a"), tfb.Invert(layer("b"))], name="inner")
    chain = tfb.Chain([inner, tfb.Invert(tfb.Chain([layer("c")], name="deep"), name="inverted")])
    kwargs = make_bijector_kwargs(chain, KWARGS)
    inverted_layer = inner.bijectors[1].name
    assert kwargs == {"inner": {"a": KWARGS, inverted_layer: KWARGS}, "inverted": {"c": KWARGS}}

    distribution = tfd.TransformedDistribution(tfd.MultivariateNormalDiag(tf.zeros([2])), chain)
    x = tf.constant([[0.1, 0.2], [0.3, -0.4], [1.0, 2.0]])
    routed = distribution.log_prob(x, bijector_kwargs=kwargs)
    other = {"conditional_input": C + 1}
    for dropped in (("inner", "a"), ("inner", inverted_layer), ("inverted", "c")):
        changed = {outer: dict(layers) for outer, layers in kwargs.items()}
        changed[dropped[0]][dropped[1]] = other
        assert not np.allclose(routed, distribution.log_prob(tf.identity(x), bijector_kwargs=changed))


def test_a_single_layer_gets_the_kwargs_themselves():
    assert make_bijector_kwargs(layer("a"), KWARGS) == KWARGS
    assert make_bijector_kwargs(tfb.Invert(layer("a")), KWARGS) == KWARGS


def test_patterns_choose_among_layers():
    chain = tfb.Chain([layer("young_0"), layer("old_0")])
    other = {"conditional_input": -C}
    assert make_bijector_kwargs(chain, {"young": KWARGS, "old": other}) == {"young_0": KWARGS, "old_0": other}
    assert make_bijector_kwargs(chain, {".*_0": KWARGS}) == {"young_0": KWARGS, "old_0": KWARGS}


def test_a_pattern_that_leaves_a_layer_without_input_is_refused():
    chain = tfb.Chain([layer("maf_0"), layer("mfa_1")], name="flow")
    with pytest.raises(RoutingError, match="'flow/mfa_1' would get no conditional_input"):
        make_bijector_kwargs(chain, {"maf": KWARGS})


@pytest.mark.parametrize("kwargs", [{}, {"conditonal_input": C}, {"conditional_input": None}])
def test_a_layer_that_would_get_no_input_is_named(kwargs):
    chain = tfb.Chain([tfb.Chain([layer("maf_1")], name="inner")], name="flow")
    with pytest.raises(RoutingError, match="'flow/inner/maf_1' would get no conditional_input"):
        make_bijector_kwargs(chain, kwargs)


def test_two_layers_of_one_name_are_refused():
    with pytest.raises(RoutingError, match="2 bijectors of 'flow' are named 'maf'"):
        make_bijector_kwargs(tfb.Chain([layer("maf"), layer("maf")], name="flow"), KWARGS)


def test_a_layer_that_shares_its_name_with_any_other_bijector_is_refused():
    with pytest.raises(RoutingError, match="named 'maf'"):
        make_bijector_kwargs(tfb.Chain([layer("maf"), tfb.Permute([1, 0], name="maf")]), KWARGS)


def test_unconditional_flows_take_no_kwargs():
    chain = tfb.Chain([layer("a", condition_size=0), tfb.Permute([1, 0])])
    assert not is_conditional(chain)
    assert make_bijector_kwargs(chain, {}) == {}
    with pytest.raises(RoutingError, match="no conditional layer"):
        make_bijector_kwargs(chain, KWARGS)


def test_functions_of_the_user_are_asked_by_their_parameters():
    network = tfb.AutoregressiveNetwork(
        params=2, event_shape=[2], conditional=True, conditional_event_shape=[1], hidden_units=[4]
    )
    named = tfb.MaskedAutoregressiveFlow(lambda x, conditional_input=None: network(x, conditional_input), name="named")
    passing = tfb.MaskedAutoregressiveFlow(lambda x, **kwargs: network(x, **kwargs), name="passing")
    plain = tfb.MaskedAutoregressiveFlow(lambda x: (x * 0, x * 0), name="plain")
    assert make_bijector_kwargs(tfb.Chain([named, passing, plain]), KWARGS) == {"named": KWARGS, "passing": KWARGS}


def test_a_name_that_is_a_parameter_inside_tfp_is_refused():
    chain = tfb.Chain([tfb.Chain([layer("b")], name="inner")], name="flow")
    with pytest.raises(RoutingError, match="layer 'b' of 'flow/inner' has the name of a parameter inside TFP"):
        make_bijector_kwargs(chain, KWARGS)
